"""Puts together the people of an identity provider: the part of the composition root that a server alone needs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from switchover.access import People, Role
from switchover.adapters.network import guarded_session
from switchover.config import ExecutorSettings, OidcRole
from switchover.domain.access import TenantSelector, parse_scopes
from switchover.domain.addresses import AllowList
from switchover.errors import ErrorCode, ExecutorError
from switchover.spi import Clock


@asynccontextmanager
async def open_people(settings: ExecutorSettings, clock: Clock) -> AsyncGenerator[People | None]:
    """
    The people of the identity provider that the settings name; None when they name none.

    Raises:
        ExecutorError: The settings cannot be used, or the extra [oidc] is not installed.
    """
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        yield None
        return
    try:
        from switchover.adapters.oidc import OidcProvider, is_safe  # an extra
    except ModuleNotFoundError as error:
        message = f"oidc_issuer needs the extra [oidc], and {error.name} is missing: pip install 'switchover[oidc]'"
        raise ExecutorError(message, code=ErrorCode.INVALID_FIELD) from error
    if not is_safe(settings.oidc_issuer):
        message = f"oidc_issuer {settings.oidc_issuer!r} is no https URL; http is for a provider on this machine alone"
        raise ExecutorError(message, code=ErrorCode.INVALID_FIELD)
    secret = settings.oidc_client_secret
    networks = settings.endpoint_allow_list if settings.oidc_allow_list is None else settings.oidc_allow_list
    async with guarded_session(AllowList(networks)) as session:
        provider = OidcProvider(
            settings.oidc_issuer,
            session,
            clock,
            client_id=settings.oidc_client_id,
            client_secret=None if secret is None else secret.get_secret_value(),
            audience=settings.oidc_audience or settings.oidc_client_id,
            parties=settings.oidc_authorized_parties,
            scopes=settings.oidc_scopes,
            algorithms=settings.oidc_algorithms,
            leeway_seconds=settings.oidc_leeway_seconds,
        )
        yield People(
            provider=provider,
            roles=[_role(index, role) for index, role in enumerate(settings.oidc_roles)],
            groups_claim=settings.oidc_groups_claim,
            name_claim=settings.oidc_name_claim,
            label=settings.oidc_label,
        )


def _role(index: int, role: OidcRole) -> Role:
    try:
        return Role(group=role.group, scopes=parse_scopes(role.scopes), tenants=TenantSelector(role.tenants))
    except ValueError as error:
        raise ExecutorError(f"oidc_roles[{index}]: {error}", code=ErrorCode.INVALID_FIELD) from error
