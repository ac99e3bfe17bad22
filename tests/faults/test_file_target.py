"""What a disk, and other programs on it, can do wrong: each row of the table is one test."""
# ruff: noqa: ASYNC221, ASYNC240  # nothing else runs in the loop of a test meanwhile

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchover.adapters.targets.file import storage
from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.task import TaskStatus
from switchover.stages.steps import ConfigUpdateStep
from tests.support.fault_rig import assert_failure, open_switch
from tests.support.fault_table import FILE, Row
from tests.support.small_disk import fill, small_disk

WRITTEN = '{"version":"42"}'


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    return tmp_path / "map.json"


def step(url: str) -> ConfigUpdateStep:
    return ConfigUpdateStep(target=url, key="{tenantId}", field="gateway", value={"version": "{deployUnitVersion}"})


def rows(*keys: str) -> pytest.MarkDecorator:
    chosen = [row for row in FILE if row.key in keys]
    assert len(chosen) == len(keys)
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row.key)


CONTENTS: dict[str, bytes] = {
    "malformed": b"{",
    "empty": b"",
    "list": b"[]",
    "not UTF-8": b'{"other": "\xff"}',
    "nested": b'{"acme": ' + b"[" * 100_000,
    "text": b'{"acme": "text"}',
}


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


PLACES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.parent.rmdir(),
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "dangling": lambda path: path.symlink_to(path.parent / "nowhere" / "map.json"),
    "loop": _link_to_itself,
    "generations": lambda path: path.with_name("map.json.generation").write_bytes(b"{"),
    "newer": lambda path: path.with_name("map.json.generation").write_bytes(b'{"acme": {"gateway": 9}}'),
}
OTHERS = ("full", "read-only", "no directory", "link", "link of a key", "foreign", "locked")


def test_every_row_is_tested() -> None:
    assert sorted([*CONTENTS, *PLACES, *OTHERS]) == sorted(row.key for row in FILE)


@rows(*CONTENTS)
async def test_a_file_that_cannot_be_changed_stays_as_it_is_and_fails_the_step(map_file: Path, row: Row) -> None:
    map_file.write_bytes(CONTENTS[row.key])
    url = f"file://{map_file}"
    async with open_switch([step(url)]) as switch:
        assert_failure(await switch.failure(), row, url)
        assert map_file.read_bytes() == CONTENTS[row.key]
        map_file.write_text('{"other": 1}')
        assert (await switch.retry()).status is TaskStatus.COMPLETED
        assert map_file.read_text() == '{"other": 1,"acme": {"gateway": ' + WRITTEN + "}}"


@rows(*PLACES)
async def test_something_else_in_the_place_of_the_file_fails_the_step(tmp_path: Path, row: Row) -> None:
    directory = tmp_path / "configs"
    directory.mkdir()
    path = directory / "map.json"
    PLACES[row.key](path)
    url = f"file://{path}"
    async with open_switch([step(url)]) as switch:
        assert_failure(await switch.failure(), row, url)
        _clear(directory)
        assert (await switch.retry()).status is TaskStatus.COMPLETED
        assert WRITTEN in path.read_text()


def _clear(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for item in directory.iterdir():
        if item.is_dir() and not item.is_symlink():
            item.rmdir()
        else:
            item.unlink()


@rows("no directory")
async def test_a_file_in_the_place_of_the_directory_fails_the_step(tmp_path: Path, row: Row) -> None:
    (tmp_path / "configs").write_text("")
    url = f"file://{tmp_path}/configs/"
    async with open_switch([step(url)]) as switch:
        assert_failure(await switch.failure(), row, url)
        (tmp_path / "configs").unlink()
        assert (await switch.retry()).status is TaskStatus.COMPLETED


@rows("link")
async def test_a_link_stays_a_link(tmp_path: Path, map_file: Path, row: Row) -> None:
    real = tmp_path / "real.json"
    real.write_text("{}")
    map_file.symlink_to(real)
    async with open_switch([step(f"file://{map_file}")]) as switch:
        assert (await switch.run()).status is TaskStatus.COMPLETED
    assert map_file.is_symlink()
    assert WRITTEN in real.read_text()


@rows("link of a key")
async def test_the_file_of_a_key_leads_nowhere_else(tmp_path: Path, row: Row) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "acme.json").symlink_to(outside)
    url = f"file://{tmp_path}/configs/"
    async with open_switch([step(url)]) as switch:
        assert_failure(await switch.failure(), row, url)
    assert outside.read_text() == "secret"


@rows("foreign")
async def test_what_another_program_writes_in_between_stays(map_file: Path, row: Row) -> None:
    """Between the reading of the pre-image and the writing of the value; a second step writes after it."""
    map_file.write_text('{"other": 1}\n')

    class Foreign:
        name = "foreign"

        async def execute(self, context: TaskRuntimeContext) -> None:
            map_file.write_text('{"other": 2, "another": 3}\n')

    url = f"file://{map_file}"
    async with open_switch([step(url), Foreign(), step(url)]) as switch:
        assert (await switch.run()).status is TaskStatus.COMPLETED
    assert map_file.read_text() == '{"other": 2, "another": 3, "acme": {"gateway": ' + WRITTEN + "}}\n"


@rows("locked")
async def test_a_lock_that_another_process_keeps_fails_the_step(
    map_file: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.05)
    lock = map_file.with_name(".map.json.lock").open("w")
    url = f"file://{map_file}"
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with open_switch([step(url)]) as switch:
            assert_failure(await switch.failure(), row, url)
            assert not map_file.exists()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert (await switch.retry()).status is TaskStatus.COMPLETED


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", size="64k") as mounted:
        yield mounted


@rows("full")
async def test_a_full_disk_fails_the_step_and_leaves_nothing_half_done(disk: Path, row: Row) -> None:
    path = disk / "map.json"
    path.write_text('{"other": 1}')
    filler = fill(disk)
    before = sorted(item.name for item in disk.iterdir())
    url = f"file://{path}"
    async with open_switch([step(url)]) as switch:
        assert_failure(await switch.failure(), row, url)
        assert path.read_text() == '{"other": 1}'
        left = {item.name for item in disk.iterdir()} - set(before)
        assert left <= {".map.json.lock"}, "no half file takes up room"
        filler.unlink()
        assert (await switch.retry()).status is TaskStatus.COMPLETED
        assert WRITTEN in path.read_text()


@rows("read-only")
async def test_a_disk_that_became_read_only_fails_the_step(disk: Path, row: Row) -> None:
    url = f"file://{disk}/map.json"
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    async with open_switch([step(url)]) as switch:
        assert_failure(await switch.failure(), row, url)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert (await switch.retry()).status is TaskStatus.COMPLETED
