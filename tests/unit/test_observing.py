"""Before, wanted and observed: what the targets of a task hold, told without changing it."""

from pathlib import Path
from typing import Any

import orjson

from switchover import ExecutorSettings, open_executor
from switchover.bootstrap import Executor


def _plan(directory: Path) -> dict[str, Any]:
    step = {
        "configUpdate": {
            "target": f"file://{directory}/map.json",
            "key": "{tenantId}",
            "field": "gateway",
            "value": {"unit": "{deployUnitName}", "run": "{generation}"},
        }
    }
    return {"planId": 7, "services": [{"name": "gateway", "steps": [step]}]}


async def _switched(executor: Executor, directory: Path) -> None:
    config = {"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42, "deployUnitName": "green"}
    created = await executor.facade.create_switch_task([config], options=_plan(directory))
    assert created.success, created.message
    await executor.wait_for_plan(7)


async def test_before_wanted_and_observed_are_told_apart(tmp_path: Path) -> None:
    table = tmp_path / "map.json"
    table.write_bytes(orjson.dumps({"acme": {"gateway": {"unit": "blue"}}}))
    async with open_executor("memory://", settings=ExecutorSettings()) as executor:
        await _switched(executor, tmp_path)
        content = orjson.loads(table.read_bytes())
        content["acme"]["gateway"] = {"unit": "red"}
        table.write_bytes(orjson.dumps(content))
        reports = await executor.observe("7-1")
        assert reports is not None
        (report,) = [item.to_dict() for item in reports]
    assert (report["stage"], report["step"], report["kept"], report["generation"]) == (
        "gateway",
        "configUpdate",
        True,
        1,
    )
    assert report["before"] == '{"unit":"blue"}'
    assert report["wanted"] == '{"run":"1","unit":"green"}'
    assert report["observed"] == '{"unit":"red"}', "somebody else wrote there"
    assert orjson.loads(table.read_bytes()) == content, "looking changes nothing"


async def test_a_target_that_cannot_be_asked_is_a_report_with_its_problem(tmp_path: Path) -> None:
    async with open_executor("memory://") as executor:
        await _switched(executor, tmp_path)
        (tmp_path / "map.json").write_text("{")
        reports = await executor.observe("7-1")
        assert reports is not None
        assert "map.json" in reports[0].problem
        assert reports[0].observed is None


async def test_an_unknown_task_has_no_report() -> None:
    async with open_executor("memory://") as executor:
        assert await executor.observe("7-1") is None
        assert await executor.observe("seven") is None
