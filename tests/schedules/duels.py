"""
Two requests at one instant end as one of the two serial orders.

A scene is prepared by a seed and stands still. Then two requests begin at the same instant, and a seed mixes what
follows. The same scene is prepared anew and the two are asked one after the other, in either order, with the second
asked at once or when everything has come to rest: one of these must have ended in the same state with the same answers.
"""

from collections.abc import Callable, Generator
from itertools import product
from random import Random
from typing import Any

from switchover.domain.task import Operation, TaskAggregate
from switchover.dto import TaskCreationResult, TaskOperationResult
from tests.schedules.asking import TENANTS, Asker, call, draw_plan
from tests.schedules.explorer import FoundError
from tests.schedules.loop import Picker
from tests.schedules.scene import FAILURES, Scene
from tests.schedules.watcher import demand

_MOST_STEPS = 20_000
_VERBS = (*Operation, *Operation, "create", "hold")

_WHEN = ("as soon as it is answered", "before anything starts", "at rest")

Outcome = tuple[tuple[object, ...], tuple[object, ...]]


class Duel:
    """
    One preparation of the scene.

    Args:
        seed: Of the preparation and of what is asked.
        mixing: Of what runs first while both are on their way; None: in order.
    """

    def __init__(self, seed: int, mixing: int | None) -> None:
        self.random = Random(seed)
        self.scene = Scene()
        self.mixing = None if mixing is None else Random(mixing)
        self.steps = 0

    def prepare(self) -> None:
        """Some plans, some steps, some requests: whatever state that leads to, everything stands still then."""
        random, scene = self.random, self.scene
        member = scene.start_process()
        self.rest(mixed=False)
        asker = Asker(scene, random)
        for _ in range(random.randint(1, 2)):
            asker.create(member, reject=0.1)
            self.rest(mixed=False)
        for _ in range(random.randint(0, 9)):
            if scene.standing and random.random() < 0.7:
                gate = random.choice(scene.standing)
                scene.trace.append(f"{gate.stage} of {gate.key.task_id} ends")
                scene.open_gate(gate, ok=random.random() < 0.6)
            else:
                asker.ask(member, idle=True)
            self.rest(mixed=False)
            asker.judge()

    def draw(self) -> list[tuple[str, str | int, bool, Any]]:
        """What the two ask: about one tenant, or its plan, mostly."""
        random = self.random
        tenant = random.choice(TENANTS)
        plans = sorted(task.plan_id for task in self.scene.watcher.tasks.values() if task.tenant_id == tenant)
        drawn = []
        for _ in range(2):
            verb = str(random.choice(_VERBS))
            target: str | int = tenant
            if plans and verb in set(Operation) and random.random() < 0.4:
                target = int(random.choice(plans))
            drawn.append((verb, target, random.random() < 0.7, draw_plan(random)))
        return drawn

    def begin(self, verb: str, target: str | int, from_checkpoint: bool, plan: Any) -> Any:  # noqa: ANN401  # of many kinds
        """Ask."""
        member = self.scene.members[0]
        facade = member.executor.facade
        if verb == "create":
            configs, options = plan
            work: Any = facade.create_switch_task(configs, options=options)
        else:
            work = call(facade, verb, target, from_checkpoint=from_checkpoint)
        return self.scene.ask(verb, target if verb != "create" else "", member, work).answer

    def together(self) -> Outcome:
        """Both at one instant."""
        answers = [self.begin(*request) for request in self.draw()]
        self.rest(mixed=True)
        return self.outcome(answers)

    def one_after_the_other(self, *, swapped: bool, when: str) -> Outcome:
        """The first is answered before the second is asked."""
        drawn = self.draw()
        answers: list[Any] = [None, None]
        driver: Any = self.scene.members[0].executor._driver
        dispatch = driver.scheduler._dispatch_woken
        if when == "before anything starts":
            driver.scheduler._dispatch_woken = _later
        for number in (1, 0) if swapped else (0, 1):
            answers[number] = self.begin(*drawn[number])
            for _ in self._running(mixed=False):
                if answers[number].done() and when == "as soon as it is answered":
                    break
        if when == "before anything starts":
            driver.scheduler._dispatch_woken = dispatch
            self.scene.loop.spawn(self.scene.members[0].process, _call(dispatch))
        self.rest(mixed=False)
        return self.outcome(answers)

    def rest(self, *, mixed: bool) -> None:
        """Until everything stands still."""
        for _ in self._running(mixed=mixed):
            pass

    def _running(self, *, mixed: bool) -> Generator[None]:
        loop, mixing = self.scene.loop, self.mixing if mixed else None
        picker = Picker(mixing or self.random, 0.1 if mixing is not None else 0.0)
        while True:
            runnable, passable = loop.runnable(), loop.passable()
            if runnable and (mixing is None or not passable or mixing.random() < 0.8):
                loop.run(picker.pick(runnable))
            elif passable:
                loop.pass_point(passable[0] if mixing is None else mixing.choice(passable))
            else:
                return
            self.steps += 1
            if self.scene.failure is not None:
                raise self.scene.failure
            demand(self.steps < _MOST_STEPS, "the program is busy for ever")
            yield

    def outcome(self, answers: list[Any]) -> Outcome:
        """What was answered, and what everybody sees then."""
        demand(all(answer.done() for answer in answers), "a request is not answered")
        for answer in answers:
            demand(answer.exception() is None, "a request raised", repr(answer.exception()))
        picture = self.scene.picture()
        return (
            tuple(_answer(answer.result()) for answer in answers),
            (
                tuple(_task(picture.tasks[key]) for key in sorted(picture.tasks)),
                tuple(
                    (plan_id, plan.status, plan.pending_operation) for plan_id, plan in sorted(picture.plans.items())
                ),
                tuple((name, t.owner, t.generation, t.waiting, t.hold is None) for name, t in picture.tenants.items()),
            ),
        )


def _later() -> None:
    """What is woken stays woken."""


async def _call(function: Callable[[], None]) -> None:
    function()


def _answer(result: TaskOperationResult | TaskCreationResult) -> object:
    code = None if result.failure_info is None else str(result.failure_info.error_code)
    if isinstance(result, TaskCreationResult):
        return (result.plan_id, code)
    refused = tuple(sorted((o.task_id, str(o.failure_info and o.failure_info.error_code)) for o in result.refused))
    return (result.success, code, tuple(sorted(o.task_id for o in result.accepted)), refused)


def _task(task: TaskAggregate) -> object:
    return (
        task.key,
        task.status,
        task.marks,
        task.pending_operation,
        task.held,
        task.lock_held,
        task.retry_count,
        task.generation,
    )


def duel(seed: int) -> int:
    """
    Play one; gives how many steps it had.

    Raises:
        FoundError: With the way to see it again.
    """
    steps = 0

    def play(how: str, **options: Any) -> Outcome:  # noqa: ANN401  # passed on
        nonlocal steps
        play = Duel(seed, seed if how == "together" else None)
        with play.scene.loop.entered():
            try:
                play.prepare()
                outcome: Outcome = getattr(play, how)(**options)
                demand(not play.scene.loop.errors, *play.scene.loop.errors)
            except FAILURES as error:
                raise FoundError(seed, error, [*play.scene.trace, f"{how}: {play.draw()}"], option="duel") from error
            finally:
                steps += play.steps
                trace[:] = play.scene.trace
                for member in list(play.scene.members):
                    play.scene.kill(member)
        return outcome

    trace: list[str] = []
    together = play("together")
    serial: list[Outcome] = []
    for swapped, when in product((False, True), _WHEN):
        serial.append(play("one_after_the_other", swapped=swapped, when=when))
        if serial[-1] == together:
            return steps
    lines = [f"together: {together}", *(f"in order: {outcome}" for outcome in serial)]
    cause = AssertionError("two requests at one instant ended as neither order would\n" + "\n".join(lines))
    raise FoundError(seed, cause, trace, option="duel")
