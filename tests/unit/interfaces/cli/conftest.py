"""The command line in this process: verbs are called as ``main`` calls them, in an empty folder."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from switchover.interfaces.cli.app import run

VARIABLES = ("SWITCHOVER_DB", "SWITCHOVER_STORE", "SWITCHOVER_CONFIG", "SWITCHOVER_DEBUG", "NO_COLOR", "COLUMNS")


@dataclass(frozen=True)
class Answer:
    """What a verb said."""

    code: int
    output: str
    errors: str

    def json(self) -> Any:  # noqa: ANN401  # whatever the verb prints
        return json.loads(self.output)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines()]


Call = Callable[..., Answer]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the environment, and nothing left behind in it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back, whatever a verb does to it
        del os.environ[name]
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a verb; ``code`` is the exit code that it must have."""

    def run_verb(*arguments: str, code: int | None = 0) -> Answer:
        capsys.readouterr()
        found = run(arguments)
        said = capsys.readouterr()
        assert code is None or found == code, f"{arguments} ended with {found}\n{said.out}\n{said.err}"
        return Answer(found, said.out, said.err)

    return run_verb


@dataclass(frozen=True)
class Files:
    """A folder with plan files of two stages that write to files, without a health check."""

    folder: Path

    def plan(self, *tenants: str, name: str = "plan.json", sources: bool = True, **options: object) -> Path:
        service = {
            stage: {
                "target": f"file://{self.folder}/map.json",
                "key": "{tenantId}",
                "field": stage,
                "value": {"version": "{deployUnitVersion}"},
            }
            for stage in ("gateway", "media")
        }
        configs: list[dict[str, Any]] = []
        for tenant in tenants:
            config: dict[str, Any] = {"tenantId": tenant, "deployUnitId": 2, "deployUnitVersion": 42}
            if sources:
                config["sourceTenantDeployConfig"] = {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41}
            configs.append(config)
        spec = {
            "planId": 100,
            "services": [{"name": stage, "steps": [{"configUpdate": step}]} for stage, step in service.items()],
            "tenants": configs,
            **options,
        }
        document = {"apiVersion": "switchover/v1", "kind": "Plan", "metadata": {"name": "in files"}, "spec": spec}
        file = self.folder / name
        file.write_text(json.dumps({**document, "spec": {k: v for k, v in spec.items() if v is not None}}, indent=1))
        return file

    def break_target(self) -> None:
        """Every write fails from now on: the map is no map."""
        (self.folder / "map.json").write_text("[]")

    def mend_target(self) -> None:
        (self.folder / "map.json").write_text("{}")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)
