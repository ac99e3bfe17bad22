"""The events of all plans as one stream: history first, no gap, no duplicate, and told where it was pruned."""

from collections.abc import Sequence

import httpx2
import pytest
from fastapi import FastAPI

from switchover.client import connect
from switchover.domain.task import PlanId
from switchover.errors import EventsPrunedError
from switchover.spi import Entry, PruneEvents
from tests.support.harness import Rig, config_of
from tests.support.listening import Message, breaking_line, listening, read_stream
from tests.support.rest_door import Door

EVENTS = "/api/v1/events"
TENANTS = tuple(f"t{number}" for number in range(1, 6))


async def told(rig: Rig) -> list[tuple[int, dict[str, object]]]:
    page = await rig.store.load_all_events(0, 10_000)
    return [(number, event.to_dict()) for number, event in page.events]


async def prune(rig: Rig, plan_id: int, through: int = 1_000_000) -> None:
    await rig.driver.commits.submit(Entry(changes=[PruneEvents(PlanId(plan_id), through)]))


async def two_plans(rig: Rig) -> None:
    for plan_id in (100, 200):
        await rig.create(*(f"{tenant}-{plan_id}" for tenant in TENANTS), plan_id=plan_id)
        await rig.settles(plan_id)


async def test_every_event_of_every_plan_comes_once_and_in_commit_order(rig: Rig, app: FastAPI) -> None:
    await two_plans(rig)
    rig.script.block("late", "B")
    await rig.create("late", plan_id=300)
    await rig.entered("late", "B")
    history = len(await told(rig))

    def enough(found: Sequence[Message]) -> bool:
        if len(found) == history:
            rig.script.release("late", "B")
        return found[-1:] != [] and found[-1].data["type"] == "PlanCompleted" and found[-1].data["planId"] == 300

    async with listening(app) as server:
        found = await read_stream(server.url + EVENTS, enough)
        behind = await read_stream(f"{server.url}{EVENTS}?since=3", enough, last=history)
    everything = await told(rig)
    assert [(message.number, message.data) for message in found] == everything
    assert [(message.number, message.data) for message in behind] == everything[history:]


async def test_the_client_gets_each_event_once_over_a_line_that_breaks(rig: Rig, app: FastAPI) -> None:
    rig.script.block("t5-200", "B")
    await rig.create(*(f"{tenant}-100" for tenant in TENANTS))
    await rig.settles()
    await rig.create(*(f"{tenant}-200" for tenant in TENANTS), plan_id=200)
    await rig.entered("t5-200", "B")
    history = len(await told(rig))
    found: list[tuple[int, dict[str, object]]] = []
    async with (
        listening(app) as server,
        breaking_line(server.port, 3) as line,
        connect(line.url, patience_seconds=60.0) as client,
    ):
        async for number, event in client.all_events():
            found.append((number, event.to_dict()))
            if len(found) == history:
                rig.script.release_all()
            if event.type == "PlanCompleted" and event.plan_id == 200:
                break
        assert line.breaks
        line.whole = True
        assert [item async for item in client.all_events(follow=False)] == [
            item async for item in rig.executor.all_events(follow=False)
        ]
    assert found == await told(rig)


async def test_pages_lead_from_one_to_the_next(rig: Rig, http: httpx2.AsyncClient) -> None:
    await two_plans(rig)
    since, found = 0, list[tuple[int, str]]()
    while items := (page := (await http.get(f"{EVENTS}?limit=7&since={since}")).json())["items"]:
        found += [(item["number"], item["eventId"]) for item in items]
        since = page["nextSince"]
    assert found == [(number, event["eventId"]) for number, event in await told(rig)]


async def test_what_was_pruned_is_a_410_that_says_where_to_go_on(
    rig: Rig, app: FastAPI, http: httpx2.AsyncClient
) -> None:
    await two_plans(rig)
    await prune(rig, 100)
    kept = await told(rig)
    for accept in ("application/json", "text/event-stream"):
        gone = await http.get(f"{EVENTS}?since=1", headers={"Accept": accept})
        problem = gone.json()
        assert (gone.status_code, problem["code"]) == (410, "EVENTS_PRUNED")
        assert problem["resumeFrom"] == kept[-1][0]
        assert (await http.get(problem["snapshot"]["plans"])).status_code == 200
        rest = (await http.get(f"{EVENTS}?since={problem['keptSince']}")).json()["items"]
        assert [item["number"] for item in rest] == [number for number, _ in kept]
        of_plan = (await http.get("/api/v1/plans/100/events", headers={"Accept": accept})).json()
        assert (of_plan["code"], of_plan["snapshot"]["planId"]) == ("EVENTS_PRUNED", 100)
        assert of_plan["keptSince"] == of_plan["resumeFrom"] - 1
        of_task = (await http.get("/api/v1/tasks/100-1/events", headers={"Accept": accept})).json()
        assert (of_task["code"], of_task["snapshot"]["taskId"]) == ("EVENTS_PRUNED", "100-1")
    assert (await http.get("/api/v1/plans/200/events")).status_code == 200


async def test_the_client_and_the_library_say_that_events_are_gone(rig: Rig, app: FastAPI) -> None:
    await two_plans(rig)
    await prune(rig, 100)
    numbers = [number for number, _ in await told(rig)]
    async with listening(app) as server, connect(server.url) as client:
        for place in (client, rig.executor):
            for follow in (False, True):
                with pytest.raises(EventsPrunedError) as gone:
                    async for _ in place.all_events(1, follow=follow):
                        pass
                assert gone.value.kept_since == numbers[0] - 1
                with pytest.raises(EventsPrunedError) as gone:
                    async for _ in place.events(100, follow=follow):
                        pass
                assert gone.value.kept_since == gone.value.newest - 1
            rest = [number async for number, _ in place.all_events(numbers[0] - 1, follow=False)]
            assert rest == numbers


async def test_whoever_is_limited_gets_the_events_of_their_tenants_and_of_plans_with_one(door: Door) -> None:
    rig = door.rig
    await door.token("limited", "viewer", tenants=("acme-*",))
    for plan_id, tenants in ((100, ("acme-1", "bolt-1")), (200, ("bolt-2",))):
        await rig.facade.create_switch_task([config_of(name) for name in tenants], options={"planId": plan_id})
        await rig.settles(plan_id)
    page = (await door.ask("GET", f"{EVENTS}?limit=1000", "limited")).json()
    assert {item["planId"] for item in page["items"]} == {100}
    assert {item["tenantId"] for item in page["items"]} == {None, "acme-1"}
    assert page["nextSince"] == (await told(rig))[-1][0]
