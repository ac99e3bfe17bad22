"""The reference pages say what the code does."""

import re
from pathlib import Path

import pytest

from switchover.dto.configs import WireModel
from switchover.dto.options import HealthOptions, PlanLimits, RetryOptions, RollbackOptions
from switchover.errors import ErrorCode
from switchover.factory import first_error
from switchover.factory.explaining import NOT_YET
from switchover.factory.validation import WARNINGS
from switchover.planfile import parse_plan
from switchover.planfile.model import PlanSpec
from switchover.planfile.tenants import parse_csv
from tests.support.plans import make_factory


@pytest.fixture
def plan_page(repository: Path) -> str:
    return (repository / "docs/reference/plan-file.md").read_text(encoding="utf-8")


@pytest.fixture
def codes_page(repository: Path) -> str:
    return (repository / "docs/reference/validation-codes.md").read_text(encoding="utf-8")


def test_the_plan_of_the_page_is_valid_and_has_no_warning(plan_page: str) -> None:
    text = plan_page.split("```yaml\n")[1].split("```", maxsplit=1)[0]
    plan = parse_plan(text)
    factory = make_factory()
    assert factory.validate(factory.read(plan.configs, plan.options, plan.metadata)) == ()


def test_the_csv_of_the_page_can_be_read(plan_page: str) -> None:
    configs, _ = parse_csv(plan_page.split("```csv\n")[1].split("```", maxsplit=1)[0])
    factory = make_factory()
    error = first_error(factory.validate(factory.read(configs)))
    assert error is not None
    assert error.code is ErrorCode.INVALID_STAGES  # and nothing else: it brings no catalogue


def test_every_option_is_on_the_page(plan_page: str) -> None:
    named = set(re.findall(r"^\| `([A-Za-z.]+)` \|", plan_page, re.MULTILINE))
    groups: dict[str, type[WireModel]] = {"rollback": RollbackOptions, "retry": RetryOptions, "health": HealthOptions}
    expected = {f"{group}.{info.alias}" for group, model in groups.items() for info in model.model_fields.values()} | {
        str(info.alias) for name, info in PlanSpec.model_fields.items() if name not in groups
    }
    assert expected <= named
    assert set(PlanLimits.model_fields) <= set(PlanSpec.model_fields)
    assert all(f"`{name}`" in plan_page for name in NOT_YET)


def test_every_code_of_the_chain_is_on_the_page_with_its_severity(codes_page: str) -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (error|warning) \|", codes_page, re.MULTILINE))
    codes = list(ErrorCode)
    chain = codes[: codes.index(ErrorCode.NO_PREVIOUS_CONFIG) + 1]
    assert list(rows) == [str(code) for code in chain]
    assert {code for code, severity in rows.items() if severity == "warning"} == {str(code) for code in WARNINGS}
