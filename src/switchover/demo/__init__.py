"""``switchover demo``: a simulated fleet over real HTTP, a plan that fails in part, its repair, and a way back."""

from switchover.demo.story import run_demo

__all__ = ["run_demo"]
