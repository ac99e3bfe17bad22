import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from switchover.adapters.stores import codec
from switchover.domain.plan import PlanRules, PlanStatus
from switchover.domain.task import NetworkEndpointSnapshot, Operation, TaskStatus, TenantDeployConfigSnapshot
from switchover.domain.wire import config_to_dict
from switchover.testing.contracts import FULL_CONFIG, FULL_FAILURE
from switchover.testing.samples import sample_config


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None and item != []}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("config", [FULL_CONFIG, sample_config("acme"), replace(FULL_CONFIG, network_endpoints=())])
def test_a_config_is_written_in_its_wire_shape_without_nulls(config: TenantDeployConfigSnapshot) -> None:
    text = codec.encode_config(config)
    assert json.loads(text) == without_nulls(config_to_dict(config))
    assert codec.decode_config(text) == config


def test_the_full_config_is_full() -> None:
    """A new field of a config fails here until the sample has it, and then above until the codec has it."""
    for field in fields(TenantDeployConfigSnapshot):
        assert getattr(FULL_CONFIG, field.name) is not None
    for field in fields(NetworkEndpointSnapshot):
        assert getattr(FULL_CONFIG.network_endpoints[0], field.name) is not None


def test_every_status_and_operation_has_a_code_that_is_its_own() -> None:
    assert set(codec.TASK_STATUSES) == set(TaskStatus)
    assert set(codec.PLAN_STATUSES) == set(PlanStatus)
    assert set(codec.OPERATIONS) == set(Operation)
    assert [codec.task_status(codec.TASK_STATUS_CODES[status]) for status in TaskStatus] == list(TaskStatus)
    assert [codec.plan_status(codec.PLAN_STATUS_CODES[status]) for status in PlanStatus] == list(PlanStatus)
    assert [codec.operation(codec.OPERATION_CODES[verb]) for verb in Operation] == list(Operation)


def test_codes_stay_what_they_are() -> None:
    """Databases hold them; a change here is a migration there."""
    assert codec.TASK_STATUS_CODES["PENDING"] == 4
    assert codec.TASK_STATUS_CODES["ROLLBACK_FAILED"] == 13
    assert codec.PLAN_STATUS_CODES["READY"] == 3
    assert codec.PLAN_STATUS_CODES["ROLLBACK_FAILED"] == 12
    assert codec.OPERATION_CODES == {"pause": 1, "resume": 2, "cancel": 3, "retry": 4, "rollback": 5}
    assert codec.encode_marks((0, 3, 35, 63)) == "03So"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 2, 28, 23, 59, 59, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
)
def test_moments_are_exact(moment: datetime) -> None:
    assert codec.decode_moment(codec.encode_moment(moment)) == moment


def test_equal_marks_are_one_object() -> None:
    assert codec.decode_marks("033") is codec.decode_marks("033")
    assert codec.decode_marks(codec.encode_marks((63, 0, 44))) == (63, 0, 44)


def test_counts_are_short() -> None:
    assert codec.encode_counts({TaskStatus.PENDING: 7}) == "[0,0,0,7]"
    assert codec.decode_counts("[0,0,0,7]") == {TaskStatus.PENDING: 7}
    assert codec.encode_counts({}) == "[]"


def test_a_failure_with_foreign_bytes_in_its_message_can_be_recorded() -> None:
    failure = replace(FULL_FAILURE, message="no such file: \udcff")
    text = codec.encode_failure(failure)
    assert text is not None
    assert codec.decode_failure(text) == replace(failure, message="no such file: ?")


def test_rules_come_back() -> None:
    assert codec.decode_rules(codec.encode_rules(PlanRules())) == PlanRules()
