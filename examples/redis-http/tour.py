"""
The README's commands, one after another, and each one's exit code compared with what it should be.

    python examples/redis-http/tour.py --tenants 100
"""

import argparse
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
SWITCHOVER = [sys.executable, "-m", "switchover.interfaces.cli.main"]


@contextmanager
def serving(directory: Path, redis: str, tenants: int, broken: int) -> Iterator[str]:
    """The fleet; yields the base URL of its instances."""
    argv = ["--redis", redis, "--tenants", str(tenants), "--broken", str(broken), "--port", "0"]
    print(f"$ python serve.py {' '.join(argv)} &", flush=True)
    fleet = subprocess.Popen(
        [sys.executable, HERE / "serve.py", *argv], cwd=directory, stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        line = fleet.stdout.readline() if fleet.stdout is not None else ""
        if "health at " not in line:
            sys.exit(f"serve.py did not come up; is there a Redis at {redis}, with an empty database?")
        yield line.rpartition("health at ")[2].strip()
    finally:
        fleet.terminate()
        fleet.wait()
        if fleet.stdout is not None:
            fleet.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/7", help="an empty database")
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--broken", type=int, default=20)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)

        def call(argv: list[str], *, shown: str, code: int = 0) -> None:
            print(f"\n$ {shown}", flush=True)
            began = time.monotonic()
            found = subprocess.run(argv, cwd=directory, check=False).returncode
            print(f"exit code {found}, after {time.monotonic() - began:.1f} s", flush=True)
            if found != code:
                sys.exit(f"{shown}: expected exit code {code}")

        def switchover(*words: str, code: int = 0) -> None:
            call([*SWITCHOVER, *words], shown=f"switchover {' '.join(words)}", code=code)

        with serving(directory, options.redis, options.tenants, options.broken) as instances:
            switchover("run", "plan.yaml", code=20)
            print(f"\n$ curl -X POST {instances}/control/repair", flush=True)
            with urllib.request.urlopen(urllib.request.Request(f"{instances}/control/repair", method="POST")) as answer:
                print(answer.read().decode())
            switchover("retry", "--plan", "100")
            switchover("rollback", "--plan", "100", code=21)
            where = ["--redis", options.redis, "--tenants", str(options.tenants)]
            call([sys.executable, str(HERE / "check.py"), *where], shown=f"python check.py {' '.join(where)}")


if __name__ == "__main__":
    main()
