"""How a verb that stayed with the work ends: the summary for people, the status as JSON for programs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.domain.plan import PlanStatus
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.looking import Look, PlanLook
from switchover.interfaces.cli.output import Format, write_json, write_line, write_paragraphs
from switchover.interfaces.cli.place import Place
from switchover.interfaces.cli.screens import Screen
from switchover.interfaces.cli.summary import left, summary

if TYPE_CHECKING:
    from switchover.interfaces.cli.service import Service

_MOST_OTHERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWord:
    """Says what came of it."""

    executor: "Service"
    place: Place
    screen: Screen
    output: Format

    async def say(self, code: ExitCode, look: Look) -> None:
        """In the shape that was asked for."""
        if self.output is not Format.TABLE:
            from switchover.dto import PlanStatusInfo, TaskStatusInfo

            status = PlanStatusInfo.of(look.plan) if isinstance(look, PlanLook) else TaskStatusInfo.of(look.task)
            (write_json if self.output is Format.JSON else write_line)(status.to_dict())
            return
        if look.at_rest:
            write_paragraphs(await summary(self.executor, look, self.place))
            await self._tell_of_others(look)
        elif code is ExitCode.DISCONNECTED:
            self.screen.say(f"no longer watching; {left(look)}")

    async def _tell_of_others(self, look: Look) -> None:
        """A driver drives every plan of the store; those that it leaves unfinished are named."""
        if not self.executor.driving:
            return
        own = look.plan.plan_id if isinstance(look, PlanLook) else None
        plans = [plan for plan in (await self.executor.store.load_state()).plans if plan.plan_id != own]
        moving = [plan for plan in plans if plan.status is not PlanStatus.PAUSED and plan.unsettled > plan.idle]
        for plan in moving[:_MOST_OTHERS]:
            go_on = self.place.command("run", "--plan", str(plan.plan_id))
            print(f"plan {plan.plan_id} is {plan.status} and left as it is; to go on: {go_on}")
