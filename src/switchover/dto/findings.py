"""One finding of the validation chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from switchover.errors import ErrorCode
from switchover.redaction import without_secrets


class Severity(StrEnum):
    """Whether a finding refuses the plan."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What is wrong, or worth knowing, and where.

    Attributes:
        tenant_id: Whose config; None when it is about the plan, or the config has no readable tenant id.
        field: Path in camelCase: inside the config (``networkEndpoints[0].targetIp``), or inside the plan's options
            (``retry.max``); empty when it is about the whole.
        index: Which of the configs, from 0; None when it is about the plan.
        file: The file that ``line`` and ``column`` (both from 1) belong to; all three only where a file was read.
    """

    tenant_id: str | None
    field: str
    code: ErrorCode
    message: str
    severity: Severity = Severity.ERROR
    index: int | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        # A finding quotes what it is about, and that may be an address with a password.
        for name in ("field", "message"):
            object.__setattr__(self, name, without_secrets(getattr(self, name)))

    @property
    def is_error(self) -> bool:
        """It refuses the plan."""
        return self.severity is Severity.ERROR

    @property
    def place(self) -> str:
        """``file:line:column`` as far as it is known, for people; empty when nothing is."""
        parts = (self.file, self.line, self.column)
        return ":".join(str(part) for part in parts if part is not None)

    def to_dict(self) -> dict[str, object]:
        """The wire form; what is about a file is there only when a file was read."""
        data: dict[str, object] = {
            "tenantId": self.tenant_id,
            "field": self.field,
            "code": str(self.code),
            "message": self.message,
            "severity": str(self.severity),
            "index": self.index,
        }
        data |= {
            name: value
            for name, value in (("file", self.file), ("line", self.line), ("column", self.column))
            if value is not None
        }
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Finding":
        """The inverse of ``to_dict``."""
        return Finding(
            tenant_id=data["tenantId"],
            field=data["field"],
            code=ErrorCode(data["code"]),
            message=data["message"],
            severity=Severity(data["severity"]),
            index=data.get("index"),
            file=data.get("file"),
            line=data.get("line"),
            column=data.get("column"),
        )
