"""
Reading a plan file: from bytes to metadata, options and configs.

What can go wrong on the way here is reported as ``InvalidPlanError`` with findings: a file that is not there or too
large, text that is neither YAML nor JSON, a root that is no plan. What the options and configs say is judged by
``PlanFactory``, whose findings ``PlanFile.locate`` gives their line and column.
"""

import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from switchover.dto import Finding
from switchover.errors import ErrorCode, InvalidPlanError
from switchover.factory.explaining import path_text
from switchover.planfile.files import decode, read_bytes, too_large
from switchover.planfile.json_text import json_signs, parse_json
from switchover.planfile.positions import Path as FieldPath
from switchover.planfile.positions import Place, PlanSyntaxError, Sign, locate, parts_of
from switchover.planfile.root import TENANTS, either, problems_of
from switchover.planfile.tenants import configs_of, matching_files, parse_csv
from switchover.planfile.yaml_text import parse_yaml, yaml_signs

DEFAULT_MAX_BYTES = 32 * 1024 * 1024

_YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """
    A text that configs came from.

    Attributes:
        path: Read again when positions are wanted, rather than kept; ``text`` is kept only where there is no file.
        fingerprint: Of the text, so that positions are not taken from a file that has changed.
        prefix: What leads to its configs; None when the text is one config.
        first: Index of its first config.
        lines: Of a CSV file: the line of each config.
    """

    name: str
    path: Path | None
    text: str | None
    fingerprint: int
    signs: Callable[[str], Iterator[Sign]] | None
    prefix: FieldPath | None
    first: int
    max_bytes: int
    lines: "array[int] | None" = None

    def read(self) -> str | None:
        if self.path is None:
            return self.text
        try:
            text = decode(read_bytes(self.path, self.max_bytes))
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
        if finding.index is None:
            return 0
        return bisect_right(self.origins, finding.index, key=lambda origin: origin.first) - 1

    def _path_of(self, finding: Finding, origin: _Origin) -> FieldPath | None:
        parts = parts_of(finding.field)
        if finding.index is not None:
            return parts if origin.prefix is None else (*origin.prefix, finding.index - origin.first, *parts)
        if origin.prefix != TENANTS:
            return ()  # a bare list has no place for options
        match parts[:1]:
            case ("metadata",):
                return parts
            case ("configs",):
                return TENANTS
            case ("services",) if len(parts) > 1 and "services" not in self.options:
                return None  # the catalogue of the settings is in no plan file
            case _:
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
        data = read_bytes(file, max_bytes)
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
        raise _refused(name, [too_large(len(data), max_bytes)])
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
            text = decode(data)
            value, signs = _parse(text, self._name)
        except PlanSyntaxError as error:
            raise _refused(self._name, [error]) from error
        if isinstance(value, list):
            self._add(cast("list[object]", value), name=self._name, path=self._path, text=text, signs=signs, prefix=())
            return self._plan_file(None, {})
        problems = problems_of(value)
        if problems:
            places = locate(signs(text), [path for path, _, _ in problems])
            raise _invalid(
                Finding(
                    tenant_id=None,
                    field=path_text(path),
                    code=code,
                    message=message,
                    file=self._name,
                    line=places[path].line,
                    column=places[path].column,
                )
                for path, code, message in problems
            )
        root = cast("dict[str, object]", value)
        spec = cast("dict[str, object]", root["spec"] or {})
        self._add(
            cast("list[object]", spec.get("tenants") or []),
            name=self._name,
            path=self._path,
            text=text,
            signs=signs,
            prefix=TENANTS,
        )
        patterns = cast("list[str]", either(spec, "tenantsFrom") or [])
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
                max_bytes=self._max_bytes,
                lines=None if lines is None else array("l", lines),
            )
        )
        self._configs.extend(configs)

    def _add_files(self, pattern: str) -> None:
        if self._base is None:
            raise PlanSyntaxError("tenantsFrom names files beside the plan file, and this plan came without one")
        known = {origin.path for origin in self._origins}
        for file in matching_files(pattern, self._base):
            if file in known:
                continue
            name = str(file)
            try:
                text = decode(read_bytes(file, self._max_bytes))
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
