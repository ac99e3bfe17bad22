"""One line of JSON, or of text, for each line of the log, whoever wrote it, and no secret in it."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import datetime, timedelta
from typing import Any

import pytest

from switchover.access.credentials import new_token
from switchover.adapters.telemetry.log_lines import writing_log
from switchover.logs import CURRENT_RUN, LogFormat, LogLevel, get_log

log = get_log("switchover.tests")


def _written(work: Callable[[], object], form: LogFormat, level: LogLevel = LogLevel.DEBUG) -> str:
    with redirect_stderr(io.StringIO()) as stream, writing_log(form, level):
        work()
    return stream.getvalue()


def _objects(work: Callable[[], object], level: LogLevel = LogLevel.DEBUG) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _written(work, LogFormat.JSON, level).splitlines()]


def _text(work: Callable[[], object]) -> str:
    return _written(work, LogFormat.TEXT)


class _Run:
    plan_id, task_id, tenant_id, generation, stage, step = 7, "7-1", "t1", 3, "gateway", "configUpdate"


def _in_a_run(work: Callable[[], object]) -> Callable[[], object]:
    def whole() -> None:
        token = CURRENT_RUN.set(_Run())
        try:
            work()
        finally:
            CURRENT_RUN.reset(token)

    return whole


def test_a_line_is_one_object_with_time_level_event_and_values_in_camel_case() -> None:
    (line,) = _objects(lambda: log.warning("two\nlines", error_code="STEP_FAILED", key={"a": 1}))
    moment = datetime.fromisoformat(line.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "level": "warning",
        "event": "two\nlines",
        "errorCode": "STEP_FAILED",
        "key": {"a": 1},
        "logger": "switchover.tests",
    }


def test_lines_of_a_run_carry_its_keys_whoever_writes_them() -> None:
    keys = {
        "planId": 7,
        "taskId": "7-1",
        "tenantId": "t1",
        "generation": 3,
        "stage": "gateway",
        "step": "configUpdate",
    }
    for write in (lambda: log.info("ours"), lambda: logging.getLogger("library").info("theirs %s", 1)):
        (line,) = _objects(_in_a_run(write))
        assert {name: line[name] for name in keys} == keys
    assert "taskId" not in _objects(lambda: log.info("outside"))[0]


def test_an_error_has_its_traceback_as_a_field() -> None:
    def fail() -> None:
        try:
            raise KeyError("key")  # noqa: TRY301  # to be told of
        except KeyError:
            log.exception("it failed")
            logging.getLogger("asyncio").exception("so says a library")

    for line in _objects(fail):
        assert line["level"] == "error"
        assert line["error"] == "KeyError('key')"
        assert line["traceback"].startswith("Traceback (most recent call last)")


@pytest.mark.parametrize("form", LogFormat)
def test_no_password_and_no_token_is_written_wherever_it_stands(form: LogFormat) -> None:
    token = new_token()

    def tell() -> None:
        event = f"with {token}"
        log.error(event, url="redis://user:hunter2@host/0", nested=[{"Authorization": f"Bearer {token}"}])
        logging.getLogger("library").warning("sent Authorization: Basic aHVudGVyMg==")
        try:
            raise RuntimeError("https://:hunter2@host/x refused")  # noqa: TRY301  # to be told of
        except RuntimeError:
            log.exception("failed")

    written = _written(tell, form)
    assert written.count("failed") >= 1
    for secret in ("hunter2", token, "aHVudGVyMg"):
        assert secret not in written


def test_what_json_cannot_spell_is_told_all_the_same() -> None:
    endless: list[object] = []
    endless.append(endless)
    weird = {"surrogate": "\ud800", "number": 10**400, "endless": endless, "object": object(), "bytes": b"\xff"}
    for name, value in weird.items():
        (line,) = _objects(lambda name=name, value=value: log.info("weird", **{name: value}))  # type: ignore[misc]
        assert name in line


class _Shy:
    def __str__(self) -> str:
        raise RuntimeError("hunter2")


@pytest.mark.parametrize("form", LogFormat)
def test_a_value_that_cannot_be_told_costs_its_line_and_nothing_more(
    form: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own would raise

    def tell() -> None:
        log.warning("first", shy=_Shy())
        logging.getLogger("library").warning("%s", _Shy())
        log.warning("second")

    written = _written(tell, form)
    assert "a line of the log could not be written" in written
    assert "second" in written
    assert len(written.splitlines()) == 3
    assert "hunter2" not in written


def test_a_value_does_not_replace_what_every_line_has() -> None:
    (line,) = _objects(lambda: log.info("told", time="midnight", level="high", logger="mine"))
    assert (line["level"], line["logger"], line["time_"], line["level_"]) == (
        "info",
        "switchover.tests",
        "midnight",
        "high",
    )


def test_text_is_one_line_and_cannot_forge_another() -> None:
    text = _text(lambda: log.warning("broken\n2026-01-01 error \x1b[31mforged", reason="two words", key="a/b"))
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert r"warning broken\n2026-01-01 error \x1b[31mforged reason='two words' key=a/b logger=switchover.tests" in text


def test_lines_below_the_level_are_not_written_and_warnings_of_python_are() -> None:
    def tell() -> None:
        log.info("too low")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", UserWarning, stacklevel=1)

    lines = _objects(tell, LogLevel.WARNING)
    assert [line["logger"] for line in lines] == ["py.warnings"]


def test_afterwards_the_standard_library_is_as_it_was() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), warnings.showwarning)
    _written(lambda: None, LogFormat.JSON)
    assert (root.level, list(root.handlers), warnings.showwarning) == before


def test_an_error_stream_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    with writing_log(LogFormat.TEXT, LogLevel.INFO):
        monkeypatch.setattr(sys, "stderr", closed)
        log.info("nobody hears it")
