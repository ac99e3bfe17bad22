"""
One schedule from one number: which callback, answer, step, request, death or jump comes next, until everything ends.

``explore(seed)`` raises ``FoundError`` with the command that shows the same schedule again.
"""

from collections.abc import Callable
from random import Random

from switchover.domain.task import Operation, TaskStatus
from switchover.engine.explain import explain
from tests.schedules.asking import Asker, end_requests
from tests.schedules.loop import Picker, immediately
from tests.schedules.scene import FAILURES, STEP_TIMEOUT_SECONDS, Member, Scene
from tests.schedules.watcher import demand
from tests.stateful.invariants import examine
from tests.stateful.oracle import Picture

_MOST_STEPS = 60_000
_ROUNDS = 80
_DISORDER = (0.0, 0.0, 0.05, 0.3, 1.0)
_HURRY = (0.0, 0.2, 0.8)
_LATENESS = (0.0, 0.0, 0.1, 0.4)
_GAPS = (0.06, 0.25, 1.5, 10.5, STEP_TIMEOUT_SECONDS + 1)
_JUMPS_HOURS = (-30, -2, 1, 50)


class FoundError(AssertionError):
    """A schedule in which something happened that must never happen."""

    def __init__(self, seed: int, cause: BaseException, trace: list[str], *, option: str = "seed") -> None:
        lines = "\n  ".join(trace[-60:])
        super().__init__(
            f"schedule {seed}: {type(cause).__name__}: {cause}\n"
            f'see it again with: make schedules ARGS="--{option} {seed}"\nwhat happened:\n  {lines}'
        )
        self.seed = seed
        self.cause = cause


class Explorer:
    """Plays one schedule."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.scene = Scene(recovery="pause" if random.random() < 0.1 else "continue")
        self.asker = Asker(self.scene, random)
        self.picker = Picker(random, random.choice(_DISORDER), random.choice(_LATENESS))
        self.wanted = 1 if random.random() < 0.6 else 2
        self.haste = random.choice((0.98, 0.9, 0.6))
        self.eager = random.choice((0.002, 0.02, 0.1))
        self.hurry = random.choice(_HURRY)
        self.moves = random.randint(8, 26)
        self.jumps = self.scene.watcher.jumps = random.random() < 0.25
        self.steps = 0

    def play(self) -> None:
        """The whole schedule."""
        scene = self.scene
        for _ in range(self.wanted):
            scene.start_process()
        self.drain()
        self.asker.create(scene.members[0])
        while self.moves or scene.requests:
            if not self.step():
                if not self.moves:
                    break
                self.moves -= 1
                self.move(idle=True)
        self.end()

    # What runs by itself

    def step(self) -> bool:
        """One callback, answer or accident; False when nothing moves by itself."""
        random, loop = self.random, self.scene.loop
        passable = loop.passable()
        runnable = self.picker.punctual(loop, loop.runnable(), more=bool(passable))
        if not runnable and not passable:
            return False
        self._count()
        if self.moves and self.hurry and random.random() < self.hurry and self._resume_what_was_just_paused():
            self.moves -= 1
        elif self.moves and random.random() < self.eager:
            self.moves -= 1
            self.move(idle=False)
        elif runnable and (not passable or random.random() < self.haste):
            loop.run(self.picker.pick(runnable))
            self._look()
        else:
            loop.pass_point(random.choice(passable))
        return True

    def _resume_what_was_just_paused(self) -> bool:
        """Somebody resumes a task whose pause is decided and not yet durable; its run has not noticed either."""
        for member in self.scene.members:
            driver = member.executor._driver
            if driver is None or member.process.frozen:
                continue
            for record in driver.residents.tasks.values():
                if record.in_flight and record.task.status is TaskStatus.PAUSED:
                    self.asker.ask_at_once(member, Operation.RESUME, record.task)
                    return True
        return False

    def drain(self) -> None:
        """Let everything run that runs by itself."""
        random, loop = self.random, self.scene.loop
        while True:
            passable = loop.passable()
            runnable = self.picker.punctual(loop, loop.runnable(), more=bool(passable))
            if runnable and (not passable or random.random() < self.haste):
                loop.run(self.picker.pick(runnable))
                self._look()
            elif passable:
                loop.pass_point(random.choice(passable))
            else:
                return
            self._count()

    def _look(self) -> None:
        scene = self.scene
        if scene.failure is not None:
            raise scene.failure
        if scene.requests:
            self.asker.judge()
        demand(not scene.violations, *scene.violations)
        demand(not scene.loop.errors, *scene.loop.errors)

    def _count(self) -> None:
        self.steps += 1
        demand(self.steps < _MOST_STEPS, "the program is busy for ever")

    # What comes from outside

    def move(self, *, idle: bool) -> None:
        """A request, the end of a step, time, an accident."""
        random, scene = self.random, self.scene
        frozen = [member for member in scene.members if member.process.frozen]
        awake = [member for member in scene.members if not member.process.frozen]
        gates = [gate for gate in scene.standing if not gate.process.frozen]
        moves: list[tuple[float, Callable[[], None]]] = [(1.5, self.pass_time)]
        if awake:
            moves.append((5.0, lambda: self.asker.ask(random.choice(awake), idle=idle)))
            moves.append((0.35, lambda: self.kill(random.choice(awake))))
            moves.append((0.4, lambda: self.freeze(random.choice(awake))))
        if gates:
            moves.append((6.0, self.end_step))
        if frozen:
            moves.append((2.0, lambda: self.thaw(random.choice(frozen))))
            moves.append((0.7, lambda: self.lose_lease(random.choice(frozen))))
        if len(scene.members) < self.wanted:
            moves.append((2.0, self.start))
        if self.jumps:
            moves.append((1.0, self.jump))
        weights = [weight for weight, _ in moves]
        random.choices([move for _, move in moves], weights)[0]()

    def end_step(self) -> None:
        gate = self.random.choice([gate for gate in self.scene.standing if not gate.process.frozen])
        ok = self.random.random() < 0.75
        asks = next((member for member in self.scene.members if member.process is gate.process), None)
        if asks is not None and self.hurry and self.random.random() < self.hurry:
            self.asker.ask_at_once(asks, Operation.PAUSE, self.scene.watcher.tasks[gate.key])
        self.scene.trace.append(f"{gate.process.name}: {gate.stage} of {gate.key.task_id} {'ends' if ok else 'fails'}")
        self.scene.open_gate(gate, ok=ok)
        if asks is not None and self.random.random() < 0.3:
            self.asker.ask_about(asks, gate.tenant_id)

    def pass_time(self) -> None:
        self.scene.nothing_is_alone()
        timer = self.scene.loop.next_timer_seconds
        seconds = timer if timer is not None and self.random.random() < 0.3 else self.random.choice(_GAPS)
        self.scene.trace.append(f"{seconds:g} s pass")
        self.scene.loop.advance(seconds)

    def jump(self) -> None:
        hours = self.random.choice(_JUMPS_HOURS)
        self.scene.trace.append(f"the wall clock jumps by {hours} h")
        self.scene.clock.jump(hours)

    def start(self) -> None:
        member = self.scene.start_process()
        self.scene.trace.append(f"{member.process.name} starts")

    def kill(self, member: Member) -> None:
        self.scene.trace.append(f"{member.process.name} is killed{' (it drove)' if member.executor.driving else ''}")
        self.scene.kill(member)
        if not self.scene.members:
            self.start()

    def freeze(self, member: Member) -> None:
        self.scene.nothing_is_alone()
        self.scene.trace.append(f"{member.process.name} is frozen")
        member.process.frozen = True

    def thaw(self, member: Member) -> None:
        self.scene.nothing_is_alone()
        self.scene.trace.append(f"{member.process.name} goes on")
        member.process.frozen = False

    def lose_lease(self, member: Member) -> None:
        if member.executor.driving:
            self.scene.trace.append(f"{member.process.name} has lost its lease, and does not know")
            self.scene.let_go(member)

    # The end

    def end(self) -> None:
        """No stop lasts longer than its reason: with every reason gone, everything settles and holds nothing."""
        scene = self.scene
        for member in scene.members:
            member.process.frozen = False
        self._find_a_driver()
        self._wait_for_answers()
        self._examine(Picture())
        for _ in range(_ROUNDS):
            picture = scene.picture()
            if all(plan.status.is_settled for plan in picture.plans.values()):
                break
            driver = self._find_a_driver()
            for work in end_requests(scene, driver):
                scene.ask("end", None, driver, work)
                self._wait_for_answers()
            for gate in list(scene.standing):
                scene.open_gate(gate, ok=True)
            self.drain()
        self._find_a_driver()
        before = scene.picture()
        picture = self._examine(before)
        demand(all(plan.status.is_settled for plan in picture.plans.values()), "some plan never ends", picture.plans)
        demand(
            all(t.owner is None and not t.waiting for t in picture.tenants.values()), "a lock is left", picture.tenants
        )
        self._wait_for_answers()

    def _find_a_driver(self) -> Member:
        """Somebody drives, knows it, and has done all that can be done."""
        scene = self.scene
        for _ in range(_ROUNDS):
            self.drain()
            for member in list(scene.members):
                failure = member.executor.driver_failure
                demand(failure is None or member.robbed, "a driver stopped that had not lost its lease", failure)
                if failure is not None or self._was_robbed(member):
                    self.kill(member)  # such a process says so, and ends
            driver = next((member for member in scene.members if member.executor.driving), None)
            if driver is not None and not scene.loop.runnable():
                return driver
            scene.loop.advance(0.25)
        demand(False, "nobody drives")
        raise AssertionError

    def _was_robbed(self, member: Member) -> bool:
        return member.executor.driving and self.scene.inner._data.holder is not member.store.inner

    def _wait_for_answers(self) -> None:
        for _ in range(_ROUNDS):
            self._find_a_driver()
            self._look()
            if not self.scene.requests and not immediately(self.scene.inner.open_requests(0, 1)):
                return
            self.scene.loop.advance(0.25)
        demand(False, "a request is not answered", [request.verb for request in self.scene.requests])

    def _examine(self, before: Picture) -> Picture:
        """Nothing moves: everything is as the model says, and whatever waits has one cause."""
        scene = self.scene
        picture = examine(scene, before)
        driver = scene.executor
        for task in scene.watcher.live():
            if task.key not in scene.gates:
                explanation = immediately(explain(scene.inner, task.key, now=scene.clock.now()))
                demand(
                    explanation is not None and explanation.cause not in {"NOT_WAITING", "NO_DRIVER"},
                    "a live task neither runs nor waits for anything",
                    task,
                    explanation,
                )
        demand(driver.driving, "nobody drives")
        return picture


def explore(seed: int) -> int:
    """
    Play one schedule; gives how many steps it had.

    Raises:
        FoundError: With the way to see it again.
    """
    explorer = Explorer(seed)
    with explorer.scene.loop.entered():
        try:
            explorer.play()
        except FAILURES as error:
            raise FoundError(seed, error, explorer.scene.trace) from error
        finally:
            for member in list(explorer.scene.members):
                explorer.scene.kill(member)
    return explorer.steps
