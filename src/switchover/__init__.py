"""
Switchover: move many tenants from one deploy unit to another, safely and visibly, and back again.

The names below are all that users need. They are imported when they are first used, so that a program that needs one of
them (``switchover --version``, a step in a module of its own) does not pay for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from switchover._version import __version__

if TYPE_CHECKING:
    from switchover.bootstrap import Executor, open_executor
    from switchover.config import ExecutorSettings
    from switchover.domain.events import Event, EventType
    from switchover.domain.plan import PlanStatus
    from switchover.domain.stage import RollbackStrategy, StageStep, TaskRuntimeContext, TaskStage
    from switchover.domain.task import FailureInfo, TaskStatus, TaskView
    from switchover.dto import (
        NetworkEndpoint,
        PlanStatusInfo,
        TaskCreationResult,
        TaskOperationResult,
        TaskStatusInfo,
        TenantDeployConfig,
    )
    from switchover.errors import ErrorCode, ErrorType, ExecutorError, StepError, StoreUnavailableError
    from switchover.facade import DeploymentTaskFacade
    from switchover.spi import HealthCheckClient
    from switchover.stages.service import CompositeServiceStage, PreviousConfigRollback
    from switchover.stages.steps import BroadcastStep, ConfigUpdateStep, HealthCheckStep

_HOMES = {
    "BroadcastStep": "stages.steps",
    "CompositeServiceStage": "stages.service",
    "ConfigUpdateStep": "stages.steps",
    "DeploymentTaskFacade": "facade",
    "ErrorCode": "errors",
    "ErrorType": "errors",
    "Event": "domain.events",
    "EventType": "domain.events",
    "Executor": "bootstrap",
    "ExecutorError": "errors",
    "ExecutorSettings": "config",
    "FailureInfo": "domain.task",
    "HealthCheckClient": "spi",
    "HealthCheckStep": "stages.steps",
    "NetworkEndpoint": "dto",
    "PlanStatus": "domain.plan",
    "PlanStatusInfo": "dto",
    "PreviousConfigRollback": "stages.service",
    "RollbackStrategy": "domain.stage",
    "StageStep": "domain.stage",
    "StepError": "errors",
    "StoreUnavailableError": "errors",
    "TaskCreationResult": "dto",
    "TaskOperationResult": "dto",
    "TaskRuntimeContext": "domain.stage",
    "TaskStage": "domain.stage",
    "TaskStatus": "domain.task",
    "TaskStatusInfo": "dto",
    "TaskView": "domain.task",
    "TenantDeployConfig": "dto",
    "open_executor": "bootstrap",
}

__all__ = [
    "BroadcastStep",
    "CompositeServiceStage",
    "ConfigUpdateStep",
    "DeploymentTaskFacade",
    "ErrorCode",
    "ErrorType",
    "Event",
    "EventType",
    "Executor",
    "ExecutorError",
    "ExecutorSettings",
    "FailureInfo",
    "HealthCheckClient",
    "HealthCheckStep",
    "NetworkEndpoint",
    "PlanStatus",
    "PlanStatusInfo",
    "PreviousConfigRollback",
    "RollbackStrategy",
    "StageStep",
    "StepError",
    "StoreUnavailableError",
    "TaskCreationResult",
    "TaskOperationResult",
    "TaskRuntimeContext",
    "TaskStage",
    "TaskStatus",
    "TaskStatusInfo",
    "TaskView",
    "TenantDeployConfig",
    "__version__",
    "open_executor",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'switchover' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"switchover.{home}"), name)
    globals()[name] = value
    return value
