"""The benchmarks run and say what they are for. How fast anything is depends on the machine, so no test asks that."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report

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
    assert [what for what in missing if "DBOS" not in what] == []  # its environment is only made by the long form


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


def test_every_result_names_its_machine_and_the_commit_of_each_part() -> None:
    result = report.newest()
    assert result is not None
    assert result["machine"]["cores"] > 0
    assert all(part["commit"] and part["rounds"] for part in result["sections"].values())
