"""
The engine against a model, under random requests, failures, time, deaths and outages.

``HYPOTHESIS_PROFILE=thorough make stateful`` looks for longer.
"""

from hypothesis import settings

from tests.stateful.machine import EngineMachine

STEPS = 30


def examples(usual: int) -> settings:
    """As many as the profile says; in the normal run, as many as fit into it."""
    profile = settings.default
    many = profile is not None and profile.max_examples > settings.get_profile("default").max_examples
    return settings(max_examples=profile.max_examples if many and profile else usual, stateful_step_count=STEPS)


class ContinuingMachine(EngineMachine):
    """What ran when the process ended goes on by itself."""


class PausingMachine(EngineMachine):
    """What ran when the process ended is paused at the restart."""

    recovery = "pause"


TestContinuing = ContinuingMachine.TestCase
TestContinuing.settings = examples(60)

TestPausing = PausingMachine.TestCase
TestPausing.settings = examples(30)
