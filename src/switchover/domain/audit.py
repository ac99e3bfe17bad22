"""
The audit log: who wrote what, when, from where, why, and what came of it.

An entry is committed together with the write that it tells of, so neither exists without the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from switchover.redaction import without_secrets

_LONGEST_TEXT: Final = 2_000
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Outcome(StrEnum):
    """What came of a write."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """
    Who asks for a write.

    Attributes:
        name: A token's name, a person's at their provider, or ``user@host``.
        kind: ``token``, ``person`` or ``local``.
        origin: From where: the caller's address, or this machine's name.
        via: Through what: ``api``, ``console``, ``cli`` or ``library``.
    """

    name: str
    kind: str
    origin: str
    via: str

    def to_dict(self) -> dict[str, str]:
        """The wire form."""
        return {"name": self.name, "kind": self.kind, "origin": self.origin, "via": self.via}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> "Actor":
        """The inverse of ``to_dict``."""
        return cls(name=data["name"], kind=data["kind"], origin=data["origin"], via=data["via"])


UNKNOWN_ACTOR: Final = Actor(name="unknown", kind="local", origin="", via="library")
"""A request that was left by a program which did not say who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """
    One write, or one that was refused.

    Attributes:
        verb: create, pause, hold, approve ..., or ``token-create`` and the like.
        target_type: PLAN, TASK, TENANT, LINE, TOKEN, SESSION or ACCESS.
        code: Of the refusal; None when it was accepted.
        message: What the caller was answered.
        reason: What the caller gave; may be empty.
        details: What else tells the write from others, such as how many tasks followed.
    """

    at: datetime
    actor: Actor
    verb: str
    target_type: str
    target: str
    outcome: Outcome
    code: str | None = None
    message: str = ""
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        # The log is kept for years and read by many: nobody may fill it with one request, or leave a secret in it.
        for name in ("message", "reason", "target"):
            text = without_secrets(getattr(self, name))
            object.__setattr__(self, name, text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry with its number in the log; numbers rise and are never used again."""

    number: int
    entry: AuditEntry

    def to_dict(self) -> dict[str, object]:
        """The wire form, in camelCase."""
        entry = self.entry
        return {
            "number": self.number,
            "at": entry.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "actor": entry.actor.to_dict(),
            "verb": entry.verb,
            "targetType": entry.target_type,
            "target": entry.target,
            "outcome": str(entry.outcome),
            "code": entry.code,
            "message": entry.message,
            "reason": entry.reason,
            "details": dict(entry.details),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries are asked for; None: whatever it is."""

    actor: str | None = None
    verb: str | None = None
    target_type: str | None = None
    target: str | None = None
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, entry: AuditEntry) -> bool:
        """Whether this entry is asked for; ``since`` is inclusive, ``until`` exclusive."""
        wanted = (
            (self.actor, entry.actor.name),
            (self.verb, entry.verb),
            (self.target_type, entry.target_type),
            (self.target, entry.target),
            (self.outcome, entry.outcome),
        )
        return (
            all(asked is None or asked == found for asked, found in wanted)
            and (self.since is None or self.since <= entry.at)
            and (self.until is None or entry.at < self.until)
        )


EVERYTHING: Final = AuditFilter()
"""The whole log."""
