import pytest

from switchover.dto import Finding
from switchover.factory import PlanFactory, StoreFacts
from tests.support.plans import SERVICES, Check, make_factory


@pytest.fixture
def factory() -> PlanFactory:
    return make_factory()


@pytest.fixture
def check(factory: PlanFactory) -> Check:
    """Read and validate; ``services`` are given unless ``options`` say otherwise."""

    def run(
        configs: object, options: object = None, facts: StoreFacts | None = None, metadata: object = None
    ) -> tuple[Finding, ...]:
        given: object = {"services": SERVICES}
        if isinstance(options, dict):
            given = {"services": SERVICES, **options}
        elif options is not None:
            given = options
        return factory.validate(factory.read(configs, given, metadata), facts)

    return run
