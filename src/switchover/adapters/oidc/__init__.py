"""OpenID Connect: what a provider publishes, the tokens that it signs, and the way of a login."""

from switchover.adapters.oidc.documents import is_safe
from switchover.adapters.oidc.provider import OidcProvider

__all__ = ["OidcProvider", "is_safe"]
