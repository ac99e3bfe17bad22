"""
Reading a plan file: from bytes to metadata, options and configs.

What can go wrong on the way here is reported as ``InvalidPlanError`` with findings: a file that is not there or too
large, text that is neither YAML nor JSON, a root that is no plan. What the options and configs say is judged by
``PlanFactory``, whose findings ``PlanFile.locate`` gives their line and column.
"""

import os
import stat
from array import array
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from switchover.domain.wire import camel_case
from switchover.dto import Finding
from switchover.errors import ErrorCode, InvalidPlanError
from switchover.factory.explaining import path_text
from switchover.planfile.json_text import json_signs, parse_json
from switchover.planfile.positions import Path as FieldPath
from switchover.planfile.positions import Place, PlanSyntaxError, Sign, locate, parts_of
from switchover.planfile.tenants import configs_of, matching_files, parse_csv
from switchover.planfile.yaml_text import parse_yaml, yaml_signs
from switchover.stages.templates import nearest

API_VERSION = "switchover/v1"
KIND = "Plan"
TENANTS: FieldPath = ("spec", "tenants")
ROOT_FIELDS = ("apiVersion", "kind", "metadata", "spec")
DEFAULT_MAX_BYTES = 32 * 1024 * 1024

_YAML_SUFFIXES = (".yaml", ".yml")
_READ_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """
    A text that configs came from.

    Attributes:
        path: Read again when positions are wanted, rather than kept; ``text`` is kept only where there is no file.
        fingerprint: Of the text, so that positions are not taken from a file that has changed.
        prefix: What leads to its configs; None when the text is one config.
        lines: Of a CSV file: the line of each config.
    """

    name: str
    path: Path | None
    text: str | None
    fingerprint: int
    signs: Callable[[str], Iterator[Sign]] | None
    prefix: FieldPath | None
    first: int
    count: int
    max_bytes: int
    lines: "array[int] | None" = None

    def read(self) -> str | None:
        if self.path is None:
            return self.text
        try:
            text = _decode(_read_bytes(self.path, self.max_bytes))
        except PlanSyntaxError:
            return None
        return text if hash(text) == self.fingerprint else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanFile:
    """
    What a plan file says, unjudged: ready for ``PlanFactory.read(configs, options, metadata)``.

    Attributes:
        name: The file, as the caller named it.
        options: ``spec`` without tenants.
        configs: Of ``tenants``, then of the files of ``tenantsFrom``, in order.
    """

    name: str
    metadata: object
    options: Mapping[str, object]
    configs: Sequence[object]
    origins: tuple[_Origin, ...]

    def locate(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """
        The same findings, each with its file, line and column as far as they can be told.

        A field that is missing is where the mapping is that lacks it.
        """
        found = list(findings)
        by_origin: dict[int, list[int]] = {}
        for number, finding in enumerate(found):
            by_origin.setdefault(self._origin_of(finding), []).append(number)
        for origin_number, numbers in by_origin.items():
            origin = self.origins[origin_number]
            paths = {number: self._path_of(found[number], origin) for number in numbers}
            places = _places(origin, {path for path in paths.values() if path is not None})
            for number in numbers:
                path = paths[number]
                place = None if path is None else places.get(path)
                if place is not None:
                    column = None if origin.lines is not None else place.column
                    found[number] = replace(found[number], file=origin.name, line=place.line, column=column)
        return tuple(found)

    def _origin_of(self, finding: Finding) -> int:
        index = finding.index
        if index is not None:
            for number, origin in enumerate(self.origins):
                if origin.first <= index < origin.first + origin.count:
                    return number
        return 0

    def _path_of(self, finding: Finding, origin: _Origin) -> FieldPath | None:
        parts = parts_of(finding.field)
        if finding.index is not None:
            if origin.prefix is None:
                return parts
            return *origin.prefix, finding.index - origin.first, *parts
        if origin.prefix != TENANTS or parts[:1] == ("metadata",):
            return parts
        if parts[:1] == ("configs",):
            return TENANTS
        # The catalogue of the settings is in no plan file.
        if parts[:1] == ("services",) and len(parts) > 1 and "services" not in self.options:
            return None
        return "spec", *parts


def load_plan(path: str | os.PathLike[str], *, max_bytes: int = DEFAULT_MAX_BYTES) -> PlanFile:
    """
    Read a plan file.

    Args:
        max_bytes: Size of one file at most (``ExecutorSettings.plan_file_max_bytes``), those of tenantsFrom included.

    Raises:
        InvalidPlanError: It cannot be read, or is no plan; the message has the place and the next move.
    """
    name = os.fspath(path)
    file = Path(path)
    try:
        data = _read_bytes(file, max_bytes)
    except PlanSyntaxError as error:
        raise _refused(name, [error]) from error
    return _Loader(name, file, file.parent, max_bytes).load(data)


def parse_plan(
    data: bytes | str, *, name: str = "plan", base: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES
) -> PlanFile:
    """
    Read a plan from what was received.

    Args:
        name: What messages call it.
        base: The folder that tenantsFrom is relative to; None: tenantsFrom is refused.

    Raises:
        InvalidPlanError: As ``load_plan``.
    """
    if len(data) > max_bytes:
        raise _refused(name, [_too_large(len(data), max_bytes)])
    return _Loader(name, None, base, max_bytes).load(data)


class _Loader:
    """One plan file, with the files that it names."""

    def __init__(self, name: str, path: Path | None, base: Path | None, max_bytes: int) -> None:
        self._name = name
        self._path = path
        self._base = base
        self._max_bytes = max_bytes
        self._configs: list[object] = []
        self._origins: list[_Origin] = []

    def load(self, data: bytes | str) -> PlanFile:
        try:
            text = _decode(data)
            value, signs = _parse(text, self._name)
        except PlanSyntaxError as error:
            raise _refused(self._name, [error]) from error
        if isinstance(value, list):
            self._add(cast("list[object]", value), name=self._name, path=self._path, text=text, signs=signs, prefix=())
            return self._plan_file(None, {})
        root = _checked_root(value, self._name, lambda paths: locate(signs(text), paths))
        spec = cast("dict[str, object]", root["spec"])
        self._add(
            cast("list[object]", spec.get("tenants") or []),
            name=self._name,
            path=self._path,
            text=text,
            signs=signs,
            prefix=TENANTS,
        )
        patterns = cast("list[str]", _either(spec, "tenantsFrom") or [])
        for number, pattern in enumerate(patterns):
            try:
                self._add_files(pattern)
            except PlanSyntaxError as error:
                path = ("spec", "tenantsFrom", number)
                place = locate(signs(text), [path])[path]
                raise _refused(self._name, [PlanSyntaxError(error.message, place)]) from error
        kept = {"tenants", "tenantsFrom", "tenants_from"}
        options = {key: member for key, member in spec.items() if key not in kept}
        return self._plan_file(root.get("metadata"), options)

    def _plan_file(self, metadata: object, options: Mapping[str, object]) -> PlanFile:
        return PlanFile(
            name=self._name,
            metadata=metadata,
            options=options,
            configs=self._configs,
            origins=tuple(self._origins),
        )

    def _add(
        self,
        configs: list[object],
        *,
        name: str,
        path: Path | None,
        text: str,
        signs: Callable[[str], Iterator[Sign]] | None,
        prefix: FieldPath | None,
        lines: Sequence[int] | None = None,
    ) -> None:
        self._origins.append(
            _Origin(
                name=name,
                path=path,
                text=text if path is None else None,
                fingerprint=hash(text),
                signs=signs,
                prefix=prefix,
                first=len(self._configs),
                count=len(configs),
                max_bytes=self._max_bytes,
                lines=None if lines is None else array("l", lines),
            )
        )
        # Nobody else holds the first list, and it may be long.
        self._configs = [*self._configs, *configs] if self._configs else configs

    def _add_files(self, pattern: str) -> None:
        if self._base is None:
            raise PlanSyntaxError("tenantsFrom names files beside the plan file, and this plan came without one")
        known = {origin.path for origin in self._origins}
        for file in matching_files(pattern, self._base):
            if file in known:
                continue
            name = str(file)
            try:
                text = _decode(_read_bytes(file, self._max_bytes))
                if file.suffix.lower() == ".csv":
                    configs, lines = parse_csv(text)
                    self._add(configs, name=name, path=file, text=text, signs=None, prefix=(), lines=lines)
                else:
                    configs, is_list = configs_of(parse_json(text))
                    prefix = () if is_list else None
                    self._add(configs, name=name, path=file, text=text, signs=json_signs, prefix=prefix)
            except PlanSyntaxError as error:
                raise _refused(name, [error]) from error


def _places(origin: _Origin, paths: AbstractSet[FieldPath]) -> Mapping[FieldPath, Place]:
    if origin.lines is not None:
        return {path: Place(origin.lines[cast("int", path[0])], 1) for path in paths}
    text = origin.read()
    if text is None or origin.signs is None:
        return {}
    return locate(origin.signs(text), paths)


# --- bytes and text ------------------------------------------------------------------------------------------------


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else 0
            if size > max_bytes:
                raise _too_large(size, max_bytes)
            data = stream.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise PlanSyntaxError("there is no such file; check the path") from error
    except IsADirectoryError as error:
        raise PlanSyntaxError("this is a folder; name the plan file in it") from error
    except PermissionError as error:
        raise PlanSyntaxError("it may not be read; check its permissions") from error
    except (OSError, ValueError) as error:
        raise PlanSyntaxError(f"it cannot be read: {error}") from error
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    return data


def _too_large(size: int, limit: int) -> PlanSyntaxError:
    return PlanSyntaxError(
        f"{size:,} bytes are more than the limit of {limit:,}; move tenants into files of their own with tenantsFrom, "
        "or raise plan_file_max_bytes (SWITCHOVER_PLAN_FILE_MAX_BYTES)"
    )


_MARKS: tuple[tuple[bytes, str], ...] = (
    (BOM_UTF8, "utf-8"),
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (BOM_UTF32_LE, "utf-32-le"),
    (BOM_UTF32_BE, "utf-32-be"),
    (BOM_UTF16_LE, "utf-16-le"),
    (BOM_UTF16_BE, "utf-16-be"),
)


def _decode(data: bytes | str) -> str:
    if isinstance(data, str):
        if not data.isascii():
            try:
                data.encode()
            except UnicodeEncodeError as error:
                raise PlanSyntaxError("no valid Unicode text: it contains a lone surrogate") from error
        return data.removeprefix("\ufeff")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = data[len(mark) : len(mark) + error.start].decode(encoding, "replace")
        place = Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise PlanSyntaxError(f"no valid {encoding.upper()}: {error.reason}; save the file as UTF-8", place) from error


def _parse(text: str, name: str) -> tuple[object, Callable[[str], Iterator[Sign]]]:
    first = next((char for char in text if not char.isspace()), "")
    if not first:
        raise PlanSyntaxError("the file is empty")
    if "\x00" in text[:64]:
        raise PlanSyntaxError("this is no text, or UTF-16 without a byte order mark; save the file as UTF-8")
    if first in "{[":
        try:
            return parse_json(text), json_signs
        except PlanSyntaxError:
            # YAML may begin like this too.
            if not name.lower().endswith(_YAML_SUFFIXES):
                raise
    return parse_yaml(text), yaml_signs


# --- the root ------------------------------------------------------------------------------------------------------


def _checked_root(
    value: object, name: str, places: Callable[[Iterable[FieldPath]], Mapping[FieldPath, Place]]
) -> Mapping[str, object]:
    problems: list[tuple[FieldPath, ErrorCode, str]] = []
    if not isinstance(value, dict):
        problems.append(((), ErrorCode.INVALID_FIELD, "a plan is a mapping, or a list of TenantDeployConfig"))
        root: dict[str, object] = {}
    else:
        root = cast("dict[str, object]", value)
        problems.extend(_root_problems(root))
    if problems:
        found = places([path for path, _, _ in problems])
        raise _invalid(
            Finding(
                tenant_id=None,
                field=path_text(path),
                code=code,
                message=message,
                file=name,
                line=found[path].line,
                column=found[path].column,
            )
            for path, code, message in problems
        )
    return {**root, "spec": root.get("spec") or {}}


def _root_problems(root: Mapping[str, object]) -> Iterator[tuple[FieldPath, ErrorCode, str]]:
    if "tenantId" in root or "tenant_id" in root:
        message = "this is a single TenantDeployConfig; put it into a list, or under spec.tenants"
        yield (), ErrorCode.INVALID_FIELD, message
        return
    for key in root:
        wire_name = camel_case(key) if key == "api_version" else key
        if wire_name not in ROOT_FIELDS:
            known = key in SPEC_FIELDS
            hint = f"; {key} belongs under spec" if known else nearest(key[:64], ROOT_FIELDS)
            yield (key,), ErrorCode.UNKNOWN_FIELD, f"unknown field {key[:64]!r}{hint}"
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        given = _either(root, key)
        if given is None:
            yield (key,), ErrorCode.MISSING_FIELD, f"{key} is missing; write `{key}: {expected}`"
        elif given != expected:
            yield (key,), ErrorCode.INVALID_FIELD, f"{key} must be {expected}, which is what this version reads"
    if "spec" not in root:
        yield ("spec",), ErrorCode.MISSING_FIELD, "spec is missing; it holds the options and the tenants"
        return
    spec = root["spec"]
    if spec is None:
        return
    if not isinstance(spec, dict):
        yield ("spec",), ErrorCode.INVALID_FIELD, "spec must be a mapping"
        return
    yield from _spec_problems(cast("dict[str, object]", spec))


SPEC_FIELDS = frozenset(
    {
        "planId",
        "planVersion",
        "maxConcurrency",
        "onConflict",
        "rollback",
        "retry",
        "health",
        "services",
        "tenants",
        "tenantsFrom",
    }
)


def _spec_problems(spec: Mapping[str, object]) -> Iterator[tuple[FieldPath, ErrorCode, str]]:
    tenants = spec.get("tenants")
    if tenants is not None and not isinstance(tenants, list):
        yield TENANTS, ErrorCode.INVALID_FIELD, "tenants must be a list of TenantDeployConfig"
    if "tenantsFrom" in spec and "tenants_from" in spec:
        yield ("spec", "tenants_from"), ErrorCode.INVALID_FIELD, "tenantsFrom is given twice; keep one of them"
    patterns = _either(spec, "tenantsFrom")
    if patterns is None:
        return
    if not isinstance(patterns, list) or not all(
        isinstance(pattern, str) and pattern.strip() for pattern in cast("list[object]", patterns)
    ):
        yield ("spec", "tenantsFrom"), ErrorCode.INVALID_FIELD, "tenantsFrom must be a list of file patterns"


_SNAKE = {"apiVersion": "api_version", "tenantsFrom": "tenants_from"}


def _either(mapping: Mapping[str, object], key: str) -> object:
    return mapping.get(key, mapping.get(_SNAKE.get(key, key)))


# --- refusals ------------------------------------------------------------------------------------------------------


def _refused(name: str, errors: Iterable[PlanSyntaxError]) -> InvalidPlanError:
    return _invalid(
        Finding(
            tenant_id=None,
            field="",
            code=ErrorCode.INVALID_PLAN,
            message=error.message,
            file=name,
            line=None if error.place is None else error.place.line,
            column=None if error.place is None else error.place.column,
        )
        for error in errors
    )


def _invalid(findings: Iterable[Finding]) -> InvalidPlanError:
    found = tuple(findings)
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return InvalidPlanError(f"{first.place}: {first.message}{more}", findings=found)
