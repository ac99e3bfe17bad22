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
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
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
    """In the environment a list of texts is JSON, or simply has commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return pydantic_core.from_json(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_from_text)]


SignatureAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]
"""Those with a public key: neither none at all nor a shared secret is among them."""


class OidcRole(BaseModel):
    """What those who are in a group of the identity provider may do; limited to tenants where patterns are given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str = Field(min_length=1)
    scopes: tuple[Literal["viewer", "operator", "approver", "admin"], ...] = Field(min_length=1)
    tenants: tuple[str, ...] = ("*",)


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
    event_retention_days: int | None = Field(
        default=None, ge=0, description="Events of plans that ended longer ago are forgotten; none: never."
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

    trusted_proxies: Texts = Field(
        default=(),
        description="Networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto are believed; none: nobody's.",
    )
    public_url: str | None = Field(
        default=None, description="How browsers reach the server; none: as they say themselves."
    )
    oidc_issuer: str | None = Field(default=None, description="The OpenID Connect provider; none: no such logins.")
    oidc_client_id: str | None = Field(default=None, description="How the provider knows this server.")
    oidc_client_secret: SecretStr | None = Field(
        default=None, description="What this server proves that with; none: a public client, with PKCE alone."
    )
    oidc_audience: str | None = Field(
        default=None, description="What bearer tokens of the API must be meant for; none: oidc_client_id."
    )
    oidc_authorized_parties: Texts = Field(
        default=(), description="Clients whose bearer tokens are taken; none: any, where oidc_audience is given."
    )
    oidc_scopes: Texts = Field(default=("profile", "email"), description="What a login asks for beside `openid`.")
    oidc_algorithms: Annotated[tuple[SignatureAlgorithm, ...], NoDecode, BeforeValidator(_from_text)] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"), min_length=1, description="Signatures that are taken."
    )
    oidc_leeway_seconds: float = Field(
        default=60.0, ge=0, le=300, description="How far the provider's clock may be from ours."
    )
    oidc_groups_claim: str = Field(default="groups", description="Where a token has the groups; dots lead inside.")
    oidc_name_claim: str = Field(default="preferred_username", description="Where it has the name for people.")
    oidc_label: str = Field(default="single sign-on", description="What the provider is called on the login page.")
    oidc_roles: tuple[OidcRole, ...] = Field(
        default=(), description="What groups may do: the first one that somebody is in counts."
    )
    oidc_allow_list: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(_from_text)] = Field(
        default=None, description="Networks (CIDR) where the provider may be; none: those of endpoint_allow_list."
    )

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> "ExecutorSettings":
        if self.oidc_issuer is None:
            return self
        if not self.oidc_client_id:
            raise ValueError("oidc_issuer needs oidc_client_id: how the provider knows this server")
        if not self.oidc_roles:
            raise ValueError("oidc_issuer needs oidc_roles: without a role for some group nobody could do anything")
        return self

    @field_validator("endpoint_allow_list", "oidc_allow_list", "trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for text in value or ():
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
