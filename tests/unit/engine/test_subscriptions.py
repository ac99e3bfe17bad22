"""History then live, without gap or duplicate, whatever a subscriber does."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.domain.events import Event
from switchover.domain.plan import PlanStatus
from switchover.domain.task import PlanId
from switchover.engine.publisher import EventPublisher
from switchover.testing.clock import ManualClock
from tests.support.harness import Rig, open_rig


async def _read(rig: Rig, since: int = 0, *, until: str = "PlanCompleted", plan_id: int = 100) -> list[Event]:
    seen: list[Event] = []
    stream = rig.executor.events(plan_id, since)
    async with aclosing(stream) as events:  # type: ignore[type-var]  # an async generator
        async for event in events:
            seen.append(event)
            if event.type == until:
                break
    return seen


async def test_a_subscriber_sees_history_then_live_without_gap_or_duplicate() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t2", "A")
        await rig.create("t1", "t2", max_concurrency=1)
        await rig.entered("t2", "A")
        reader = asyncio.ensure_future(_read(rig))
        await rig.quiet()
        assert not reader.done()
        rig.script.release("t2", "A")
        seen = await reader
        assert seen == list(await rig.events())


async def test_a_subscriber_from_before_the_plan_sees_everything() -> None:
    async with open_rig("A") as rig:
        reader = asyncio.ensure_future(_read(rig))
        await rig.quiet()
        await rig.create("t1")
        assert await reader == list(await rig.events())


@pytest.mark.parametrize("since", [0, 1, 5, 11])
async def test_since_is_exclusive(since: int) -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        seen = await _read(rig, since) if since < 11 else []
        assert seen == [event for event in await rig.events() if event.position > since][: len(seen)]
        assert not seen or seen[0].position == since + 1


async def test_a_reader_killed_at_any_point_and_resumed_from_its_last_number_sees_everything_once() -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1", "t2")
        await rig.settles()
        everything = list(await rig.events())
        for stop in range(len(everything)):
            seen: list[Event] = []
            stream = rig.executor.events(100)
            async for event in stream:
                if len(seen) == stop:
                    break
                seen.append(event)
            await stream.aclose()  # type: ignore[attr-defined]  # an async generator
            last = seen[-1].position if seen else 0
            assert seen + await _read(rig, last) == everything


async def test_a_slow_subscriber_misses_nothing_and_slows_nobody() -> None:
    async with open_rig("A", "B") as rig:
        stream = rig.executor.events(100)
        slow: list[Event] = []
        await rig.create(*(f"t{number}" for number in range(400)), max_concurrency=50)
        slow.append(await anext(stream))
        fast = asyncio.ensure_future(_read(rig))
        assert await rig.settles() is PlanStatus.COMPLETED
        assert len(await fast) > 2048, "more than what is kept at hand"
        async for event in stream:
            slow.append(event)
            if event.type == "PlanCompleted":
                break
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator
        assert slow == list(await rig.events())


async def test_a_subscriber_that_throws_harms_nothing_and_nobody_else() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "B")

        async def throws() -> None:
            async for event in rig.executor.events(100):
                message = f"cannot take {event.type}"
                raise ValueError(message)

        await rig.create("t1")
        bad = asyncio.ensure_future(throws())
        good = asyncio.ensure_future(_read(rig))
        await rig.entered("t1", "B")
        rig.script.release("t1", "B")
        assert await rig.settles() is PlanStatus.COMPLETED
        assert await good == list(await rig.events())
        with pytest.raises(ValueError, match="cannot take"):
            await bad


async def test_nobody_sees_an_event_before_it_is_durable() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        reader = asyncio.ensure_future(_read(rig, until="TaskStageSucceeded"))
        rig.store.hold()
        rig.script.release("t1")
        await rig.quiet()
        assert not reader.done()
        assert (await rig.story("t1"))[-1] == "TaskStageStarted(A)"
        rig.store.let_go()
        await reader
        await rig.settles()


async def test_without_following_the_stream_ends_at_what_is_durable() -> None:
    async with open_rig("A") as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        seen = [event async for event in rig.executor.events(100, follow=False)]
        assert seen == list(await rig.events())
        rig.script.release("t1")
        await rig.settles()


async def test_a_stream_ends_when_the_executor_does() -> None:
    async with open_rig("A", judged=False) as rig:
        rig.script.block("t1")
        await rig.create("t1")
        await rig.entered("t1", "A")
        events = rig.executor.events(100)

        async def follow() -> int:
            return len([event async for event in events])

        reader = asyncio.ensure_future(follow())
        await rig.quiet()
        await rig.stop()
        assert await reader >= 5


async def test_other_plans_events_are_not_mixed_in() -> None:
    async with open_rig("A") as rig:
        readers = [asyncio.ensure_future(_read(rig, plan_id=plan_id)) for plan_id in (100, 101)]
        await rig.create("t1", plan_id=100)
        await rig.create("t2", plan_id=101)
        for plan_id, reader in zip((100, 101), readers, strict=True):
            assert await reader == list(await rig.events(plan_id))


async def test_over_sqlite_it_is_the_same(tmp_path: Path) -> None:
    async with open_rig("A", "B", url=f"sqlite:///{tmp_path}/store.db", manual_clock=False) as rig:
        await rig.create("t1", "t2", "t3", max_concurrency=2)
        assert await _read(rig) == list(await rig.events())


async def test_who_is_up_to_date_costs_no_read_however_many_there_are() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1")
        await rig.entered("t1", "A")
        readers = [asyncio.ensure_future(_read(rig)) for _ in range(20)]
        await rig.quiet()
        before = rig.store.calls["load_events"]
        rig.script.release("t1", "A")
        await rig.settles()
        for reader in readers:
            await reader
        assert rig.store.calls["load_events"] == before


async def test_who_follows_a_plan_is_not_woken_by_another_one() -> None:
    async with open_rig("A", "B") as rig:
        rig.script.block("t1", "A")
        await rig.create("t1", plan_id=100)
        await rig.entered("t1", "A")
        reader = asyncio.ensure_future(_read(rig, plan_id=100))
        await rig.quiet()
        before = rig.store.calls["load_events"]
        await rig.create("t2", plan_id=101)
        await rig.settles(101)
        assert rig.store.calls["load_events"] == before
        rig.script.release("t1", "A")
        assert await reader == list(await rig.events(100))


class Shelf(MemoryExecutionStore):
    """Holds the events that a test puts there."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__()
        self.events = list(events)

    async def load_events(self, plan_id: PlanId, after: int, limit: int) -> Sequence[Event]:
        return [event for event in self.events if event.plan_id == plan_id and event.position > after][:limit]


async def test_what_became_durable_without_being_published_is_told_before_the_stream_ends() -> None:
    """As when this process gives up before it hears that a commit is durable."""
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        everything = list(await rig.events())
    shelf = Shelf(everything[:3])
    publisher = EventPublisher(shelf, ManualClock())

    async def follow() -> list[Event]:
        return [event async for event in publisher.subscribe(PlanId(100))]

    reader = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    shelf.events.append(everything[3])
    publisher.publish(everything[3:4])
    await asyncio.sleep(0)
    shelf.events = everything
    publisher.close()
    assert await reader == everything


async def test_who_drives_again_tells_what_another_process_wrote_meanwhile() -> None:
    async with open_rig("A", "B") as rig:
        await rig.create("t1")
        await rig.settles()
        everything = list(await rig.events())
    shelf = Shelf(everything[:3])
    publisher = EventPublisher(shelf, ManualClock())
    stream = publisher.subscribe(PlanId(100))
    publisher.publish([])
    seen = [await anext(stream) for _ in range(3)]
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    publisher.publish(everything[3:4])
    seen.append(await reader)
    publisher.following = True
    shelf.events = everything
    publisher.following = False
    seen += [await anext(stream) for _ in everything[4:]]
    assert seen == everything
    publisher.close()
    assert [event async for event in stream] == []
