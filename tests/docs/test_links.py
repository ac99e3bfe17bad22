"""Links inside the documentation lead somewhere, and no page is out of reach."""

import re
from pathlib import Path

import pytest

_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FOLDERS = ("docs", "examples", "benchmarks", "changes")


def _pages(repository: Path) -> list[Path]:
    found = [page for folder in _FOLDERS for page in (repository / folder).rglob("*.md")]
    return sorted([*repository.glob("*.md"), *found])


def _links(page: Path) -> list[tuple[Path, str]]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [((page.parent / path).resolve() if path else page, anchor) for path, anchor in _LINK.findall(text)]


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()) for heading in _HEADING.findall(text)]
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_every_link_leads_to_a_file_and_a_heading(repository: Path) -> None:
    wrong: list[str] = []
    for page in _pages(repository):
        for target, anchor in _links(page):
            if not target.exists():
                wrong.append(f"{page.relative_to(repository)}: {target} does not exist")
            elif anchor and anchor not in _anchors(target):
                wrong.append(f"{page.relative_to(repository)}: {target.name} has no heading {anchor}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["howto", "explanation", "reference", "adr"])
def test_every_page_is_in_the_index(repository: Path, folder: str) -> None:
    named = {target for target, _ in _links(repository / "docs" / "index.md")}
    assert not {page.resolve() for page in (repository / "docs" / folder).glob("*.md")} - named
