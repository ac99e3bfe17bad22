"""
``tenantsFrom``: configs in files of their own.

A ``.json`` file holds a list of TenantDeployConfig, or a single one. A ``.csv`` file has a header of field names and a
row per tenant; an empty cell is an absent field, numbers and true/false are read as such where the field is one, and
``networkEndpoints`` and ``sourceTenantDeployConfig`` hold JSON text.
"""

import csv
import glob
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from switchover.domain.wire import CONFIG_NAMES
from switchover.planfile.json_text import parse_json
from switchover.planfile.positions import Place, PlanSyntaxError

_INTEGERS = frozenset({"deployUnitId", "deployUnitVersion", "planId", "planVersion"})
_FLAGS = frozenset({"defaultFlag"})
_JSON = frozenset({"networkEndpoints", "sourceTenantDeployConfig"})
_LONGEST_NUMBER = 40
_LONGEST_CELL = 16 * 1024 * 1024

SUFFIXES = (".json", ".csv")


def matching_files(pattern: str, base: Path) -> list[Path]:
    """
    The files that a pattern names, sorted by name.

    Raises:
        PlanSyntaxError: None, or one that is neither JSON nor CSV.
    """
    try:
        found = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207  # pathlib knows no absolute ones
    except (OSError, ValueError) as error:
        raise PlanSyntaxError(f"tenantsFrom: {pattern[:200]!r} cannot be searched: {error}") from error
    files = [base / name for name in found if not (base / name).is_dir()]
    if not files:
        raise PlanSyntaxError(
            f"tenantsFrom: nothing matches {pattern[:200]!r}; patterns are relative to the plan file ({base})"
        )
    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise PlanSyntaxError(
                f"tenantsFrom: {file} is neither .json nor .csv; narrow the pattern {pattern[:200]!r}"
            )
    return files


def parse_csv(text: str) -> tuple[list[object], list[int]]:
    """
    The configs, and the line of each.

    Raises:
        PlanSyntaxError: It is no CSV, or a cell cannot be read.
    """
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    configs: list[object] = []
    lines: list[int] = []
    header: list[str] | None = None
    begins = 1
    try:
        for row in reader:
            line, begins = begins, reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [name.strip() for name in row]
                _check_header(header, line)
                continue
            if len(row) > len(header):
                raise PlanSyntaxError(f"the row has {len(row)} cells, the header {len(header)}", Place(line, 1))
            configs.append(_config(header, row, line))
            lines.append(line)
    except csv.Error as error:
        raise PlanSyntaxError(f"no valid CSV: {error}", Place(max(reader.line_num, 1), 1)) from error
    if header is None:
        raise PlanSyntaxError("the file is empty; the first line names the fields")
    return configs, lines


def _check_header(header: list[str], line: int) -> None:
    for number, name in enumerate(header):
        if not name:
            raise PlanSyntaxError(f"column {number + 1} has no name", Place(line, 1))
        if name in header[:number]:
            raise PlanSyntaxError(f"the column {name[:80]!r} comes twice", Place(line, 1))


def _config(header: list[str], row: list[str], line: int) -> dict[str, object]:
    config: dict[str, object] = {}
    for name, cell in zip(header, row, strict=False):
        if cell.strip():
            config[name] = _cell(CONFIG_NAMES.get(name, name), cell, line)
    return config


def _cell(name: str, cell: str, line: int) -> object:
    text = cell.strip()
    if name in _INTEGERS:
        digits = text.removeprefix("-")
        return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER else text
    if name in _FLAGS:
        return {"true": True, "false": False}.get(text.lower(), text)
    if name not in _JSON:
        return cell
    try:
        return parse_json(text)
    except PlanSyntaxError as error:
        raise PlanSyntaxError(f"{name}: {error.message}", Place(line, 1)) from error


def configs_of(value: object) -> tuple[list[object], bool]:
    """
    The configs of a JSON file, and whether it held a list of them.

    Raises:
        PlanSyntaxError: It holds something else.
    """
    if isinstance(value, list):
        return cast("list[object]", value), True
    if isinstance(value, dict) and "spec" not in cast("Mapping[str, Any]", value):
        return [cast("object", value)], False
    raise PlanSyntaxError(
        "tenantsFrom takes files with a list of TenantDeployConfig, or with a single one", Place(1, 1)
    )
