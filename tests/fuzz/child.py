"""
One fuzzer before one door; libFuzzer's own options follow the name of the door.

It is a process of its own because libFuzzer ends the process when it is done. The code of the package is instrumented
while it is imported, so that inputs which reach something new are kept and changed further.
"""

import sys

import atheris  # type: ignore[import-untyped]  # it ships no types


def main() -> None:
    """Fuzz; a finding ends the process with another exit code than 0, and leaves the input behind."""
    door, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["switchover", "yaml", "json", "csv"]):
        from tests.fuzz.doors import DOORS  # noqa: PLC0415  # it is instrumented here
    atheris.Setup([sys.argv[0], *options], DOORS[door])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
