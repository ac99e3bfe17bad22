"""The JSON Schema of plan files, for editors and other programs."""

from importlib.resources import files
from typing import Any, cast

import orjson


def plan_schema() -> dict[str, Any]:
    """The shipped schema (draft 2020-12)."""
    return cast("dict[str, Any]", orjson.loads(files("switchover.planfile").joinpath("schema.json").read_bytes()))
