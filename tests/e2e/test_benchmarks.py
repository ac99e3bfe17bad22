"""The benchmarks run and say what they are for. How fast anything is depends on the machine, so no test asks that."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import plot, report

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quick_form_runs_every_workload_and_prints_every_ratio() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = {row.what: line for row in report.ROWS for line in ran.stdout.splitlines() if line.startswith(row.what)}
    assert set(lines) == {row.what for row in report.ROWS}
    missing = [what for what, line in lines.items() if "not measured" in line]
    # The environments of the peers are only made by the long form.
    assert [what for what in missing if "DBOS" not in what and "Procrastinate" not in what] == []


def test_the_quick_form_stores_nothing() -> None:
    before = sorted(report.RESULTS.iterdir())
    quick = [sys.executable, "-m", "benchmarks.run", "--quick", "--only", "version"]
    subprocess.run(quick, cwd=ROOT, capture_output=True, check=True)
    assert sorted(report.RESULTS.iterdir()) == before


def test_the_readme_shows_the_newest_stored_result() -> None:
    result = report.newest()
    assert result is not None
    readme = report.README.read_text(encoding="utf-8")
    assert report.written(readme, result) == readme


def test_the_picture_shows_the_newest_stored_result() -> None:
    result = report.newest()
    assert result is not None
    picture = plot.draw(report.rounds_of(result, "sizes"))
    assert report.PICTURE.read_text(encoding="utf-8") == picture


def test_the_picture_has_a_line_for_everything_that_was_measured() -> None:
    figures = {"run_seconds": 2.0, "peak_bytes": 90_000_000, "gap_seconds": 0.002, "slow_gap_seconds": 0.02}
    rounds = [{f"{who} {size}": figures for who in ("switchover", "floor") for size in plot.SIZES}]
    picture = plot.draw(rounds)
    lines = sum(len(panel.lines) for panel in plot.PANELS)
    assert picture.count("<polyline") == lines
    assert picture.count("<circle") == lines * len(plot.SIZES)
    assert "prefers-color-scheme: dark" in picture


def test_every_result_names_its_machine_and_the_commit_of_each_part() -> None:
    result = report.newest()
    assert result is not None
    assert result["machine"]["cores"] > 0
    assert all(part["commit"] and part["rounds"] for part in result["sections"].values())
