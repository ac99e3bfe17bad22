"""Who comes in: tokens, sessions, limits on failed logins, and the audit log of all that."""

from switchover.access.control import AccessControl, IssuedToken
from switchover.access.limiter import LoginLimiter
from switchover.access.people import IdentityProvider, People, Role

__all__ = ["AccessControl", "IdentityProvider", "IssuedToken", "LoginLimiter", "People", "Role"]
