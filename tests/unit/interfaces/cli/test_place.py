import errno
from pathlib import Path

import pytest

from switchover.bootstrap import make_store
from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError, guarded
from switchover.interfaces.cli.place import Place
from tests.unit.interfaces.cli.conftest import Call, Files


def test_what_follows_the_verb_goes_before_what_precedes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Place().url == "sqlite:///switchover.db"
    monkeypatch.setenv("SWITCHOVER_DB", "environment.db")
    assert Place().url == "sqlite:///environment.db"
    before = Place().refined(db="before.db", store=None, config=None)
    assert before.url == "sqlite:///before.db"
    assert before.refined(db="after.db", store=None, config=None).url == "sqlite:///after.db"
    assert before.refined(db=None, store="memory://", config=None).url == "memory://"
    assert before.refined(db=None, store=None, config=None).url == "sqlite:///before.db"


def test_an_absolute_path_and_odd_characters_survive(tmp_path: Path) -> None:
    for path in (tmp_path / "a b?#%20.db", Path("with space.db")):
        store = make_store(Place().refined(db=str(path), store=None, config=None).url)
        assert getattr(store, "path", None) == path


def test_two_names_for_the_store_are_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="both name where") as found:
        Place().refined(db="a.db", store="memory://", config=None)
    assert found.value.code is ExitCode.USAGE
    monkeypatch.setenv("SWITCHOVER_DB", "a.db")
    monkeypatch.setenv("SWITCHOVER_STORE", "memory://")
    with pytest.raises(CommandError, match="SWITCHOVER_STORE both"):
        _ = Place().url
    assert Place().refined(db="b.db", store=None, config=None).url == "sqlite:///b.db"


def test_commands_to_type_name_the_place_as_it_was_named_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place().refined(db="my plans.db", store=None, config="settings.toml")
    assert place.command("retry", "--plan", "7") == (
        "switchover retry --plan 7 --db 'my plans.db' --config settings.toml"
    )
    assert place.with_place("mend it, then `switchover retry --tenant acme`; or `ls`") == (
        "mend it, then `switchover retry --tenant acme --db 'my plans.db' --config settings.toml`; or `ls`"
    )
    # What the environment says, it says to the next command too.
    monkeypatch.setenv("SWITCHOVER_DB", "environment.db")
    assert Place().command("retry", "--plan", "7") == "switchover retry --plan 7"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file"),
        ("max_retry = ", "cannot be read"),
        ("max_retry = -1", "max_retry"),
        ("max_retries = 1", "max_retries"),
    ],
)
def test_wrong_settings_are_wrong_usage(tmp_path: Path, content: str | None, told: str) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match=told) as found:
        Place().refined(db=None, store=None, config=str(file)).settings()
    assert found.value.code is ExitCode.USAGE


def test_settings_come_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text("max_retry = 5\nmax_concurrency = 2")
    monkeypatch.setenv("SWITCHOVER_MAX_CONCURRENCY", "4")
    settings = Place().refined(db=None, store=None, config="settings.toml").settings()
    assert (settings.max_retry, settings.max_concurrency) == (5, 4)


def test_a_bad_value_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHOVER_SERVICES", "[")
    with pytest.raises(CommandError, match="environment cannot be read"):
        Place().settings()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('endpoint_allow_list = ["10.0.0.0/33"]', "is no network in CIDR notation"),
        ("max_concurrency = 0", "max_concurrency is '0'"),
        ("max_concurency = 3", "there is no setting max_concurency; did you mean 'max_concurrency'?"),
    ],
)
def test_a_wrong_setting_is_told_with_its_value_and_the_rule(
    call: Call, files: Files, tmp_path: Path, setting: str, said: str
) -> None:
    files.plan("acme")
    (tmp_path / "s.toml").write_text(setting)
    answer = call("plan", "plan.json", "--config", "s.toml", code=2)
    assert said in answer.errors
    assert "s.toml" in answer.errors


def test_a_full_output_is_told_as_that(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> ExitCode:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert guarded(work) is ExitCode.UNEXPECTED
    told = capsys.readouterr().err
    assert "no room is left" in told
    assert "defect" not in told
