"""What a secret looks like, in every place where one may stand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchover.domain.audit import Actor, AuditEntry, Outcome
from switchover.domain.task import FailureInfo, TargetType
from switchover.dto import Finding
from switchover.errors import ErrorCode, ErrorType, ExecutorError
from switchover.factory.explaining import shown
from switchover.operations import CreationRequest, OperationRequest
from switchover.redaction import redacted, without_credentials, without_password, without_secrets
from switchover.testing.clock import ManualClock

SECRET = "hunter2"
TALK = f"see redis://u:{SECRET}@h/0 and http://h/?token={SECRET}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:s3cret@host:6379/0", "redis://host:6379/0"),
        ("redis://user:s3c@ret@host/0", "redis://host/0"),
        ("redis://user:s3c/ret@host/0", "redis://host/0"),
        ("redis://:s3c/ret@host/0", "redis://host/0"),
        ("redis://user:s3cr…", "redis://***"),
        ("http://s3cret@host/x", "http://host/x"),
        ("//user:s3cret@host/x", "//host/x"),
        ("redis://host/0?password=s3cret&db=1", "redis://host/0?password=***&db=1"),
        ("redis://host/0?db=1;password=s3cret", "redis://host/0?db=1;password=***"),
        ("https://h/x?access_token=s3cret", "https://h/x?access_token=***"),
        ("https://h/x?%70assword=s3cret", "https://h/x?%70assword=***"),
        ("https://h/x?sig=s3cret#id_token=s3cret", "https://h/x?sig=***#id_token=***"),
        ("http://user:s3cret@[::1/x", "http://[::1/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://h:8080/@user/x:y@z", "http://h:8080/@user/x:y@z"),
        ("http://{targetIp}:{port}/x", "http://{targetIp}:{port}/x"),
        ("http://h/health?probe=1", "http://h/health?probe=1"),
        ("file:///etc/map.json", "file:///etc/map.json"),
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
        ("not://", "not://"),
        ("a path//with two slashes", "a path//with two slashes"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(url: str, told: str) -> None:
    assert without_credentials(url) == told
    assert without_credentials(told) == told, "what is clean stays as it is"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://me:s3cret@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:s3cr%2Fet@one,two/db?search_path=a", "postgresql://me@one,two/db?search_path=a"),
        ("postgresql://host/db?user=me&password=s3cret", "postgresql://host/db?user=***&password=***"),
        ("postgresql://me:s3cr/et@host/db", "postgresql://..."),
        ("postgresql://me:s3cr?et@host/db", "postgresql://..."),
        ("postgresql://me:s3cr#et@host/db", "postgresql://..."),
        ("postgresql://me:s3c@ret@host/db", "postgresql://me@host/db"),
        ("postgresql:///db", "postgresql:///db"),
        ("sqlite:///a/b@c.db", "sqlite:///a/b@c.db"),
        ("memory://", "memory://"),
    ],
)
def test_the_password_of_a_store_is_never_shown(url: str, named: str) -> None:
    assert without_password(url) == named
    assert "s3c" not in without_password(url)
    assert without_secrets(named) == named, "a command to type stays one"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("see redis://u:pw@h:1/0, then go", "see redis://h:1/0, then go"),
        ("'redis://u:p'w@h:1/0' is no good", "'redis://h:1/0' is no good"),
        ("from http://a:b@h/x to http://c:d@g/y", "from http://h/x to http://g/y"),
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwdw==", "authorization: basic ***"),
        ("the bearer wants basic things", "the bearer wants basic things"),
        ("token swo_abcdefgh_12345678 leaked", "token *** leaked"),
        ("it was eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "it was ***"),
        ("set SWITCHOVER_TOKEN=abc and password='x' here", "set SWITCHOVER_TOKEN=*** and password=*** here"),
        ('password="a b" set', "password=*** set"),
        ("CHG-4821: 3 = 2 + 1, nothing to hide", "CHG-4821: 3 = 2 + 1, nothing to hide"),
    ],
)
def test_texts_of_people_and_programs_are_kept_without_secrets(text: str, kept: str) -> None:
    assert without_secrets(text) == kept
    assert without_secrets(kept) == kept


PASSWORDS = st.text(
    alphabet=st.characters(min_codepoint=33, exclude_characters='@/?#"\\', exclude_categories=["Cs"]), min_size=4
)
VALUES = st.recursive(
    st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.text(max_size=40), PASSWORDS)
def test_no_password_of_an_address_is_left_whatever_stands_around_it(around: str, password: str) -> None:
    assert f":{password}@" not in without_secrets(f"{around} redis://user:{password}@host/0 {around}")


@given(VALUES)
def test_redacted_json_is_still_json(value: object) -> None:
    text = json.dumps({"a": "redis://u:pw@h/0?token=x", "b": value, "c": "mailto:x@y"}, ensure_ascii=False)
    found = json.loads(redacted(text.encode("utf-8", "replace")))
    assert found["a"] == "redis://h/0?token=***"
    assert found["c"] == "mailto:x@y"


def test_whatever_is_made_from_a_secret_is_kept_without_it() -> None:
    now = ManualClock().now()
    actor = Actor(name="a", kind="local", origin="", via="library")
    entry = AuditEntry(
        at=now,
        actor=actor,
        verb="hold",
        target_type="TENANT",
        target=TALK,
        outcome=Outcome.ACCEPTED,
        message=TALK,
        reason=TALK,
    )
    failure = FailureInfo(
        error_code=ErrorCode.STEP_FAILED, error_type=ErrorType.UNKNOWN_ERROR, message=TALK, timestamp=now
    )
    made = (
        entry,
        failure,
        FailureInfo.from_dict({**failure.to_dict(), "message": TALK}),
        Finding(tenant_id=None, field=TALK, code=ErrorCode.INVALID_FIELD, message=TALK),
        OperationRequest(verb="hold", target_type=TargetType.TENANT, reason=TALK),
        CreationRequest(configs=[], reason=TALK),
        ExecutorError(TALK),
        shown("x" * 40 + f"redis://u:{SECRET}@h/0" + "y" * 40),
    )
    for thing in made:
        assert SECRET not in repr(thing), thing
        assert SECRET not in str(thing), thing


@pytest.mark.parametrize("end", [",", ".", ";", ":", ")", "!", ")."])
def test_a_url_keeps_its_port_where_a_sentence_ends_behind_it(end: str) -> None:
    text = f"asked (http://u:hunter2@10.0.0.1:8080{end} and then"
    assert without_secrets(text) == f"asked (http://10.0.0.1:8080{end} and then"
    assert redacted(text.encode()) == f"asked (http://10.0.0.1:8080{end} and then".encode()
    assert "hunter2" not in without_secrets(f"cut off: redis://u:hunter2{end} and then")
