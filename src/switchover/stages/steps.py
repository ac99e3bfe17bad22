"""The steps that we ship, in one place."""

from switchover.stages.broadcast import BroadcastStep
from switchover.stages.config_update import ConfigUpdateStep
from switchover.stages.health_check import HealthCheckStep

__all__ = ["BroadcastStep", "ConfigUpdateStep", "HealthCheckStep"]
