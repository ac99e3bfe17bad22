"""
The backends: who runs a workload, each run in a process of its own and on a database of its own.

A backend starts its program, waits for the line ``RESULT``, and gives the figures in it. Whoever compares two backends
runs them one after the other, again and again: on a machine that others use, only the ratio of neighbours means much.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from benchmarks import postgres
from benchmarks.workloads import Workload

HERE = Path(__file__).parent
ROOT = HERE.parent
SCRATCH = ROOT / "build" / "bench"
DBOS_VERSION = "3.4.0"
PROCRASTINATE_VERSION = "3.10.0"

Figures = dict[str, Any]


class BenchmarkError(Exception):
    """A program did not do what it was started for."""


class Backend(Protocol):
    """Runs a workload."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    def run(self, workload: Workload) -> Figures:
        """Run it once; at least ``run_seconds`` is in the answer."""
        ...


@contextmanager
def new_database() -> Iterator[Path]:
    """A place on the disk that the repository is on (a temporary folder may be memory); empty again after."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder) / "benchmark.db"


def start(*command: str | Path) -> subprocess.Popen[str]:
    """Start a program; its answer is read from its output."""
    words = [str(word) for word in command]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def answer_of(program: subprocess.Popen[str]) -> Figures:
    """Wait for the end of a program."""
    output, _ = program.communicate()
    for line in output.splitlines():
        if line.startswith("RESULT "):
            figures: Figures = json.loads(line.removeprefix("RESULT "))
            return figures
    msg = f"{program.args!r} ended with code {program.returncode} and gave no result: {output[-500:]}"
    raise BenchmarkError(msg)


class Switchover:
    """The program that all this is about, on SQLite."""

    name = "switchover"

    def run(self, workload: Workload, do: str = "whole", **order: Any) -> Figures:  # noqa: ANN401  # JSON
        """Create and run, or what ``do`` says; see ``subject``."""
        with new_database() as database:
            return self.order(workload, database, do, **order)

    def order(self, workload: Workload, database: Path, do: str, **order: Any) -> Figures:  # noqa: ANN401  # JSON
        """One program on a database that may have been used before."""
        return answer_of(self.start(workload, database, do, **order))

    def start(
        self,
        workload: Workload,
        database: Path,
        do: str,
        **order: Any,  # noqa: ANN401  # JSON
    ) -> subprocess.Popen[str]:
        """Begin, for whoever wants to interrupt it."""
        text = json.dumps({"do": do, "database": str(database), "workload": asdict(workload), **order})
        return start(sys.executable, "-m", "benchmarks.subject", text)

    def run_killed(self, workload: Workload) -> Figures:
        """Kill it with half of the tasks done, start it again, and let it finish."""
        with new_database() as database:
            plan_id = self.order(workload, database, "create")["plan_id"]
            first = self.start(workload, database, "whole", plan_id=plan_id, announce_half=True)
            assert first.stdout is not None
            for line in first.stdout:
                if line == "HALF\n":
                    break
            first.kill()
            first.wait()
            started_at = time.time()
            figures = self.order(workload, database, "run", plan_id=plan_id)
        figures["first_start_seconds"] = figures.pop("first_start_at") - started_at
        figures["all_started_seconds"] = figures.pop("all_started_at") - started_at
        return figures


class Floor:
    """The smallest program with the same durability."""

    name = "floor"

    def run(self, workload: Workload) -> Figures:
        """Create and run."""
        numbers = (workload.tasks, workload.stages, workload.steps, workload.running, workload.step_seconds)
        with new_database() as database:
            return answer_of(start(sys.executable, HERE / "floor.py", "plan", database, *map(str, numbers)))


class RawCommits:
    """SQLite alone, one transition a commit."""

    name = "raw commit"

    def run(self, workload: Workload) -> Figures:
        """As many commits as the workload has stages, but not more than a thousand."""
        commits = min(workload.tasks * workload.stages, 1_000)
        with new_database() as database:
            return answer_of(start(sys.executable, HERE / "floor.py", "commits", database, str(commits)))


class Ideal:
    """asyncio alone, with the same waits."""

    name = "ideal"

    def run(self, workload: Workload) -> Figures:
        """Wait, and nothing else."""
        numbers = (workload.tasks, workload.stages, workload.steps, workload.running, workload.step_seconds)
        return answer_of(start(sys.executable, HERE / "ideal.py", *map(str, numbers)))


class Environment:
    """A virtual environment for a peer, made when it is missing; what it holds is pinned by its name."""

    def __init__(self, name: str, *requirements: str) -> None:
        self._folder = ROOT / "build" / f"bench-{name}"
        self._requirements = requirements
        self._mark = self._folder / "+".join(requirements)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self._folder / "bin" / "python"

    @property
    def is_ready(self) -> bool:
        """It exists, with the version that results are compared with."""
        return self._mark.exists()

    def prepare(self) -> None:
        """Make it."""
        if self.is_ready:
            return
        print(f"installing {' '.join(self._requirements)} for the comparison ...", flush=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", self._folder], check=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *self._requirements], check=True)
        self._mark.touch()


class Dbos:
    """DBOS Transact on SQLite."""

    name = "dbos"

    def __init__(self) -> None:
        self.environment = Environment("dbos", f"dbos=={DBOS_VERSION}")

    def run(self, workload: Workload) -> Figures:
        """Enqueue and run."""
        numbers = (workload.tasks, workload.stages, workload.steps, workload.running)
        program = HERE / "peers" / "dbos_peer.py"
        with new_database() as database:
            return answer_of(start(self.environment.python, program, database, *map(str, numbers)))


class Procrastinate:
    """Procrastinate on a private PostgreSQL, which is started for each run and is empty then."""

    name = "procrastinate"

    def __init__(self) -> None:
        self.environment = Environment(
            "procrastinate", f"procrastinate=={PROCRASTINATE_VERSION}", "psycopg[binary,pool]>=3.2"
        )

    def run(self, workload: Workload) -> Figures:
        """Defer and run."""
        numbers = (workload.tasks, workload.stages, workload.steps, workload.running)
        program = HERE / "peers" / "procrastinate_peer.py"
        SCRATCH.mkdir(parents=True, exist_ok=True)
        with postgres.private_server(SCRATCH) as dsn:
            return answer_of(start(self.environment.python, program, dsn, *map(str, numbers)))


_VALUE = {
    "deployUnitId": "{deployUnitId}",
    "deployUnitVersion": "{deployUnitVersion}",
    "deployUnitName": "{deployUnitName}",
    "planVersion": "{planVersion}",
}


class HttpSwitchover:
    """Switchover with the steps that we ship: one write, one broadcast and two health requests a stage."""

    name = "switchover"

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def run(self, workload: Workload) -> Figures:
        """Create and run."""
        return Switchover().run(workload, services=[self._service(i) for i in range(workload.stages)])

    def _service(self, number: int) -> dict[str, object]:
        endpoints = [{"value": f"{self._base}/health/{k}"} for k in (1, 2)]
        return {
            "name": f"service-{number}",
            "steps": [
                {"configUpdate": {"target": f"{self._base}/config-{number}", "key": "{tenantId}", "value": _VALUE}},
                {"broadcast": {"target": f"{self._base}/broadcast"}},
                {"healthCheck": {"endpoints": endpoints}},
            ],
        }


class BareHttp:
    """aiohttp alone, with the same requests."""

    name = "bare client"

    def __init__(self, port: int) -> None:
        self._port = port

    def run(self, workload: Workload) -> Figures:
        """Send them all."""
        numbers = (self._port, workload.tasks, workload.stages, workload.running)
        return answer_of(start(sys.executable, HERE / "http_client.py", *map(str, numbers)))


@contextmanager
def http_server() -> Iterator[int]:
    """The server of the HTTP workload, in another process; gives its port."""
    server = start(sys.executable, HERE / "http_server.py")
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.kill()
        server.communicate()


class Version:
    """``switchover --version``, started and ended."""

    name = "switchover"

    def run(self, workload: Workload) -> Figures:
        """Once."""
        return _wall(Path(sys.executable).with_name("switchover"), "--version")


class EmptyPython:
    """The interpreter, doing nothing."""

    name = "python"

    def run(self, workload: Workload) -> Figures:
        """Once."""
        return _wall(sys.executable, "-c", "pass")


def _wall(*command: str | Path) -> Figures:
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    return {"run_seconds": time.perf_counter() - began}
