"""The unit for systemd and the recipe for a container: judged by the programs that read them, and by what they name."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import typer

from switchover.config import ExecutorSettings
from switchover.interfaces.cli.app import app
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.rest import serving
from tests.support.servers import find_program

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "systemd" / "switchover.service"
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
WORST_EXPOSURE = "15"
"""Of systemd-analyze security, times ten: below 2.0 is "OK", and it gave 1.3."""


def _unit() -> dict[str, list[str]]:
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition("=")
        found.setdefault(name, []).append(value)
    return found


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def _one(name: str) -> str:
    return [value for word, value in _instructions() if word == name][-1]


def _options_of_serve() -> set[str]:
    group = typer.main.get_command(app)
    serve = getattr(group, "commands")["serve"]  # noqa: B009  # typer's type of it does not say that it is a group
    return {option for parameter in serve.params for option in parameter.opts}


def _assert_serves(words: list[str]) -> None:
    assert words[0] == "serve"
    assert {word for word in words if word.startswith("--")} <= _options_of_serve()


def _assert_settings(pairs: list[str]) -> None:
    for pair in pairs:
        name = pair.partition("=")[0]
        if name.startswith("SWITCHOVER_"):
            assert name.removeprefix("SWITCHOVER_").lower() in ExecutorSettings.model_fields


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = find_program("systemd-analyze")
    text = UNIT.read_text().replace("/opt/switchover/bin/switchover", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_systemd_finds_little_that_the_service_may_do() -> None:
    done = subprocess.run(
        [
            *(find_program("systemd-analyze"), "security", "--offline=true", "--no-pager"),
            *(f"--threshold={WORST_EXPOSURE}", str(UNIT)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr


def test_the_unit_names_what_there_is_and_waits_long_enough() -> None:
    unit = _unit()
    words = shlex.split(unit["ExecStart"][0])
    _assert_serves(words[1:])
    _assert_settings(unit["Environment"])
    limit = float(dict(pair.split("=") for pair in unit["Environment"])["SWITCHOVER_STOP_TIMEOUT_SECONDS"])
    assert float(unit["TimeoutStopSec"][0]) > limit + serving.DRAIN_SECONDS
    assert unit["SuccessExitStatus"] == [str(int(ExitCode.DISCONNECTED))]
    assert unit["RestartPreventExitStatus"] == [str(int(ExitCode.USAGE))]
    assert unit["User"] == ["switchover"]
    assert unit["WorkingDirectory"] == [f"/var/lib/{unit['StateDirectory'][0]}"]


def test_the_container_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    user = _one("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), "a number, so that a cluster can see that it is not root"
    assert user.partition(":")[0] in " ".join(value for word, value in _instructions() if word == "RUN")
    assert "/livez" in _one("HEALTHCHECK")
    assert _one("STOPSIGNAL") == "SIGTERM"
    assert _one("ENTRYPOINT") == '["switchover"]'
    _assert_serves(list(map(str, yaml_list(_one("CMD")))))
    _assert_settings(shlex.split(_one("ENV")))


def yaml_list(text: str) -> list[str]:
    return [word.strip(' "') for word in text.strip("[]").split(",")]


def test_the_container_copies_what_there_is_and_installs_extras_that_there_are() -> None:
    stages = [value for word, value in _instructions() if word == "FROM"]
    assert len(stages) == 2
    images = {stage.split()[0] for stage in stages}
    assert len(images) == 1, "what is built on one image runs on the same"
    assert not any(image.endswith(":latest") or ":" not in image.rpartition("/")[2] for image in images)
    for sources in (value for word, value in _instructions() if word == "COPY"):
        if not sources.startswith("--from"):
            assert all((ROOT / source).exists() for source in sources.split()[:-1]), sources
    extras = re.findall(r'"\.\[([\w,]+)\]"', CONTAINERFILE.read_text())
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert len(extras) == 1
    assert set(extras[0].split(",")) <= set(known)
    assert "--constraint constraints.txt" in CONTAINERFILE.read_text()


def test_the_health_check_of_the_container_is_a_program_that_fails_when_nobody_answers() -> None:
    words = yaml_list(_one("HEALTHCHECK").partition("CMD")[2].strip().replace(", timeout", "; timeout"))
    code = words[2].replace("; timeout", ", timeout")
    compile(code, "health check", "exec")
    done = subprocess.run(
        [sys.executable, "-c", code.replace(":8080", ":9")], capture_output=True, check=False, timeout=60
    )
    assert done.returncode != 0


def test_a_linter_of_containers_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")
