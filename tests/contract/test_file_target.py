"""The contract of configuration targets, on files."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from switchover.adapters.targets.file import FileTargets
from switchover.spi import ConfigTarget
from switchover.testing.target_contracts import ConfigTargetContract


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ConfigTarget]:
    family = FileTargets()
    try:
        yield family.config_target(url)
    finally:
        await family.aclose()


class FileContract(ConfigTargetContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "map.json"
        self.directory = tmp_path / "keys"

    def url(self) -> str:
        return f"file://{self.path}"

    @pytest.fixture
    async def target(self) -> AsyncIterator[ConfigTarget]:
        async with opened(self.url()) as target:
            yield target

    @pytest.fixture
    async def other(self) -> AsyncIterator[ConfigTarget]:
        async with opened(self.url()) as target:
            yield target

    async def peek(self, key: str, field: str | None) -> bytes | None:
        return member(self.path, [key] if field is None else [key, field])


def member(path: Path, names: list[str]) -> bytes | None:
    """The raw text of a member, found by a reader that has nothing in common with the adapter's."""
    if not path.exists():
        return None
    text = path.read_text("utf-8")
    found = json.loads(text)
    for name in names:
        if name not in found:
            return None
        found = found[name]
    decoder = json.JSONDecoder()
    position = 0
    for name in names:
        spelling = re.compile(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:\s*")
        match = spelling.search(text, position)
        assert match is not None
        position = match.end()
    value, end = decoder.raw_decode(text, position)
    assert value == found
    return text[position:end].encode()


class TestMapFileWithFields(FileContract):
    pass


class TestMapFileWithoutFields(FileContract):
    field = None


class TestKeyDirectory(FileContract):
    field = None

    def url(self) -> str:
        return f"file://{self.directory}/"

    async def peek(self, key: str, field: str | None) -> bytes | None:
        path = self.directory / f"{key}.json"
        return path.read_bytes() if path.exists() else None


class TestKeyDirectoryWithFields(FileContract):
    def url(self) -> str:
        return f"file://{self.directory}/"

    async def peek(self, key: str, field: str | None) -> bytes | None:
        assert field is not None
        return member(self.directory / f"{key}.json", [field])
