"""A library prints nothing; the program decides where the log goes."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from switchover.logs import Line, get_log

PROGRAM = """
import asyncio, logging
from switchover import CompositeServiceStage, open_executor

class Fails:
    name = "fails"
    async def execute(self, context):
        context.log.warning("a step's own line", tenant=context.tenant_id)
        raise RuntimeError("on purpose")

def stages(config):
    return [CompositeServiceStage("one", [Fails()])]

async def main():
    async with open_executor("sqlite:///log.db", stage_factory=stages) as executor:
        created = await executor.facade.create_switch_task(
            [{"tenantId": "t1", "deployUnitId": 2, "deployUnitVersion": 42}])
        await executor.wait_for_plan(created.plan_id)
        await executor.facade.hold_tenant("t1", "a line of the engine")

%s
asyncio.run(main())
"""


def _run(tmp_path: Path, setting: str = "") -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM % setting, encoding="utf-8")
    return subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )


def test_used_as_a_library_nothing_is_printed_and_warnings_go_to_the_error_stream(tmp_path: Path) -> None:
    ended = _run(tmp_path)
    assert ended.stdout == ""
    assert "a step's own line tenant='t1'" in ended.stderr
    assert "a line of the engine" not in ended.stderr, "what only tells is not asked for"


def test_the_program_s_own_logging_has_every_line(tmp_path: Path) -> None:
    ended = _run(tmp_path, "logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s %(message)s')")
    assert ended.stdout == ""
    assert "WARNING switchover.task a step's own line tenant='t1'" in ended.stderr
    assert "INFO switchover.brakes" in ended.stderr


def test_structlog_is_used_from_the_moment_on_that_it_is_configured(caplog: pytest.LogCaptureFixture) -> None:
    log = get_log("switchover.test").bind(plan_id=7)
    structlog.reset_defaults()
    try:
        with caplog.at_level(logging.DEBUG, logger="switchover.test"):
            log.debug("first", stage="A")
            try:
                raise ValueError("why")  # noqa: TRY301  # to be told of
            except ValueError:
                log.exception("second")
        assert [record.getMessage() for record in caplog.records] == ["first plan_id=7 stage='A'", "second plan_id=7"]
        assert str(caplog.records[1].exc_text).endswith("ValueError: why")
        assert "ValueError: why" in caplog.text
        caplog.clear()
        structlog.configure()
        with structlog.testing.capture_logs() as captured:
            log.warning("third", stage="B")
        assert captured == [{"plan_id": 7, "stage": "B", "event": "third", "log_level": "warning"}]
        assert not caplog.records
    finally:
        structlog.reset_defaults()


def test_no_line_has_a_secret_whatever_it_is_given(caplog: pytest.LogCaptureFixture) -> None:
    url = "redis://u:hunter2@h/0"
    log = get_log("switchover.test").bind(target=url)
    structlog.reset_defaults()

    def tell() -> None:
        about = f"about {url}"
        log.warning(about, deep={"urls": [url, (url,)]}, error=ValueError(url), number=3)
        try:
            raise ValueError(url)  # noqa: TRY301  # to be told of
        except ValueError as error:
            log.exception("an exception")
            log.warning("a cause", exc_info=error)

    try:
        with caplog.at_level(logging.DEBUG, logger="switchover.test"):
            tell()
        assert caplog.text.count("ValueError: redis://h/0") == 2
        assert "hunter2" not in caplog.text
        assert not any(record.exc_info for record in caplog.records), "a handler of somebody else would format it anew"
        structlog.configure()
        with structlog.testing.capture_logs() as captured:
            tell()
        assert captured[0]["deep"] == {"urls": ["redis://h/0", ["redis://h/0"]]}
        assert captured[1]["exception"].endswith("ValueError: redis://h/0")
        assert "hunter2" not in repr(captured)
    finally:
        structlog.reset_defaults()


class _UnshowableError(Exception):
    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __repr__


@pytest.mark.parametrize(
    "error", [ValueError("no text: \udcff and \0"), _UnshowableError()], ids=["no text", "unshowable"]
)
def test_whatever_an_error_is_made_of_its_line_can_be_written(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    log = get_log("switchover.test")
    try:
        raise error  # noqa: TRY301  # to be told of
    except Exception:  # as above
        log.exception("it \udcff happened", why=error, deep=["\udcff"])
    (record,) = caplog.records
    line = record.msg
    assert isinstance(line, Line)
    told = [record.getMessage(), str(record.exc_text), str(line.error), *map(str, line.values.values())]
    assert "Error" in told[2]
    for text in told:
        text.encode("utf-8")
