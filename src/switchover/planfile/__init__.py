"""Plan files: YAML or JSON in, plain values out, and the line and column of every finding."""

from switchover.planfile.loading import PlanFile, load_plan, parse_plan
from switchover.planfile.schema import plan_schema

__all__ = ["PlanFile", "load_plan", "parse_plan", "plan_schema"]
