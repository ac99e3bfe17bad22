"""The workloads: what is run against every backend. No figure of a result is here, and no bar that one has to reach."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """
    A plan, as every backend can run it.

    Attributes:
        tasks: One per tenant.
        stages: Each is durable when it ends, before the next one starts.
        steps: Of each stage.
        running: Tasks that run at once.
        step_seconds: What a step waits; 0: it gives way to the others once and does nothing.
    """

    name: str
    tasks: int
    stages: int = 3
    steps: int = 3
    running: int = 64
    step_seconds: float = 0.0

    @property
    def ideal_seconds(self) -> float:
        """What the waiting alone takes, with every slot always taken."""
        return self.tasks / self.running * self.stages * self.steps * self.step_seconds

    def smaller(self, tasks: int) -> "Workload":
        """The same with fewer tasks, for a quick look."""
        all_at_once = self.running == self.tasks
        return replace(self, tasks=tasks, running=tasks if all_at_once else min(self.running, tasks // 4))


THOUSAND = Workload(name="1,000 tasks", tasks=1_000)
TWENTY_THOUSAND = Workload(name="20,000 tasks", tasks=20_000)
HUNDRED_THOUSAND = Workload(name="100,000 tasks", tasks=100_000)
SIZES = tuple(Workload(name=f"{tasks:,} tasks", tasks=tasks) for tasks in (1_000, 3_000, 10_000, 30_000, 100_000))

SLOTS = Workload(name="1,000 running, stages of 100 ms", tasks=10_000, steps=1, running=1_000, step_seconds=0.1)
WAITS = Workload(name="20,000 waiting at once", tasks=20_000, steps=1, running=20_000, step_seconds=0.5)
ALONE = Workload(name="one task alone", tasks=300, running=1)
POLLS = Workload(name="tasks between two polls", tasks=20_000, stages=1, steps=1, running=20_000)
FEW_POLLS = replace(POLLS, name="few tasks between two polls", tasks=2_000, running=2_000)
SUBSCRIBED = Workload(name="1,000 subscribers", tasks=40, steps=1, running=2, step_seconds=0.1)
AT_WORKERS = Workload(name="stages of 100 ms at workers", tasks=400, steps=1, step_seconds=0.1)
READ = replace(SUBSCRIBED, name="1,000 readers over HTTP")
HTTP = Workload(name="real HTTP steps", tasks=2_000)
