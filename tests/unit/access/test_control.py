from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from switchover.access import AccessControl, LoginLimiter
from switchover.access.credentials import TOKEN_PREFIX, digest_of
from switchover.adapters.stores.memory import MemoryExecutionStore
from switchover.domain.access import Principal, PrincipalKind, Scope
from switchover.domain.audit import EVERYTHING, Actor
from switchover.errors import (
    AuthenticationError,
    ErrorCode,
    InvalidAccessRequestError,
    NotFoundError,
    TooManyAttemptsError,
)
from switchover.testing.clock import ManualClock

DANA = Actor(name="dana@host", kind="local", origin="host", via="cli")
HERE = "10.0.0.9"


@dataclass
class Rig:
    store: MemoryExecutionStore
    clock: ManualClock
    control: AccessControl

    async def verbs(self) -> list[str]:
        records = await self.store.access.list_audit(EVERYTHING, before=None, limit=99)
        return [record.entry.verb for record in reversed(records)]


@pytest.fixture
async def rig() -> AsyncGenerator[Rig]:
    store, clock = MemoryExecutionStore(), ManualClock()
    await store.open()
    limiter = LoginLimiter(clock=clock, attempts=3, refill_seconds=10)
    yield Rig(store, clock, AccessControl(store=store.access, clock=clock, limiter=limiter))
    await store.aclose()


async def test_the_first_start_gives_an_admin_token_and_no_later_one_does(rig: Rig) -> None:
    issued = await rig.control.first_start(DANA)
    assert issued is not None
    assert issued.secret.startswith(TOKEN_PREFIX)
    principal = await rig.control.authenticate(issued.secret, HERE)
    assert (principal.name, principal.scopes) == ("admin", frozenset({Scope.ADMIN}))
    assert await rig.control.first_start(DANA) is None
    await rig.control.revoke_token("admin", by=DANA)
    assert await rig.control.first_start(DANA) is None, "a revoked one does not come back by a restart"


async def test_only_the_digest_is_kept_and_no_value_shows_the_secret(rig: Rig) -> None:
    issued = await rig.control.create_token("ci", ["viewer"], by=DANA)
    kept = await rig.store.access.load_token("ci")
    assert kept is not None
    assert kept.digest == digest_of(issued.secret)
    shown = repr(rig.store._data.access) + repr(issued) + repr(kept)
    assert issued.secret not in shown
    assert len(issued.secret) == len(TOKEN_PREFIX) + 43  # 256 bits


async def test_a_missing_or_unknown_or_malformed_credential_is_refused_without_a_hint(rig: Rig) -> None:
    with pytest.raises(AuthenticationError, match="no credential was sent"):
        await rig.control.authenticate(None, HERE)
    messages: set[str] = set()
    for number, bad in enumerate(["", "x", TOKEN_PREFIX + "a" * 43, "ü" * 50, "a" * 100_000]):
        with pytest.raises(AuthenticationError) as caught:
            await rig.control.authenticate(bad, f"10.0.1.{number}")
        messages.add(caught.value.message)
    assert len(messages) == 1


async def test_an_expired_token_and_a_revoked_one_are_refused(rig: Rig) -> None:
    short = await rig.control.create_token("short", ["viewer"], by=DANA, expires_in_seconds=60)
    gone = await rig.control.create_token("gone", ["viewer"], by=DANA)
    assert (await rig.control.authenticate(short.secret, HERE)).name == "short"
    await rig.clock.advance(60)
    await rig.control.revoke_token("gone", by=DANA, reason="leaked")
    await rig.control.revoke_token("gone", by=DANA, reason="twice is one")
    for secret in (short.secret, gone.secret):
        with pytest.raises(AuthenticationError):
            await rig.control.authenticate(secret, HERE)
    assert await rig.verbs() == ["token-create", "token-create", "token-revoke"]


async def test_a_rotated_token_is_good_for_the_grace_time_and_the_new_one_from_now_on(rig: Rig) -> None:
    old = await rig.control.create_token("ci", ["operator"], by=DANA, tenants=["acme-*"])
    new = await rig.control.rotate_token("ci", by=DANA, grace_seconds=30)
    assert new.token.scopes == old.token.scopes
    for secret in (old.secret, new.secret):
        assert (await rig.control.authenticate(secret, HERE)).may_touch("acme-1")
    await rig.clock.advance(30)
    assert (await rig.control.authenticate(new.secret, HERE)).name == "ci"
    with pytest.raises(AuthenticationError):
        await rig.control.authenticate(old.secret, HERE)
    newest = await rig.control.rotate_token("ci", by=DANA, grace_seconds=0)
    with pytest.raises(AuthenticationError):
        await rig.control.authenticate(new.secret, HERE)
    assert (await rig.control.authenticate(newest.secret, HERE)).name == "ci"


async def test_a_revocation_during_the_grace_time_ends_both(rig: Rig) -> None:
    old = await rig.control.create_token("ci", ["viewer"], by=DANA)
    new = await rig.control.rotate_token("ci", by=DANA, grace_seconds=3600)
    await rig.control.revoke_token("ci", by=DANA)
    for secret in (old.secret, new.secret):
        with pytest.raises(AuthenticationError):
            await rig.control.authenticate(secret, HERE)
    with pytest.raises(InvalidAccessRequestError, match="revoked, so it cannot be rotated"):
        await rig.control.rotate_token("ci", by=DANA, grace_seconds=1)


async def test_the_last_use_is_written_rarely(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = await rig.control.create_token("ci", ["viewer"], by=DANA)
    writes: list[str] = []
    inner = rig.store.access.note_token_use

    async def counted(name: str, at: object) -> None:
        writes.append(name)
        await inner(name, at)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(rig.store.access, "note_token_use", counted)
    for _ in range(50):
        await rig.control.authenticate(issued.secret, HERE)
    assert writes == ["ci"]
    await rig.clock.advance(timedelta(minutes=6).total_seconds())
    await rig.control.authenticate(issued.secret, HERE)
    kept = await rig.store.access.load_token("ci")
    assert kept is not None
    assert (writes, kept.last_used_at) == (["ci", "ci"], rig.clock.now())


async def test_too_many_failures_close_an_address_for_a_while_but_not_to_good_tokens(rig: Rig) -> None:
    good = await rig.control.create_token("ci", ["viewer"], by=DANA)
    for _ in range(3):
        with pytest.raises(AuthenticationError) as caught:
            await rig.control.authenticate("wrong", HERE)
        assert caught.value.code is ErrorCode.UNAUTHENTICATED
    with pytest.raises(TooManyAttemptsError) as limited:
        await rig.control.authenticate("wrong", HERE)
    assert limited.value.retry_after_seconds == 10
    assert (await rig.control.authenticate(good.secret, HERE)).name == "ci"
    with pytest.raises(AuthenticationError) as elsewhere:
        await rig.control.authenticate("wrong", "10.0.0.10")
    assert elsewhere.value.code is ErrorCode.UNAUTHENTICATED
    await rig.clock.advance(10)
    with pytest.raises(AuthenticationError) as again:
        await rig.control.authenticate("wrong", HERE)
    assert again.value.code is ErrorCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": ""}, "name: '' is no name"),
        ({"name": "a b"}, "no name for a token"),
        ({"name": "x" * 65}, "no name for a token"),
        ({"scopes": ["root"]}, "scopes: 'root' is none"),
        ({"scopes": []}, "scopes: give at least one"),
        ({"tenants": []}, "tenants: an empty selector"),
        ({"tenants": ["a/b"]}, "tenants: 'a/b' can match no tenant"),
        ({"expires_in_seconds": 0.0}, "expires: 0 seconds is no time to come"),
        ({"expires_in_seconds": 1e18}, "beyond the calendar"),
    ],
)
async def test_a_token_that_cannot_be_made_is_refused_with_the_field(
    rig: Rig, wrong: dict[str, Any], message: str
) -> None:
    asked: dict[str, Any] = {"name": "ci", "scopes": ["viewer"], **wrong}
    with pytest.raises(InvalidAccessRequestError, match=message):
        await rig.control.create_token(by=DANA, **asked)
    assert not await rig.control.list_tokens()
    assert not await rig.verbs()


async def test_names_are_unique_for_ever_and_unknown_ones_are_told(rig: Rig) -> None:
    await rig.control.create_token("ci", ["viewer"], by=DANA)
    await rig.control.revoke_token("ci", by=DANA)
    with pytest.raises(InvalidAccessRequestError) as caught:
        await rig.control.create_token("ci", ["viewer"], by=DANA)
    assert caught.value.code is ErrorCode.TOKEN_EXISTS
    with pytest.raises(NotFoundError) as unknown:
        await rig.control.revoke_token("nobody", by=DANA)
    assert unknown.value.code is ErrorCode.UNKNOWN_TOKEN


async def test_a_session_of_a_token_may_what_the_token_may_and_ends_with_it(rig: Rig) -> None:
    issued = await rig.control.create_token("ci", ["operator"], by=DANA)
    opened = await rig.control.open_session(issued.token.principal, origin=HERE, token_name="ci")
    found = await rig.control.session_of(opened.cookie)
    assert found is not None
    assert (found[0].session_id, found[1].may(Scope.OPERATOR)) == (opened.session.session_id, True)
    await rig.control.revoke_token("ci", by=DANA)
    assert await rig.control.session_of(opened.cookie) is None


async def test_a_session_ends_by_time_or_by_hand(rig: Rig) -> None:
    person = Principal(name="dana", kind=PrincipalKind.PERSON, scopes=frozenset({Scope.VIEWER}))
    one = await rig.control.open_session(person, origin=HERE)
    two = await rig.control.open_session(person, origin=HERE)
    assert await rig.control.end_sessions([one.session.session_id], by=DANA) == 1
    assert await rig.control.session_of(one.cookie) is None
    assert await rig.control.session_of(two.cookie) == (two.session, person)
    assert await rig.control.session_of("anything else") is None
    await rig.clock.advance(12 * 3600)
    assert await rig.control.session_of(two.cookie) is None
    assert not await rig.control.list_sessions()
    assert await rig.verbs() == ["login", "login", "logout"]
