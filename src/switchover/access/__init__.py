"""Who comes in: tokens, sessions, limits on failed logins, and the audit log of all that."""

from switchover.access.control import AccessControl, IssuedToken
from switchover.access.limiter import LoginLimiter

__all__ = ["AccessControl", "IssuedToken", "LoginLimiter"]
