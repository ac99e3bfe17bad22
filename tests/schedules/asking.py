"""What people ask: requests drawn by a seed, and whether their answers are those of the model."""

from collections.abc import Coroutine
from random import Random
from typing import Any

from switchover.domain.task import Operation, TargetType, TaskAggregate, TaskKey, TenantId
from switchover.dto import TaskOperationResult
from switchover.facade import DeploymentTaskFacade
from switchover.operations import OperationRequest
from switchover.spi import Entry
from tests.schedules.scene import Member, Request, Scene
from tests.schedules.watcher import demand
from tests.stateful.oracle import ILLEGAL, Picture, obeyed, refusal_by_task

TENANTS = ("a", "b", "c")
STAGES = (("one",), ("one", "two"), ("one", "two"), ("one", "skip", "three"))
_MOST_PLANS = 4
_VERBS = (*Operation, *Operation, "hold", "unhold", "stop-line", "start-line", "create", "create")


def draw_plan(random: Random, *, reject: float = 0.3) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Configs and options of a plan."""
    stages = ",".join(random.choice(STAGES))
    configs: list[dict[str, Any]] = []
    has_source = random.random() < 0.8
    for tenant in random.sample(TENANTS, random.randint(1, len(TENANTS))):
        config: dict[str, Any] = {
            "tenantId": tenant,
            "deployUnitId": 2,
            "deployUnitVersion": 42,
            "deployUnitName": stages,
        }
        if has_source:
            config["sourceTenantDeployConfig"] = {"tenantId": tenant, "deployUnitId": 1, "deployUnitVersion": 41}
        configs.append(config)
    options = {
        "maxConcurrency": random.randint(1, 3),
        "onConflict": "reject" if random.random() < reject else "wait",
        "rollback": {"onFailure": random.choice(["manual", "manual", "auto"]), "hold": random.random() < 0.2},
        "retry": {"max": random.choice([3, 1])},
    }
    return configs, options


def call(
    facade: DeploymentTaskFacade, verb: str, target: str | int | None, *, from_checkpoint: bool = True
) -> Coroutine[Any, Any, TaskOperationResult]:
    """The facade's method for a verb about a tenant (text), a plan (number) or the line (None)."""
    if target is None:
        return facade.stop_line("a schedule") if verb == "stop-line" else facade.start_line()
    if verb in {"hold", "unhold"}:
        method = facade.hold_tenant if verb == "hold" else facade.unhold_tenant
        return method(str(target), "a schedule")
    what = "tenant" if isinstance(target, str) else "plan"
    arguments = (target, from_checkpoint) if verb == "retry" else (target,)
    work: Coroutine[Any, Any, TaskOperationResult] = getattr(facade, f"{verb}_task_by_{what}")(*arguments)
    return work


class Asker:
    """Asks for what the seed says, in whatever process it says."""

    def __init__(self, scene: Scene, random: Random) -> None:
        self._scene = scene
        self._random = random
        self._last: str | int | None = None
        self._expected: dict[Request, tuple[TaskAggregate, str | None]] = {}
        self._refusable: dict[Request, tuple[bool, set[TaskKey]]] = {}
        """By request: whether from the checkpoint, and of which tasks it was illegal at some durable moment since."""
        scene.watcher.on_entry = self._watch

    def create(self, member: Member, *, reject: float = 0.3) -> None:
        """A new plan."""
        configs, options = draw_plan(self._random, reject=reject)
        work = member.executor.facade.create_switch_task(configs, options=options)
        # It may take locks of its tenants and queue behind them, so it may concern any task of theirs.
        self._scene.ask("create", "", member, work)
        tenants = [config["tenantId"] for config in configs]
        self._scene.trace.append(f"{member.process.name} creates a plan for {tenants} {options}")

    def ask(self, member: Member, *, idle: bool) -> None:
        """Anything."""
        verb = str(self._random.choice(_VERBS))
        if verb == "create":
            if len(self._scene.watcher.plans) < _MOST_PLANS:
                self.create(member)
            return
        self._ask(member, verb, self._target(verb), idle=idle)

    def ask_about(self, member: Member, tenant_id: str) -> None:
        """Something about a tenant, in the very moment in which something else happens to it."""
        pending = {task.pending_operation for task in self._scene.watcher.tasks.values() if task.tenant_id == tenant_id}
        opposite = Operation.PAUSE in pending and self._random.random() < 0.5
        verb = str(Operation.RESUME if opposite else self._random.choice(list(Operation)))
        self._ask(member, verb, tenant_id, idle=False)

    def ask_at_once(self, member: Member, verb: Operation, task: TaskAggregate) -> None:
        """By the task's id: decided in the very moment in which it is asked, with nothing to read before."""
        request = OperationRequest(verb=verb, target_type=TargetType.TASK, target=task.task_id)
        self._scene.ask(verb, task.tenant_id, member, member.executor.facade.operate(request)).alone = False
        self._scene.trace.append(f"{member.process.name} asks: {verb} {task.task_id}")

    def _ask(self, member: Member, verb: str, target: str | int | None, *, idle: bool) -> None:
        random, scene = self._random, self._scene
        self._last = target
        from_checkpoint = random.random() < 0.7
        before = scene.picture() if idle and isinstance(target, str) and not scene.requests else None
        work = call(member.executor.facade, verb, target, from_checkpoint=from_checkpoint)
        request = scene.ask(verb, target, member, work)
        request.alone &= idle
        if isinstance(target, str) and verb in set(Operation):
            self._refusable[request] = (from_checkpoint, set())
            self._watch(None)
        scene.trace.append(f"{member.process.name} asks: {verb} {'' if target is None else target}")
        if before is not None and request.alone and verb in set(Operation):
            task = before.named_by(TenantId(str(target)))
            if task is not None:
                code = refusal_by_task(before, task, Operation(verb), from_checkpoint=from_checkpoint)
                self._expected[request] = (task, code)

    def _target(self, verb: str) -> str | int | None:
        random = self._random
        if verb in {"stop-line", "start-line"}:
            return None
        last = self._last
        if last is not None and verb in set(Operation) and random.random() < 0.5:
            return last  # what was asked a moment ago may still be on its way
        plans = list(self._scene.watcher.plans)
        if verb in set(Operation) and plans and random.random() < 0.35:
            return int(random.choice(plans))
        return random.choice(TENANTS)

    def _watch(self, entry: Entry | None) -> None:
        """Note for which tasks a request is refusable now; only an entry about a task or plan can change that."""
        if entry is not None and not (entry.tasks or entry.plans or entry.new_plan):
            return
        watcher = self._scene.watcher
        picture = Picture(plans=watcher.plans, tasks=watcher.tasks)
        for request, (from_checkpoint, found) in self._refusable.items():
            for task in picture.of_tenant(TenantId(str(request.target))):
                verb = Operation(request.verb)
                if refusal_by_task(picture, task, verb, from_checkpoint=from_checkpoint) == ILLEGAL:
                    found.add(task.key)

    def _judge_refusal(self, request: Request, refusable: set[TaskKey]) -> None:
        """Whoever is refused is refused for something that is durable, and cannot vanish any more."""
        result: TaskOperationResult = request.answer.result()
        key = TaskKey.parse(str(result.target_id))
        if key is not None and result.failure_info is not None and result.failure_info.error_code is ILLEGAL:
            known = self._scene.watcher.tasks[key]
            demand(key in refusable, "refused for what is not durable", request.verb, result.message, known)

    def judge(self) -> None:
        """Look at the answers that have come."""
        for request in list(self._refusable):
            if request.answer.done() and request not in self._scene.requests:
                del self._refusable[request]  # its process died
        for request in self._scene.take_answers():
            if request in self._refusable:
                self._judge_refusal(request, self._refusable.pop(request)[1])
            expected = self._expected.pop(request, None)
            if expected is None or not request.alone:
                continue
            result: TaskOperationResult = request.answer.result()
            before, code = expected
            found = None if result.failure_info is None else str(result.failure_info.error_code)
            demand(found == (None if code is None else str(code)), "answer", request.verb, before, found, code)
            if code is None:
                key = TaskKey.parse(str(result.target_id))
                assert key is not None
                after = self._scene.watcher.tasks[key]
                demand(obeyed(after, Operation(request.verb)), "acknowledged, and not so", request.verb, before, after)


def end_requests(scene: Scene, member: Member) -> list[Coroutine[Any, Any, TaskOperationResult]]:
    """What has to be asked so that everything can end: every reason to wait is taken away."""
    facade, picture = member.executor.facade, scene.picture()
    work: list[Coroutine[Any, Any, TaskOperationResult]] = []
    if picture.line is not None:
        work.append(facade.start_line())
    work += [facade.unhold_tenant(tenant, "the end") for tenant in picture.holds]
    work += [
        facade.resume_task_by_plan(plan_id) for plan_id, plan in picture.plans.items() if not plan.status.is_settled
    ]
    for task in picture.tasks.values():
        if task.is_idle:
            resumes = task.lock_held
            work.append(facade.resume_task_by_tenant(task.tenant_id) if resumes else facade.cancel_task(task.task_id))
    return work
