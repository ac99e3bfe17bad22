"""One tenant, one stage, one step over real adapters: what a fault leads to, and whether the next move is right."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from switchover.adapters.health import HttpHealthCheckClient
from switchover.adapters.network import guarded_session
from switchover.bootstrap import Executor, open_executor
from switchover.config import PRIVATE_NETWORKS
from switchover.domain.addresses import AllowList
from switchover.domain.stage import StageStep
from switchover.domain.task import FailureInfo, TaskStatus
from switchover.dto import TaskStatusInfo
from switchover.stages.service import CompositeServiceStage
from tests.support.fault_table import Row

TENANT = "acme"
VERSION = 42
PATIENT_SECONDS = 20.0
"""A limit that only a test that fails ever meets."""
SHORT_SECONDS = 0.15
"""A limit that is met because nothing comes."""


@dataclass
class Switch:
    """A plan of one tenant that is being switched."""

    executor: Executor
    steps: list[StageStep]

    async def run(self) -> TaskStatusInfo:
        """Create the plan, and wait for what becomes of it."""
        config = {"tenantId": TENANT, "deployUnitId": 2, "deployUnitVersion": VERSION, "deployUnitName": "green"}
        result = await self.executor.facade.create_switch_task([config], options={"plan_id": 100})
        assert result.success, result.message
        return await self._settled()

    async def retry(self, *steps: StageStep) -> TaskStatusInfo:
        """What every message of a failed step names as the next move; with other steps where they are given."""
        self.steps[:] = steps or self.steps
        result = await self.executor.facade.retry_task_by_tenant(TENANT, True)
        assert result.success, result.message
        return await self._settled()

    async def failure(self) -> FailureInfo:
        """Run into the fault: the task must fail."""
        task = await self.run()
        assert task.status is TaskStatus.FAILED, task
        assert task.failure_info is not None
        return task.failure_info

    async def _settled(self) -> TaskStatusInfo:
        await self.executor.wait_for_plan(100)
        return await self.executor.facade.query_task_status_by_tenant(TENANT)


@asynccontextmanager
async def open_switch(
    steps: Sequence[StageStep],
    *,
    session: aiohttp.ClientSession | None = None,
) -> AsyncIterator[Switch]:
    """An executor over a store in memory, with these steps as the one stage, ``gateway``."""
    current = list(steps)
    async with open_executor(
        "memory://",
        stage_factory=lambda _: [CompositeServiceStage("gateway", list(current))],
        health_client=None if session is None else HttpHealthCheckClient(session),
        grace_seconds=0,
    ) as executor:
        yield Switch(executor, current)


def assert_failure(failure: FailureInfo, row: Row, url: str) -> None:
    """A step that writes a configuration failed as the table says, and its message says all that one needs to know."""
    assert (failure.error_code, failure.error_type, failure.retryable) == (row.code, row.kind, row.retryable), failure
    assert failure.failed_at is not None
    assert (failure.failed_at.stage, failure.failed_at.step) == ("gateway", "configUpdate")
    assert failure.message.startswith(f"tenant {TENANT}, stage gateway, step configUpdate: ")
    assert url in failure.message
    assert row.says in failure.message
    assert f"`switchover retry --tenant {TENANT}`" in failure.message


def trusting(monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext) -> None:
    """Let sessions trust what this context trusts, as they otherwise do the system's authorities."""
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)


def private_session(resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """What the executor sends with: only private addresses, and none that a name or a redirect leads away to."""
    return guarded_session(AllowList(PRIVATE_NETWORKS), resolver=resolver)
