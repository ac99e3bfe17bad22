"""
The whole plan file as a model: what the JSON Schema is made from.

Reading does not go through it: the root is checked by ``loading``, options and tenants by ``PlanFactory``, the
catalogue by ``StageCatalogue``, each with findings that say more than a schema can. Tests hold the schema and
these together.

``python -m switchover.planfile.model`` writes ``schema.json`` anew; a test says when that was forgotten.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter

from switchover.dto import NetworkEndpoint, TenantDeployConfig
from switchover.dto.configs import WireModel
from switchover.dto.options import Count, Limit, NonBlank, PlanLimits, PlanMetadata, Wait


class ConfigUpdateEntry(WireModel):
    """Write the tenant's configuration, together with the generation."""

    target: NonBlank = Field(description="redis://, rediss://, file:// or http(s)://")
    key: NonBlank = Field(description="Where the value goes; placeholders allowed.")
    field: NonBlank | None = Field(default=None, description="The member under the key; placeholders allowed.")
    value: Any = Field(description="Any JSON value; placeholders allowed in texts.")


class BroadcastEntry(WireModel):
    """Tell the running instances that the configuration changed."""

    target: NonBlank = Field(description="redis://, rediss:// or http(s)://")
    channel: NonBlank | None = Field(default=None, description="Needed for redis; placeholders allowed.")
    message: Any = Field(default=None, description="Instead of the usual message; placeholders allowed.")


class HealthCheckEntry(WireModel):
    """Ask every endpoint for its version until all answer the expected one."""

    endpoints: Annotated[list[NonBlank | NetworkEndpoint], Field(min_length=1)] | None = Field(
        default=None, description="Instead of the tenant's own."
    )
    interval: Wait = None
    attempts: Count | None = None
    timeout: Limit = None
    path: NonBlank | None = None
    version_key: NonBlank | None = None
    expect: NonBlank | None = None
    consecutive: Count | None = None


class ConfigUpdateStepEntry(WireModel):
    """A step that writes."""

    config_update: ConfigUpdateEntry


class BroadcastStepEntry(WireModel):
    """A step that tells."""

    broadcast: BroadcastEntry


class HealthCheckStepEntry(WireModel):
    """A step that asks."""

    health_check: HealthCheckEntry | None


StepEntry = ConfigUpdateStepEntry | BroadcastStepEntry | HealthCheckStepEntry


class ServiceEntry(WireModel):
    """One stage of every task."""

    name: Annotated[NonBlank, Field(max_length=128)] = Field(description="Unique in the catalogue.")
    steps: Annotated[list[StepEntry], Field(min_length=1)]


class PlanSpec(PlanLimits):
    """Options and tenants."""

    services: Annotated[list[ServiceEntry], Field(min_length=1)] | None = Field(
        default=None,
        description="The stage catalogue, in order. Default: the stage factory's, or the setting services.",
    )
    tenants: list[TenantDeployConfig] | None = Field(default=None, description="In the order in which they start.")
    tenants_from: list[NonBlank] | None = Field(
        default=None, description="Files (.json, .csv) with more tenants; globs, relative to the plan file."
    )


class PlanDocument(WireModel):
    """A plan file."""

    api_version: Literal["switchover/v1"]
    kind: Literal["Plan"]
    metadata: PlanMetadata | None = None
    spec: PlanSpec


def generate_schema() -> dict[str, Any]:
    """The JSON Schema as the model says it is."""
    adapter: TypeAdapter[Any] = TypeAdapter(PlanDocument | list[TenantDeployConfig])
    schema = adapter.json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Switchover plan", **schema}


def main() -> None:
    """Write the shipped schema."""
    text = orjson.dumps(generate_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    Path(__file__).with_name("schema.json").write_bytes(text)


if __name__ == "__main__":
    main()
