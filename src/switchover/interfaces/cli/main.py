"""The entry point: answers the cheapest question at once, and loads the rest for everything else."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb, and end the process with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        from switchover._version import __version__

        print(f"switchover {__version__}")
        return
    from switchover.interfaces.cli.app import run

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
