"""
The driver's lease, kept alive from a thread.

The server alone judges it, by its own clock: a lease that was not renewed for four seconds is over, so a driver that
was killed is followed by the next one within five. A thread renews it, because the event loop may have a busy second
when a large plan comes in; a process that is frozen or dead renews nothing. Losing the lease needs no noticing here:
every commit carries its epoch, and the server refuses an old one.
"""

import threading
from typing import Any, Final, Protocol, cast

from redis import ConnectionPool, Redis, connection
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from switchover.adapters.stores.redis.address import Address
from switchover.adapters.stores.redis.refusals import BROKEN
from switchover.adapters.stores.redis.server import script
from switchover.spi import DriverLease

LEASE_SECONDS: Final = 4.0
"""How long a lease lives after its last renewal."""

_RENEW_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 1.5

_driver: Any = connection
"""redis-py leaves the function untyped."""


class _Client(Protocol):
    def eval(self, script: str, numkeys: int, *keys_and_args: str | int) -> Any: ...  # noqa: ANN401  # redis-py's
    def evalsha(self, sha: str, numkeys: int, *keys_and_args: str | int) -> Any: ...  # noqa: ANN401  # as above


class Renewal:
    """
    Renews one lease until it is stopped, or another process has it.

    Args:
        holder: Tells this holder from another one with the same epoch, as after a restored backup.
    """

    def __init__(self, address: Address, lease: DriverLease, holder: str) -> None:
        self.lease = lease
        self.holder = holder
        self._address = address
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-lease", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """The lease was ours when it was looked at last."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def stop(self) -> None:
        """Renew no more; does not wait for an answer that is on its way."""
        self._stopping.set()

    def _run(self) -> None:
        options: dict[str, Any] = _driver.parse_url(self._address.url)
        pool = ConnectionPool(
            **options,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        client = cast("_Client", Redis(connection_pool=pool))
        try:
            while not self._stopping.wait(_RENEW_SECONDS):
                try:
                    if self._renew(client) is None:
                        return
                except BROKEN:
                    continue  # the server is away: when it is back, it knows whether the lease is still ours
        finally:
            pool.disconnect()

    def _renew(self, client: _Client) -> object:
        wanted = script("lease")
        milliseconds = int(LEASE_SECONDS * 1000)
        arguments = (self._address.prefix, "renew", str(self.lease.epoch), self.holder, milliseconds)
        try:
            return cast("object", client.evalsha(wanted.digest, 0, *arguments))
        except NoScriptError:
            return cast("object", client.eval(wanted.text, 0, *arguments))
