"""Forgetting events over HTTP: foreseen, done, told."""

from tests.support.rest_door import Door

API = "/api/v1"


async def test_pruning_is_foreseen_and_done_by_an_admin_and_told(door: Door) -> None:
    await door.rig.create("t1", "t2")
    await door.rig.settles()
    foreseen = (await door.ask("GET", f"{API}/events/prunable?olderThan=0", "viewer")).json()
    assert [plan["planId"] for plan in foreseen["plans"]] in ([100], [])  # it ended at this very instant
    body = {"olderThan": "0s", "reason": "CHG-7"}
    assert (await door.ask("POST", f"{API}/events/prune", "operator", json=body)).status_code == 403
    done = await door.ask("POST", f"{API}/plans/100/prune", "admin", json={"reason": "CHG-7"})
    assert (done.status_code, done.json()["success"]) == (202, True)
    assert (await door.ask("GET", f"{API}/plans/100/events", "viewer")).status_code == 410
    assert (await door.ask("POST", f"{API}/events/prune", "admin", json=body)).json() == {"events": 0, "plans": []}
    pruned = [entry for entry in await door.log() if entry.verb == "prune" and entry.outcome == "accepted"]
    assert [(entry.target, entry.reason, entry.actor.name) for entry in pruned] == [("100", "CHG-7", "admin")]
    for wrong in ("x", "-1", ""):
        answer = await door.ask("GET", f"{API}/events/prunable?olderThan={wrong}", "viewer")
        assert answer.status_code == 400, wrong
    export = (await door.ask("GET", f"{API}/plans/100/export", "viewer")).json()
    assert [event["position"] for event in export["events"]] == [export["plan"]["position"]]
