"""The page of guarantees: every promise has a proof, and every proof that is named is there."""

import re
from pathlib import Path

import pytest

from benchmarks.report import ROWS

_PROOF = re.compile(r"^- `([\w/]+\.py)::([^`]+)`", re.MULTILINE)
_WITHOUT = {"What is not promised", "What the proofs found"}


def _sections(repository: Path) -> dict[str, str]:
    text = (repository / "docs/explanation/guarantees.md").read_text(encoding="utf-8")
    parts = [part.partition("\n") for part in text.split("\n## ")[1:]]
    return {title: body for title, _, body in parts}


def _promises(repository: Path) -> dict[str, list[tuple[str, str]]]:
    return {title: _PROOF.findall(body) for title, body in _sections(repository).items() if title not in _WITHOUT}


def test_every_promise_has_its_wording_and_names_a_proof(repository: Path) -> None:
    assert _sections(repository).keys() >= _WITHOUT
    assert len(_promises(repository)) >= 10
    for title, proofs in _promises(repository).items():
        assert proofs, title
        assert "\n> " in _sections(repository)[title], title


def test_no_proof_is_overlooked(repository: Path) -> None:
    """What is written like a proof is one that the other tests look at."""
    text = (repository / "docs/explanation/guarantees.md").read_text(encoding="utf-8")
    assert text.count("::") == sum(map(len, _promises(repository).values()))


def test_every_proof_that_is_named_is_there(repository: Path) -> None:
    measured = {row.what for row in ROWS}
    missing: list[str] = []
    for proofs in _promises(repository).values():
        for path, name in proofs:
            file = repository / path
            if path == "benchmarks/report.py":
                there = name in measured
            else:
                there = file.exists() and re.search(rf"def {name}\(", file.read_text(encoding="utf-8")) is not None
            if not there:
                missing.append(f"{path}::{name}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_readers_are_led_to_the_page(repository: Path, page: str) -> None:
    assert "explanation/guarantees.md)" in (repository / page).read_text(encoding="utf-8")
