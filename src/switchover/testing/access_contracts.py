"""What the access part of every execution store must promise, as tests; see ``contracts`` for how to use a suite."""
# ruff: noqa: D102  # the name of a test states the promise
# ruff: noqa: PLR2004  # expected values are literals

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pytest

from switchover.domain.access import AccessToken, LoginSession, PrincipalKind, Scope, TenantSelector
from switchover.domain.audit import EVERYTHING, Actor, AuditEntry, AuditFilter, AuditRecord, Outcome
from switchover.domain.task import TenantId
from switchover.errors import StoreClosedError, StoreConflictError
from switchover.spi import (
    AcquireLock,
    AppendAudit,
    Entry,
    ExecutionStore,
    Hold,
    SetHold,
)
from switchover.testing.samples import SAMPLE_MOMENT, sample_plan

_ACTOR: Final = Actor(name="dana@host", kind="local", origin="host", via="cli")
_LATER: Final = SAMPLE_MOMENT + timedelta(days=1, microseconds=7)


def sample_entry(verb: str = "pause", *, at: datetime = SAMPLE_MOMENT, target: str = "acme") -> AuditEntry:
    """An entry of the audit log."""
    return AuditEntry(at=at, actor=_ACTOR, verb=verb, target_type="TENANT", target=target, outcome=Outcome.ACCEPTED)


FULL_ENTRY: Final = AuditEntry(
    at=_LATER,
    actor=Actor(name="grün 🟢", kind="person", origin="2001:db8::1", via="api"),
    verb="rollback",
    target_type="PLAN",
    target="100",
    outcome=Outcome.REFUSED,
    code="ILLEGAL_STATE",
    message='says "no"\nand no more',
    reason="CHG-1 'quoted' \\ back",
    details={"accepted": 0, "refused": ["100-1"], "nested": {"none": None}},
)
"""A value in every field."""

FULL_TOKEN: Final = AccessToken(
    name="ci",
    version=1,
    digest="a" * 64,
    scopes=frozenset({Scope.OPERATOR, Scope.APPROVER}),
    tenants=TenantSelector(("acme-*", "bolt")),
    created_at=SAMPLE_MOMENT,
    created_by="dana@host",
    expires_at=_LATER,
    rotated_at=SAMPLE_MOMENT,
    previous_digest="b" * 64,
    previous_until=_LATER,
)
"""A value in every field that a token may be made with."""

FULL_SESSION: Final = LoginSession(
    session_id="5e55",
    digest="c" * 64,
    name="dana",
    kind=PrincipalKind.PERSON,
    scopes=frozenset({Scope.VIEWER}),
    tenants=TenantSelector(("acme",)),
    token_name="ci",  # noqa: S106  # a name
    origin="10.0.0.1",
    created_at=SAMPLE_MOMENT,
    expires_at=_LATER,
)
"""A value in every field."""


class AccessStoreContract(ABC):
    """The promises; see ``switchover.spi.AccessStore``."""

    @pytest.fixture
    def place(self) -> object:
        """Where a store may keep its data; empty for each test."""
        raise NotImplementedError

    @abstractmethod
    def connect(self, place: object) -> ExecutionStore:
        """A store over the place, not open yet."""

    @asynccontextmanager
    async def opened(self, place: object) -> AsyncGenerator[ExecutionStore]:
        """A store over the place, open."""
        store = self.connect(place)
        await store.open()
        try:
            yield store
        finally:
            await store.aclose()

    async def log(self, store: ExecutionStore, wanted: AuditFilter = EVERYTHING) -> Sequence[AuditEntry]:
        """The log, the newest first."""
        return [record.entry for record in await store.access.list_audit(wanted, before=None, limit=100)]

    async def test_a_store_that_is_not_open_answers_nothing(self, place: object) -> None:
        access = self.connect(place).access
        calls: Sequence[Callable[[], Awaitable[object]]] = (
            lambda: access.put_token(FULL_TOKEN, sample_entry()),
            lambda: access.replace_token(FULL_TOKEN, sample_entry()),
            lambda: access.note_token_use("ci", SAMPLE_MOMENT),
            lambda: access.find_token("a"),
            lambda: access.load_token("ci"),
            access.list_tokens,
            lambda: access.put_session(FULL_SESSION, sample_entry()),
            lambda: access.find_session("c"),
            access.list_sessions,
            lambda: access.end_sessions(["5e55"], sample_entry()),
            lambda: access.append_audit([sample_entry()]),
            lambda: access.list_audit(EVERYTHING, before=None, limit=1),
            lambda: access.prune_access(sessions_before=SAMPLE_MOMENT, audit_before=None),
        )
        for call in calls:
            with pytest.raises(StoreClosedError):
                await call()

    # --- tokens ----------------------------------------------------------------------------------------------------

    async def test_a_token_comes_back_as_it_was_kept_also_from_another_connection(self, place: object) -> None:
        async with self.opened(place) as store, self.opened(place) as other:
            assert await store.access.put_token(FULL_TOKEN, sample_entry("token-create"))
            for access in (store.access, other.access):
                assert await access.load_token("ci") == FULL_TOKEN
                assert await access.find_token("a" * 64) == FULL_TOKEN
                assert await access.find_token("b" * 64) == FULL_TOKEN
                assert await access.list_tokens() == [FULL_TOKEN]
                assert await access.load_token("unknown") is None
                assert await access.find_token("d" * 64) is None
            assert await self.log(other) == [sample_entry("token-create")]

    async def test_a_name_is_given_once_and_a_refusal_leaves_no_entry(self, place: object) -> None:
        async with self.opened(place) as store:
            assert await store.access.put_token(FULL_TOKEN, sample_entry("one"))
            second = replace(FULL_TOKEN, digest="d" * 64, previous_digest=None)
            assert not await store.access.put_token(second, sample_entry("two"))
            assert await store.access.load_token("ci") == FULL_TOKEN
            assert [entry.verb for entry in await self.log(store)] == ["one"]

    async def test_the_first_token_is_the_first_once(self, place: object) -> None:
        async with self.opened(place) as store, self.opened(place) as other:
            admin = replace(FULL_TOKEN, name="admin", previous_digest=None)
            assert await store.access.put_token(admin, sample_entry("one"), first=True)
            again = replace(admin, name="another", digest="e" * 64)
            assert not await other.access.put_token(again, sample_entry("two"), first=True)
            assert [token.name for token in await store.access.list_tokens()] == ["admin"]
            assert [entry.verb for entry in await self.log(store)] == ["one"]

    async def test_of_two_changes_to_one_version_one_wins(self, place: object) -> None:
        async with self.opened(place) as store, self.opened(place) as other:
            await store.access.put_token(FULL_TOKEN, sample_entry("create"))
            rotated = replace(FULL_TOKEN, version=2, digest="e" * 64, previous_digest="a" * 64)
            revoked = replace(FULL_TOKEN, version=2, revoked_at=SAMPLE_MOMENT)
            assert await other.access.replace_token(rotated, sample_entry("rotate"))
            assert not await store.access.replace_token(revoked, sample_entry("revoke"))
            assert await store.access.load_token("ci") == rotated
            assert await store.access.find_token("b" * 64) is None
            assert not await store.access.replace_token(replace(rotated, name="unknown"), sample_entry("x"))
            assert [entry.verb for entry in await self.log(store)] == ["rotate", "create"]

    async def test_the_last_use_moves_forwards_and_survives_a_change(self, place: object) -> None:
        async with self.opened(place) as store:
            access = store.access
            await access.put_token(FULL_TOKEN, sample_entry())
            await access.note_token_use("unknown", _LATER)
            await access.note_token_use("ci", _LATER)
            await access.note_token_use("ci", SAMPLE_MOMENT)
            assert await access.load_token("ci") == replace(FULL_TOKEN, last_used_at=_LATER)
            # Whoever changes the token has read it before it was used last.
            await access.replace_token(replace(FULL_TOKEN, version=2), sample_entry())
            assert await access.load_token("ci") == replace(FULL_TOKEN, version=2, last_used_at=_LATER)

    # --- sessions --------------------------------------------------------------------------------------------------

    async def test_a_session_comes_back_until_it_is_ended(self, place: object) -> None:
        async with self.opened(place) as store, self.opened(place) as other:
            later = replace(FULL_SESSION, session_id="6f66", digest="d" * 64, created_at=_LATER, token_name=None)
            await store.access.put_session(FULL_SESSION, sample_entry("login"))
            await store.access.put_session(later, sample_entry("login"))
            assert await other.access.find_session("c" * 64) == FULL_SESSION
            assert await other.access.list_sessions() == [later, FULL_SESSION]
            assert await other.access.end_sessions(["5e55", "unknown"], sample_entry("logout")) == 1
            assert await other.access.end_sessions(["5e55"], sample_entry("again")) == 0
            assert await store.access.find_session("c" * 64) is None
            assert await store.access.list_sessions() == [later]
            assert [entry.verb for entry in await self.log(store)] == ["logout", "login", "login"]

    # --- the log ---------------------------------------------------------------------------------------------------

    async def test_an_entry_comes_back_as_it_was_written(self, place: object) -> None:
        async with self.opened(place) as store, self.opened(place) as other:
            await store.access.append_audit([FULL_ENTRY, sample_entry()])
            assert list(await other.access.list_audit(EVERYTHING, before=None, limit=9)) == [
                AuditRecord(2, sample_entry()),
                AuditRecord(1, FULL_ENTRY),
            ]

    async def test_the_log_is_paged_and_searched(self, place: object) -> None:
        async with self.opened(place) as store:
            entries = [
                sample_entry(f"verb-{number % 2}", at=SAMPLE_MOMENT + timedelta(hours=number), target=f"t{number}")
                for number in range(5)
            ]
            await store.access.append_audit(entries)
            first = await store.access.list_audit(EVERYTHING, before=None, limit=2)
            rest = await store.access.list_audit(EVERYTHING, before=first[-1].number, limit=9)
            assert [record.number for record in [*first, *rest]] == [5, 4, 3, 2, 1]
            assert not await store.access.list_audit(EVERYTHING, before=None, limit=0)
            searches: Sequence[tuple[AuditFilter, list[int]]] = (
                (AuditFilter(verb="verb-1"), [3, 1]),
                (AuditFilter(target="t2"), [2]),
                (AuditFilter(target_type="PLAN"), []),
                (AuditFilter(actor="dana@host", outcome=Outcome.ACCEPTED), [4, 3, 2, 1, 0]),
                (AuditFilter(outcome=Outcome.REFUSED), []),
                (AuditFilter(actor="' OR 1=1 --"), []),
                (AuditFilter(since=entries[1].at, until=entries[3].at), [2, 1]),
            )
            for wanted, numbers in searches:
                assert await self.log(store, wanted) == [entries[number] for number in numbers], wanted

    async def test_an_entry_is_in_the_commit_of_its_write_or_nowhere(self, place: object) -> None:
        async with self.opened(place) as store:
            lease = await store.acquire_driver("test")
            assert lease is not None
            held = SetHold(TenantId("acme"), Hold(reason="why", since=SAMPLE_MOMENT))
            await store.commit(lease, [Entry(changes=[held, AppendAudit(sample_entry("hold"))])])
            assert [entry.verb for entry in await self.log(store)] == ["hold"]
            lost = Entry(
                changes=[AppendAudit(sample_entry("lost")), AcquireLock(TenantId("acme"), sample_plan(9, ["x"]).key(1))]
            )
            with pytest.raises(StoreConflictError):
                await store.commit(lease, [Entry(changes=[AppendAudit(sample_entry("lost"))]), lost])
            assert [entry.verb for entry in await self.log(store)] == ["hold"]
            await store.commit(lease, [Entry(changes=[AppendAudit(sample_entry("a")), AppendAudit(sample_entry("b"))])])
            records = await store.access.list_audit(EVERYTHING, before=None, limit=9)
            assert [record.entry.verb for record in records] == ["b", "a", "hold"]

    async def test_pruning_takes_what_is_old_and_gives_no_number_twice(self, place: object) -> None:
        async with self.opened(place) as store:
            access = store.access
            await access.append_audit([sample_entry("old"), sample_entry("new", at=_LATER)])
            await access.put_session(FULL_SESSION, sample_entry("login"))
            assert await access.prune_access(sessions_before=_LATER, audit_before=None) == 0
            assert await access.list_sessions() == [FULL_SESSION]
            later = _LATER + timedelta(seconds=1)
            assert await access.prune_access(sessions_before=later, audit_before=_LATER) == 2
            assert not await access.list_sessions()
            assert [entry.verb for entry in await self.log(store)] == ["new"]
            await access.prune_access(sessions_before=later, audit_before=later)
            await access.append_audit([sample_entry("next")])
            (record,) = await access.list_audit(EVERYTHING, before=None, limit=9)
            assert (record.number, record.entry.verb) == (4, "next")
