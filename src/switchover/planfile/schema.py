"""
The JSON Schema of plan files, for editors and other programs.

``python -m switchover.planfile.schema`` writes ``schema.json`` beside this module from the model; a test says when that
was forgotten.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import orjson

_FILE = "schema.json"
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def plan_schema() -> dict[str, Any]:
    """The shipped schema (draft 2020-12)."""
    return cast("dict[str, Any]", orjson.loads(files("switchover.planfile").joinpath(_FILE).read_bytes()))


def generate() -> dict[str, Any]:
    """The schema as the model says it is."""
    # The models are only needed here: reading the shipped file is what programs do.
    from pydantic import TypeAdapter  # noqa: PLC0415

    from switchover.dto import TenantDeployConfig  # noqa: PLC0415
    from switchover.planfile.model import PlanDocument  # noqa: PLC0415

    adapter: TypeAdapter[Any] = TypeAdapter(PlanDocument | list[TenantDeployConfig])
    schema = adapter.json_schema(by_alias=True)
    return {"$schema": SCHEMA_ID, "title": "Switchover plan", **schema}


def main() -> None:
    """Write the schema."""
    text = orjson.dumps(generate(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    Path(__file__).with_name(_FILE).write_bytes(text)


if __name__ == "__main__":
    main()
