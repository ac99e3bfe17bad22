"""The passwords of the targets are in the database, so a new one is for its owner alone."""

import os
from pathlib import Path

from switchover import open_executor

CONFIGS = [{"tenantId": "acme", "deployUnitId": 2, "deployUnitVersion": 42}]


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


async def test_nobody_else_may_read_a_new_database_or_what_lies_beside_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        async with open_executor(f"sqlite:///{tmp_path}/s.db", stage_factory=lambda _: []) as executor:
            await executor.facade.create_switch_task(CONFIGS)
            found = modes(tmp_path)
    finally:
        os.umask(before)
    assert {"s.db", "s.db-wal", "s.db-shm"} <= set(found)
    assert {name: mode for name, mode in found.items() if name != "s.db.driver"} == dict.fromkeys(
        set(found) - {"s.db.driver"}, "0o600"
    )


async def test_who_has_been_given_a_database_keeps_it(tmp_path: Path) -> None:
    place = tmp_path / "s.db"
    place.touch(0o640)
    place.chmod(0o640)
    async with open_executor(f"sqlite:///{place}"):
        assert modes(tmp_path)["s.db"] == "0o640"
