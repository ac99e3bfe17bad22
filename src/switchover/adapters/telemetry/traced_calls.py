"""Targets and health clients that do what those inside do, and tell of each call."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from switchover.redaction import without_credentials
from switchover.spi import BroadcastTarget, ConfigTarget, HealthCheckClient, HeldValue, TargetProvider

Attributes = Mapping[str, str | int | bool]
Call = Callable[[str, Attributes], AbstractContextManager[None]]
"""Open while a call lasts: its name, and what is worth knowing about it."""


class TracedTargets:
    """A ``TargetProvider``."""

    def __init__(self, inner: TargetProvider, call: Call) -> None:
        self._inner = inner
        self._call = call

    def config_target(self, url: str) -> ConfigTarget:
        """As the one inside."""
        return _TracedConfigTarget(self._inner.config_target(url), url, self._call)

    def broadcast_target(self, url: str) -> BroadcastTarget:
        """As the one inside."""
        return _TracedBroadcastTarget(self._inner.broadcast_target(url), url, self._call)


class TracedHealthCheckClient:
    """A ``HealthCheckClient``."""

    def __init__(self, inner: HealthCheckClient, call: Call) -> None:
        self._inner = inner
        self._call = call

    async def get(self, url: str) -> Mapping[str, object]:
        """As the one inside."""
        with self._call("health GET", {"switchover.target": without_credentials(url)}):
            return await self._inner.get(url)


class _TracedConfigTarget:
    def __init__(self, inner: ConfigTarget, url: str, call: Call) -> None:
        self._inner = inner
        self._target = without_credentials(url)
        self._call = call

    def _about(self, key: str, field: str | None, generation: int | None = None) -> Attributes:
        about: dict[str, str | int | bool] = {"switchover.target": self._target, "switchover.key": key}
        if field is not None:
            about["switchover.field"] = field
        if generation is not None:
            about["switchover.generation"] = generation
        return about

    async def read(self, key: str, field: str | None) -> HeldValue:
        with self._call("target read", self._about(key, field)):
            return await self._inner.read(key, field)

    async def write(self, key: str, field: str | None, value: bytes, generation: int) -> None:
        with self._call("target write", self._about(key, field, generation)):
            await self._inner.write(key, field, value, generation)

    async def remove(self, key: str, field: str | None, generation: int) -> None:
        with self._call("target remove", self._about(key, field, generation)):
            await self._inner.remove(key, field, generation)


class _TracedBroadcastTarget:
    def __init__(self, inner: BroadcastTarget, url: str, call: Call) -> None:
        self._inner = inner
        self._target = without_credentials(url)
        self._call = call

    async def publish(self, channel: str | None, message: bytes) -> int | None:
        about: dict[str, str | int | bool] = {"switchover.target": self._target}
        if channel is not None:
            about["switchover.channel"] = channel
        with self._call("target publish", about):
            return await self._inner.publish(channel, message)
