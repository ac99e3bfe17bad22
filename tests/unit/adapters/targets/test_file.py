# ruff: noqa: ASYNC240  # a test looks behind the target's back, and nothing else runs on its loop
import asyncio
import fcntl
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.adapters.targets.file import FileTarget, FileTargets, storage
from switchover.adapters.targets.file.document import ObjectText, value_text
from switchover.adapters.targets.file.storage import MapFile
from switchover.errors import ErrorCode, ErrorType, StageError, StaleGenerationError, TargetError
from switchover.spi import HeldValue

ODD = '\ufeff \n{"a" :\t{ "gateway":[ 1 ,2], "x" : 1.0 } ,\r\n\n  "b":null,"ü\\u00e9": "\\/" }\n\n'


@pytest.fixture
async def family() -> AsyncIterator[FileTargets]:
    family = FileTargets()
    yield family
    await family.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map.json"


@pytest.fixture
def target(family: FileTargets, path: Path) -> FileTarget:
    return family.config_target(f"file://{path}")


# --- the text of an object -----------------------------------------------------------------------------------------

SPACE = st.text(" \t\n\r", max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def objects(draw: st.DrawFn) -> str:
    """A JSON object with spaces wherever they are allowed."""
    members = draw(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
    texts: list[str] = []
    for key, value in members.items():
        pieces = [
            json.dumps(key, ensure_ascii=draw(st.booleans())),
            ":",
            json.dumps(value, indent=draw(st.none() | st.just(1))),
        ]
        texts.append("".join(draw(SPACE) + piece for piece in pieces) + draw(SPACE))
    inner = ",".join(texts) if texts else draw(SPACE)
    return draw(SPACE) + "{" + inner + "}" + draw(SPACE)


@given(objects())
def test_text_that_is_not_changed_stays(text: str) -> None:
    assert str(ObjectText(text)) == text


@given(objects(), st.text(max_size=4), VALUES)
def test_a_change_is_one_that_every_reader_sees(text: str, key: str, value: object) -> None:
    document = ObjectText(text)
    document.set(key, json.dumps(value))
    assert json.loads(str(document)) == json.loads(text) | {key: value}
    document.remove(key)
    assert json.loads(str(document)) == {name: one for name, one in json.loads(text).items() if name != key}


@given(objects(), st.lists(st.tuples(st.text(max_size=4), VALUES), max_size=6), st.randoms(use_true_random=False))
def test_undoing_in_any_order_restores_every_byte(
    text: str, changes: list[tuple[str, object]], chance: random.Random
) -> None:
    """Lesson 25, for members that were there and members that were not, reread in between as another process would."""
    before = ObjectText(text)
    keys = list(dict.fromkeys(key for key, _ in changes))
    images = {key: before.get(key) for key in keys}
    now = text
    for key, value in changes:
        document = ObjectText(now)
        document.set(key, json.dumps(value))
        now = str(document)
    chance.shuffle(keys)
    for key in keys:
        document = ObjectText(now)
        image = images[key]
        if image is None:
            document.remove(key)
        else:
            document.set(key, image)
        now = str(document)
    assert now == text


def test_of_a_name_that_is_there_twice_the_last_counts() -> None:
    document = ObjectText('{"a":1, "b":2, "a":3}')
    assert document.get("a") == "3"
    document.set("a", "4")
    assert str(document) == '{"a":1, "b":2, "a":4}'
    document.remove("a")
    assert str(document) == '{ "b":2}'


@pytest.mark.parametrize(
    "text",
    ["", " ", "[]", "1", "{", "}", '{"a"}', '{"a":}', '{"a":1,}', '{"a":1 "b":2}', "{a:1}", '{"a":1}x', "{} {}", "{,}"],
)
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ObjectText(text)


def test_bottomless_text_is_refused() -> None:
    with pytest.raises(ValueError, match="deep"):
        ObjectText('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")


@pytest.mark.parametrize("value", [b"", b"{", b"1 2", b'"a', b"\xff", b'{"a":1}, "b": {}', b"[" * 100_000])
def test_values_that_would_break_the_object_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON"):
        value_text(value)


# --- map files -----------------------------------------------------------------------------------------------------


async def test_the_file_is_what_the_interfaces_say(target: FileTarget, path: Path) -> None:
    await target.write("acme", "gateway", b'{"unit":"green"}', 5)
    await target.write("acme", "media", b"1", 6)
    await target.write("plain", None, b"2", 7)
    assert json.loads(path.read_bytes()) == {"acme": {"gateway": {"unit": "green"}, "media": 1}, "plain": 2}
    generations = json.loads((path.parent / "map.json.generation").read_bytes())
    assert generations["acme"]["gateway"] == 5
    assert generations["acme"]["media"] == 6
    assert generations["plain"] == 7


async def test_a_switch_and_its_rollback_leave_the_file_as_it_was(target: FileTarget, path: Path) -> None:
    """Lesson 25: odd spacing, escapes and all; only the generations beside it are higher."""
    path.write_text(ODD, "utf-8", newline="")
    before = path.read_bytes()
    places = [("a", "gateway"), ("a", "media"), ("b", None), ("new", "gateway"), ("new", "media"), ("other", None)]
    images = [(place, await target.read(*place)) for place in places]
    assert dict(images)["a", "gateway"].value == b"[ 1 ,2]"
    for place in places:
        await target.write(*place, b'{"unit": "green"}', 5)
    assert path.read_bytes() != before
    for (key, field), image in reversed(images):
        if image.value is None:
            await target.remove(key, field, 6)
        else:
            await target.write(key, field, image.value, 6)
    assert path.read_bytes() == before
    assert {(await target.read(*place)).generation for place in places} == {6}


async def test_a_file_that_the_switch_created_is_gone_again(target: FileTarget, path: Path) -> None:
    await target.write("acme", "gateway", b"1", 5)
    await target.write("beta", None, b"1", 5)
    await target.remove("acme", "gateway", 6)
    assert path.exists()
    await target.remove("beta", None, 6)
    assert not path.exists()
    assert (await target.read("acme", "gateway")).generation == 6


@pytest.mark.parametrize("before", [b"{}", b"{ }\n", b'{"acme":{}}', b'{"acme": { } }', b"\xef\xbb\xbf{\n}"])
async def test_empty_objects_that_were_there_stay(target: FileTarget, path: Path, before: bytes) -> None:
    path.write_bytes(before)
    await target.write("acme", "gateway", b"1", 5)
    await target.remove("acme", "gateway", 6)
    assert path.read_bytes() == before


async def test_reading_creates_nothing(target: FileTarget, path: Path) -> None:
    assert await target.read("acme", "gateway") == HeldValue(value=None, generation=0)
    assert not path.exists()
    assert not (path.parent / "map.json.generation").exists()


async def test_a_refused_write_changes_nothing(target: FileTarget, path: Path) -> None:
    await target.write("acme", "gateway", b"1", 5)
    before = path.read_bytes(), path.stat().st_ino
    with pytest.raises(StaleGenerationError, match="holds generation 5"):
        await target.write("acme", "gateway", b"2", 4)
    assert (path.read_bytes(), path.stat().st_ino) == before


async def test_what_somebody_else_wrote_meanwhile_survives(target: FileTarget, path: Path) -> None:
    """The file is read again each time, whatever is remembered; even an edit in place of the same length counts."""
    await target.write("acme", None, b"1", 1)
    text = path.read_text()
    with path.open("r+") as file:
        file.write(text.replace("acme", "beta"))
    await target.write("gamma", None, b"3", 1)
    assert json.loads(path.read_bytes()) == {"beta": 1, "gamma": 3}


async def test_fields_need_an_object(target: FileTarget, path: Path) -> None:
    path.write_text('{"acme": 5}')
    for work in (target.read("acme", "gateway"), target.write("acme", "gateway", b"1", 1)):
        with pytest.raises(TargetError, match=r"key 'acme', field 'gateway'.*no JSON object"):
            await work
    assert path.read_text() == '{"acme": 5}'


async def test_a_wrong_value_fails_alone(target: FileTarget, path: Path) -> None:
    """Its neighbours in the batch are written."""
    outcomes = await asyncio.gather(
        target.write("a", None, b"1", 1),
        target.write("b", None, b"{broken", 1),
        target.write("", None, b"1", 1),
        target.write("c", None, b"3", 1),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "TargetError", "TargetError", "NoneType"]
    assert json.loads(path.read_bytes()) == {"a": 1, "c": 3}


@pytest.mark.parametrize("content", [b"", b"[]", b"not json", b'{"a":1', b"\xff\xfe{}"])
async def test_a_file_that_cannot_be_understood_is_never_replaced(
    target: FileTarget, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(TargetError, match="cannot be changed"):
        await target.write("acme", None, b"1", 1)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"acme":"x"}', b'{"acme":{"f":true}}'])
async def test_without_readable_generations_nothing_is_written(target: FileTarget, path: Path, content: bytes) -> None:
    beside = path.parent / "map.json.generation"
    beside.write_bytes(content)
    with pytest.raises(TargetError, match="generations beside it cannot be read"):
        await target.write("acme", None, b"1", 1)
    assert not path.exists()
    assert beside.read_bytes() == content


async def test_a_missing_directory_is_an_error_not_a_new_place(family: FileTargets, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/gone/map.json", f"file://{tmp_path}/gone/dir/"):
        with pytest.raises(TargetError, match="No such file or directory") as failed:
            await family.config_target(url).write("acme", None, b"1", 1)
        assert failed.value.error_type is ErrorType.SYSTEM_ERROR
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_is_no_map_file(family: FileTargets, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with pytest.raises(TargetError, match="end the URL with /"):
        await family.config_target(f"file://{tmp_path}/dir").write("acme", None, b"1", 1)


async def test_who_may_read_the_file_does_not_change(target: FileTarget, path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o640)
    await target.write("acme", None, b"1", 1)
    assert path.stat().st_mode & 0o777 == 0o640


async def test_a_link_stays_a_link(family: FileTargets, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "map.json"
    real.write_text("{}")
    link = tmp_path / "link.json"
    link.symlink_to(real)
    await family.config_target(f"file://{link}").write("acme", None, b"1", 1)
    assert link.is_symlink()
    assert json.loads(real.read_bytes()) == {"acme": 1}


async def test_nothing_is_left_beside_but_generations_and_locks(target: FileTarget, path: Path) -> None:
    (path.parent / ".map.json.tmp").write_text("left by a crash")
    await target.write("acme", None, b"1", 1)
    assert {file.name for file in path.parent.iterdir()} == {"map.json", "map.json.generation", ".map.json.lock"}


async def test_the_generation_is_durable_before_the_value(
    target: FileTarget, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between must leave a fence that holds, not a value that an old run can overwrite."""
    await target.write("acme", None, b"1", 1)
    replace = storage.replace_files
    calls: list[list[str]] = []

    def crash(directory: Path, contents: dict[Path, bytes | None]) -> None:
        calls.append([file.name for file in contents])
        if path in contents:
            raise OSError(5, "Input/output error")
        replace(directory, contents)

    monkeypatch.setattr(storage, "replace_files", crash)
    with pytest.raises(TargetError, match="Input/output error"):
        await target.write("acme", None, b"2", 2)
    assert calls == [["map.json.generation"], ["map.json"]]
    monkeypatch.undo()
    assert await target.read("acme", None) == HeldValue(value=b"1", generation=2)
    with pytest.raises(StaleGenerationError):
        await target.write("acme", None, b"late", 1)
    await target.write("acme", None, b"3", 3)
    assert await target.read("acme", None) == HeldValue(value=b"3", generation=3)


async def test_after_a_failed_write_nothing_wrong_is_remembered(
    target: FileTarget, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await target.write("acme", None, b"1", 1)

    def full(path: Path, content: bytes) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_write_beside", full)
    with pytest.raises(TargetError) as failed:
        await target.write("acme", None, b"2", 2)
    assert failed.value.code is ErrorCode.TARGET_UNAVAILABLE
    monkeypatch.undo()
    assert await target.read("acme", None) == HeldValue(value=b"1", generation=1)
    await target.write("beta", None, b"2", 1)
    assert json.loads(path.read_bytes()) == {"acme": 1, "beta": 2}


# --- queues and locks ----------------------------------------------------------------------------------------------


async def test_what_queues_up_is_written_together(target: FileTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty writers at once cost a few writes, not fifty; what is asked is how often the disk is, not how long."""
    sizes: list[int] = []
    run = MapFile.run

    def counted(self: MapFile, operations: list[storage.Operation]) -> object:
        sizes.append(len(operations))
        return run(self, operations)

    monkeypatch.setattr(MapFile, "run", counted)
    await target.write("first", None, b"0", 1)
    await asyncio.gather(*(target.write(f"tenant:{number}", None, b"1", 1) for number in range(50)))
    assert sum(sizes) == 51
    assert len(sizes) <= 4


async def test_a_map_of_thousands_of_tenants_is_switched_by_many_at_once(target: FileTarget, path: Path) -> None:
    path.write_text(
        json.dumps({f"tenant:{number}": {"gateway": {"unit": "blue"}} for number in range(5_000)}, indent=1)
    )
    before = path.read_bytes()

    async def switch(number: int) -> None:
        key = f"tenant:{number}"
        held = await target.read(key, "gateway")
        assert held.value is not None
        await target.write(key, "gateway", b'{"unit":"green"}', 1)
        await target.write(key, "gateway", held.value, 2)

    await asyncio.gather(*(switch(number) for number in range(0, 5_000, 100)))
    assert path.read_bytes() == before


async def test_two_urls_of_one_file_share_its_queue(family: FileTargets, target: FileTarget, path: Path) -> None:
    assert family.config_target(f"file://localhost{path.parent}/x/../map.json") is target


async def test_a_caller_that_gives_up_harms_nobody(target: FileTarget, path: Path) -> None:
    works = [asyncio.ensure_future(target.write(f"t{number}", None, b"1", 1)) for number in range(10)]
    await asyncio.sleep(0)
    works[3].cancel()
    done = await asyncio.gather(*works, return_exceptions=True)
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in done) == 1
    assert len(json.loads(path.read_bytes())) in {9, 10}
    await target.write("last", None, b"1", 1)


async def test_closing_waits_for_what_is_queued(path: Path) -> None:
    family = FileTargets()
    work = asyncio.ensure_future(family.config_target(f"file://{path}").write("acme", None, b"1", 1))
    await asyncio.sleep(0)
    await family.aclose()
    await work
    assert json.loads(path.read_bytes()) == {"acme": 1}


async def test_a_process_that_holds_the_lock_keeps_others_out(
    target: FileTarget, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.05)
    with (path.parent / ".map.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TargetError, match="another process has held its lock") as failed:
            await target.write("acme", None, b"1", 1)
        assert failed.value.error_type is ErrorType.TIMEOUT_ERROR
    await target.write("acme", None, b"1", 1)


async def test_a_lock_file_that_somebody_deleted_is_made_anew(target: FileTarget, path: Path) -> None:
    await target.write("acme", None, b"1", 1)
    (path.parent / ".map.json.lock").unlink()
    await target.write("acme", None, b"2", 1)


WRITER = """
import asyncio, sys
from switchover.adapters.targets.file import FileTargets

async def main(url, name):
    family = FileTargets()
    target = family.config_target(url)
    for number in range(20):
        await target.write(f"{name}:{number}", "gateway", b"1", 1)
        try:
            await target.write("shared", "gateway", str(number).encode(), number * 2 + (name == "a"))
        except Exception as error:
            assert "holds generation" in str(error), error
    await family.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_lose_nothing_of_each_other(target: FileTarget, path: Path) -> None:
    url = f"file://{path}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    programs = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, url, name, env=environment)
        for name in ("a", "b")
    ]
    assert [await program.wait() for program in programs] == [0, 0]
    assert len(json.loads(path.read_bytes())) == 41
    assert await target.read("shared", "gateway") == HeldValue(value=b"19", generation=39)


# --- directories ---------------------------------------------------------------------------------------------------


async def test_a_directory_holds_one_file_per_key(family: FileTargets, tmp_path: Path) -> None:
    target = family.config_target(f"file://{tmp_path}/keys/")
    await target.write("acme", None, b'{"a": 1}\n', 3)
    await target.write("beta.json", None, b"2", 4)
    await target.write("gamma", "gateway", b"3", 5)
    files = {file.name: file.read_bytes() for file in (tmp_path / "keys").iterdir() if not file.name.startswith(".")}
    assert files == {
        "acme.json": b'{"a": 1}\n',
        "acme.json.generation": b"3\n",
        "beta.json": b"2",
        "beta.json.generation": b"4\n",
        "gamma.json": b'{"gateway": 3}',
        "gamma.json.generation": b'{"":0,"gateway":5}\n',
    }
    await target.remove("acme", None, 5)
    await target.remove("gamma", "gateway", 6)
    assert not (tmp_path / "keys" / "acme.json").exists()
    assert not (tmp_path / "keys" / "gamma.json").exists()


async def test_a_file_that_is_no_json_is_kept_byte_for_byte(family: FileTargets, tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_bytes(b"\xff not json \n")
    target = family.config_target(f"file://{tmp_path}/")
    held = await target.read("acme", None)
    assert held.value == b"\xff not json \n"
    await target.write("acme", None, b"{}", 1)
    await target.write("acme", None, held.value, 2)
    assert (tmp_path / "acme.json").read_bytes() == b"\xff not json \n"


@pytest.mark.parametrize("key", ["..", ".", "", "a/b", "/etc/passwd", "../x", "a\0b", "a\nb", "x" * 300, "a\\b"])
async def test_keys_cannot_leave_the_directory(family: FileTargets, tmp_path: Path, key: str) -> None:
    target = family.config_target(f"file://{tmp_path}/keys/")
    for work in (target.read(key, None), target.write(key, None, b"1", 1), target.remove(key, None, 1)):
        with pytest.raises(TargetError, match="key"):
            await work
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [".switchover.lock"]


async def test_links_inside_the_directory_lead_nowhere(family: FileTargets, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "acme.json").symlink_to(secret)
    target = family.config_target(f"file://{tmp_path}/keys/")
    outcomes = await asyncio.gather(
        target.read("acme", None),
        target.write("acme", None, b"1", 1),
        target.write("ok", None, b"1", 1),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["TargetError", "TargetError", "NoneType"]
    assert secret.read_text() == "secret"


# --- URLs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["file://", "file:///", "file://host/x", "file://relative", "file:///a%00b"])
def test_urls_that_name_no_file_are_refused(url: str) -> None:
    with pytest.raises(StageError, match="names no file"):
        FileTargets().config_target(url)


async def test_percent_escapes_in_a_url_are_read(family: FileTargets, tmp_path: Path) -> None:
    await family.config_target(f"file://{tmp_path}/a%20b.json").write("acme", None, b"1", 1)
    assert (tmp_path / "a b.json").exists()


def test_files_tell_nobody(family: FileTargets) -> None:
    with pytest.raises(StageError, match="broadcast to redis"):
        family.broadcast_target("file:///x")
