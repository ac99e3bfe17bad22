"""What the targets of a task hold now, beside what was there before and what its switch writes. Nothing is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchover.domain.stage import ObservableStep, Observation
from switchover.domain.task import TaskKey
from switchover.engine.executor import StageSource
from switchover.engine.records import PlanRecord, TaskRecord
from switchover.errors import ExecutorError
from switchover.spi import ExecutionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceReport:
    """
    One place that a stage writes. Values are text; bytes that are none are escaped.

    Attributes:
        place: Target, key and field, for people.
        kept: A pre-image was kept: the switch has begun to write there.
        before: What was there before the switch; None for nothing. Means nothing while ``kept`` is False.
        wanted: What the switch writes.
        observed: What is there now; None for nothing.
        generation: Beside it; 0 for none.
        problem: Why the target could not be asked; empty when it could.
    """

    stage: str
    step: str
    place: str = ""
    kept: bool = False
    before: str | None = None
    wanted: str | None = None
    observed: str | None = None
    generation: int = 0
    problem: str = ""

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        return {
            "stage": self.stage,
            "step": self.step,
            "place": self.place,
            "kept": self.kept,
            "before": self.before,
            "wanted": self.wanted,
            "observed": self.observed,
            "generation": self.generation,
            "problem": self.problem or None,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "PlaceReport":
        """The inverse of ``to_dict``."""
        return PlaceReport(
            stage=data["stage"],
            step=data["step"],
            place=data["place"],
            kept=data["kept"],
            before=data["before"],
            wanted=data["wanted"],
            observed=data["observed"],
            generation=data["generation"],
            problem=data["problem"] or "",
        )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


async def observe(
    store: ExecutionStore, key: TaskKey, stages: StageSource, services: object
) -> Sequence[PlaceReport] | None:
    """One report for each place, in the order of the stages; None for a task that nobody knows."""
    plan, found = await store.load_plan(key.plan_id), await store.load_tasks([key])
    if plan is None or not found:
        return None
    record = TaskRecord.of(found[0])
    reports: list[PlaceReport] = []
    for stage in stages(PlanRecord(plan), record):
        steps = [step for step in stage.steps if isinstance(step, ObservableStep)]
        images = {image.key: image.value for image in await store.load_pre_images(key, stage.name)} if steps else {}
        for step in steps:
            try:
                seen = await step.observe(record.task, record.config, services)
            except ExecutorError as error:
                reports.append(PlaceReport(stage=stage.name, step=step.name, problem=error.message))
            else:
                reports.append(_report(stage.name, step.name, seen, images))
    return reports


def _report(stage: str, step: str, seen: Observation, images: dict[str, bytes | None]) -> PlaceReport:
    return PlaceReport(
        stage=stage,
        step=step,
        place=seen.place,
        kept=seen.pre_image_key in images,
        before=_text(images.get(seen.pre_image_key)),
        wanted=_text(seen.wanted),
        observed=_text(seen.held),
        generation=seen.generation,
    )
