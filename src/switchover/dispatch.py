"""
How a stage is given to another process: what the driver says, and what it hears.

The driver decides and writes all state. A carrier only carries out: it takes the order for one stage and answers how
that ended. Who has no carrier carries out stages itself.
"""

from typing import NamedTuple, Protocol

from switchover.domain.task import FailureInfo, TaskKey


class StageOrder(NamedTuple):
    """
    One stage to carry out.

    Attributes:
        generation: Of the run; whoever carries the stage out writes targets under it.
        stage_index: Of the stage inside its task.
        restoring: Put the previous good config back, rather than switch.
    """

    key: TaskKey
    generation: int
    stage_index: int
    restoring: bool


class StageCarrier(Protocol):
    """Has stages carried out elsewhere. An order is durable with the commit that let the stage begin."""

    def adopts(self, order: StageOrder) -> bool:
        """Whether the order, given by an earlier driver, is in good hands: its stage need not run again."""
        ...

    async def carry(self, order: StageOrder) -> FailureInfo | None:
        """
        Wait until the stage has ended; why it failed, or None.

        Raises:
            StageAdriftError: Whoever carried it out is gone. It has to begin again, under a higher generation.
            StorageError: The driving ends; the next driver finds the order as it is.
        """
        ...
