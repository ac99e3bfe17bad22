"""From what callers hand in to a plan that a store can take: read, validate, create; all or nothing."""

from switchover.factory.plans import PlanFactory
from switchover.factory.reading import Draft
from switchover.factory.validation import StageFactory, StoreFacts, first_error

__all__ = ["Draft", "PlanFactory", "StageFactory", "StoreFacts", "first_error"]
