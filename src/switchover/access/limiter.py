"""A limit on failed logins, per address."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network

from switchover.spi import Clock

_MOST_ADDRESSES = 10_000
_IPV6_PREFIX = 64


@dataclass(slots=True, eq=False, kw_only=True)
class LoginLimiter:
    """
    Each address has a store of attempts that fills up again with time; a failed login takes one.

    What is remembered is bounded: when too many addresses fail at once, the one that failed longest ago is forgotten.
    An IPv6 customer has a whole /64 at hand, so one of those counts as one address.

    Args:
        attempts: Failures that are open at once; 0: no limit.
        refill_seconds: After which one more is.
    """

    clock: Clock
    attempts: int
    refill_seconds: float
    most_addresses: int = _MOST_ADDRESSES
    _used: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict[str, tuple[float, float]])

    def retry_after(self, address: str) -> int:
        """Whole seconds until the next failure is open to this address; 0: it is now."""
        if not self.attempts:
            return 0
        used = self._now_used(_network(address))
        if used <= self.attempts - 1:
            return 0
        return max(1, math.ceil((used - (self.attempts - 1)) * self.refill_seconds))

    def failed(self, address: str) -> None:
        """Count a failure."""
        if not self.attempts:
            return
        key = _network(address)
        used = min(self._now_used(key) + 1, float(self.attempts))
        self._used[key] = (used, self.clock.monotonic())
        self._used.move_to_end(key)
        while len(self._used) > self.most_addresses:
            self._used.popitem(last=False)

    def _now_used(self, key: str) -> float:
        used, at = self._used.get(key, (0.0, 0.0))
        left = used - (self.clock.monotonic() - at) / self.refill_seconds
        if left <= 0:
            self._used.pop(key, None)
            return 0.0
        return left


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), _IPV6_PREFIX), strict=False).network_address)
