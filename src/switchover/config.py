"""
Settings: each default once, with its unit.

Precedence of a setting: the tenant's config, then the plan file, then these settings (arguments, then environment, then
the settings file), then the defaults written here. Source: behaviour, section 6; interfaces, section 1.
"""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic_core
from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from switchover.logs import LogFormat, LogLevel

PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)
"""The default allow-list: loopback, private and carrier networks. Link-local addresses never are."""

SETTINGS_FILE_VARIABLE = "SWITCHOVER_CONFIG"
"""Names the TOML file that settings are read from."""


def _from_text(value: object) -> object:
    """In the environment a list of networks is JSON, or simply has commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return pydantic_core.from_json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


class ExecutorSettings(BaseSettings):
    """
    How the executor behaves where neither tenant nor plan says otherwise.

    From arguments, else from the environment (``SWITCHOVER_MAX_RETRY=5``), else from the TOML file that
    ``SWITCHOVER_CONFIG`` names, else the defaults.
    """

    model_config = SettingsConfigDict(env_prefix="SWITCHOVER_", extra="forbid", frozen=True)

    health_check_interval_seconds: float = Field(
        default=3.0, ge=0, description="Wait after a failed round of a health check."
    )
    health_check_max_attempts: int = Field(default=10, ge=1, description="Rounds of a health check at most.")
    health_check_timeout_seconds: float = Field(default=2.0, gt=0, description="Limit of one health request.")
    task_progress_interval_seconds: float = Field(
        default=10.0, gt=0, description="Time between two heartbeats of a task."
    )
    step_timeout_seconds: float = Field(default=60.0, gt=0, description="Deadline of a step that has no own.")
    max_retry: int = Field(default=3, ge=0, description="Retries of one task at most.")
    max_concurrency: int = Field(default=10, ge=1, description="Tasks of one plan that run at once at most.")
    recovery: Literal["continue", "pause"] = Field(
        default="continue", description="What a restart does with tasks that were RUNNING."
    )
    endpoint_allow_list: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_from_text)] = Field(
        default=PRIVATE_NETWORKS, description="Networks (CIDR) that health checks, targets and webhooks may reach."
    )
    services: tuple[dict[str, Any], ...] = Field(
        default=(),
        description="The stage catalogue for plans that bring none; same shape as `services:` of a plan file.",
    )
    login_attempts: int = Field(
        default=10, ge=0, description="Failed logins that one address may make at once; 0: no limit."
    )
    login_refill_seconds: float = Field(default=30.0, gt=0, description="After which an address may fail once more.")
    session_seconds: float = Field(default=12 * 3600.0, ge=60, description="How long a login of the console lasts.")
    audit_retention_days: int | None = Field(
        default=None, ge=1, description="Entries of the audit log that are older are forgotten; none: never."
    )
    worker_timeout_seconds: float = Field(
        default=4.0,
        ge=3,
        description="A worker whose heartbeats stay away for so long is gone: its stages begin again.",
    )
    plan_file_max_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="Largest plan file that is read.")
    log_format: LogFormat = Field(default=LogFormat.TEXT, description="How the command line writes its log.")
    log_level: LogLevel | None = Field(
        default=None, description="Lowest level that the command line logs; none: info for `serve`, else warning."
    )
    stop_timeout_seconds: float = Field(
        default=30.0, ge=0, description="How long running stages may take to end when the command line is told to stop."
    )
    traces: bool = Field(
        default=False, description="Whether the command line sends traces, as the variables OTEL_* say where."
    )
    metrics_open: bool = Field(default=False, description="Whether /metrics is answered without a token.")

    @field_validator("endpoint_allow_list")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ip_network(text)
            except ValueError as error:
                message = f"{text!r} is no network in CIDR notation, such as 10.0.0.0/8: {error}"
                raise ValueError(message) from error
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the settings file."""
        del dotenv_settings, file_secret_settings
        path = os.environ.get(SETTINGS_FILE_VARIABLE)
        if path is None:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(path))
