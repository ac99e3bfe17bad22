"""What comes in (configurations) and what goes out (results, statuses, findings)."""

from switchover.domain.task import TargetType
from switchover.dto.configs import NetworkEndpoint, TenantDeployConfig
from switchover.dto.findings import Finding, Severity
from switchover.dto.results import (
    PlanStatusInfo,
    TaskCreationResult,
    TaskOperationResult,
    TaskOutcome,
    TaskStatusInfo,
    Timestamps,
)

__all__ = [
    "Finding",
    "NetworkEndpoint",
    "PlanStatusInfo",
    "Severity",
    "TargetType",
    "TaskCreationResult",
    "TaskOperationResult",
    "TaskOutcome",
    "TaskStatusInfo",
    "TenantDeployConfig",
    "Timestamps",
]
