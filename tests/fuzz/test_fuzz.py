"""The stored inputs and a fixed number of new ones; ``make fuzz`` goes on for as long as one likes."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import pytest

from switchover.domain.durations import parse_duration
from switchover.domain.task import TaskAggregate
from switchover.engine.failures import failure_of
from switchover.errors import StageError
from switchover.redaction import without_credentials
from switchover.stages.health_check import compile_json_path
from switchover.stages.templates import JsonTemplate
from tests.fuzz.doors import DOORS
from tests.fuzz.run import CORPUS, fuzz
from tests.support.plans import SERVICES, config, make_factory
from tests.support.servers import in_ci

_INPUTS = 1_000


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_stored_inputs_lead_to_nothing_but_what_is_documented(path: Path) -> None:
    DOORS[path.parent.name](path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_a_number_of_new_inputs_leads_to_nothing_but_what_is_documented(door: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        reason = "atheris is not installed (there is none for this system or this Python)"
        (pytest.fail if in_ci() else pytest.skip)(reason)
    done = fuzz(door, tmp_path, f"-runs={_INPUTS}", "-seed=1")
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {_INPUTS} runs" in done.stderr


def test_an_index_of_thousands_of_digits_in_a_version_key_is_refused() -> None:
    with pytest.raises(StageError, match="neither a key nor a JSON path"):
        compile_json_path(f"a[{'9' * 5000}]")


def test_a_duration_of_hundreds_of_digits_is_refused() -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(10**400)


def test_an_address_that_is_no_text_can_be_shown() -> None:
    assert without_credentials("http://h/?token\udcff=x") == "http://h/?token\\udcff=***"


def test_a_lone_surrogate_beside_a_placeholder_is_refused_when_the_template_is_compiled() -> None:
    with pytest.raises(StageError, match="surrogates not allowed"):
        JsonTemplate.compile("\ud800{stage}")


@pytest.mark.parametrize("wrong", [{"configs": [config(deployUnitId=2**70)]}, {"options": {"planId": 2**70}}])
def test_a_request_with_a_number_beyond_64_bits_has_a_digest_as_every_other(wrong: dict[str, object]) -> None:
    request = {"configs": [config()], **wrong}
    draft = make_factory().read(request["configs"], request.get("options", {"services": SERVICES}))
    assert len(draft.digest) == 32


def test_an_error_whose_text_no_store_could_keep_becomes_a_failure_that_it_can() -> None:
    task = TaskAggregate.__new__(TaskAggregate)
    object.__setattr__(task, "tenant_id", "acme")
    failure = failure_of(OSError("\udcff"), task=task, stage="a", step=None, now=datetime.now(tz=UTC))
    assert failure.message == "tenant acme, stage a: \\udcff"
