"""Every example runs as its README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.support.command_line import environment

pytestmark = pytest.mark.slow


def run(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def test_steps_of_ones_own(tmp_path: Path, repository: Path) -> None:
    done = run(repository / "examples" / "own_steps" / "switch_calls.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "plan 1 is PARTIAL_FAILED" in done.stdout
    assert "tenant cedar, stage traffic, step healthCheck" in done.stdout
    assert "cedar is ROLLED_BACK: {'blue': 70, 'old': 30}" in done.stdout


@pytest.mark.redis
def test_redis_and_http(tmp_path: Path, repository: Path, redis_server: str) -> None:
    url = f"{redis_server}/12"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    tour = repository / "examples" / "redis-http" / "tour.py"
    done = run(tour, "--redis", url, "--tenants", "70", "--broken", "3", cwd=tmp_path)
    said = f"{done.stdout[-4_000:]}\n{done.stderr[-2_000:]}"
    assert done.returncode == 0, said
    assert "70 tenants, 3 of them broken" in done.stdout or "exit code 20" in done.stdout, said
    assert re.findall(r"^exit code (\d+)", done.stdout, re.MULTILINE) == ["20", "0", "21", "0"], said
    assert "keys are byte for byte what they were" in done.stdout, said


@pytest.mark.redis
def test_the_fleet_is_seeded_into_an_empty_database_only(tmp_path: Path, repository: Path, redis_server: str) -> None:
    url = f"{redis_server}/13"
    with Redis.from_url(url) as redis:
        redis.set("somebody", "else's")
    done = run(repository / "examples" / "redis-http" / "serve.py", "--redis", url, cwd=tmp_path)
    assert done.returncode != 0
    assert "not empty" in done.stderr
    with Redis.from_url(url) as redis:
        assert redis.keys() == [b"somebody"]
        redis.flushdb()


@pytest.mark.parametrize("tenants", [1_000])
def test_the_number_of_keys_in_the_readme_is_right(repository: Path, tenants: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from fleet import state_before; print(len(state_before({tenants})))"],
        cwd=repository / "examples" / "redis-http",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    readme = (repository / "examples" / "redis-http" / "README.md").read_text(encoding="utf-8")
    assert f"{done.stdout.strip()} keys are byte for byte" in readme
