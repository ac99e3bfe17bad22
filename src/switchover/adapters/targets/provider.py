"""
From a target's URL to the target.

The provider names no technology: whoever puts the program together says which family serves which scheme, and a family
is made when its scheme is first asked for, so that a driver that nobody needs is never imported.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from switchover.errors import ErrorCode, StageError
from switchover.redaction import without_credentials
from switchover.spi import BroadcastTarget, ConfigTarget


class TargetFamily(Protocol):
    """All targets of one technology; shares connections between them."""

    def config_target(self, url: str) -> ConfigTarget:
        """Raises ``StageError`` when the URL is no good, or this family holds no configuration."""
        ...

    def broadcast_target(self, url: str) -> BroadcastTarget:
        """Raises ``StageError`` when the URL is no good, or this family sends nothing."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


FamilyFactory = Callable[[], TargetFamily]


class SchemeTargetProvider:
    """
    Implements ``switchover.spi.TargetProvider``.

    Args:
        families: What makes the family of a scheme. Schemes with the same factory share one family.
    """

    def __init__(self, families: Mapping[str, FamilyFactory]) -> None:
        self._factories = dict(families)
        self._families: dict[FamilyFactory, TargetFamily] = {}
        self._closed = False

    def config_target(self, url: str) -> ConfigTarget:
        """Raises ``StageError`` for a scheme that nobody serves."""
        return self._family(url).config_target(url)

    def broadcast_target(self, url: str) -> BroadcastTarget:
        """Raises ``StageError`` for a scheme that nobody serves."""
        return self._family(url).broadcast_target(url)

    async def aclose(self) -> None:
        """Close what was opened; closing twice is fine."""
        self._closed = True
        families = list(self._families.values())
        self._families.clear()
        for family in families:
            await family.aclose()

    def _family(self, url: str) -> TargetFamily:
        if self._closed:
            msg = f"the targets are closed; {without_credentials(url)} cannot be reached any more"
            raise StageError(msg, code=ErrorCode.INTERNAL_ERROR)
        scheme = url.partition("://")[0].lower()
        factory = self._factories.get(scheme)
        if factory is None:
            known = ", ".join(sorted(self._factories))
            msg = f"no target serves {without_credentials(url)!r}; known schemes: {known}"
            raise StageError(msg, code=ErrorCode.INVALID_FIELD)
        family = self._families.get(factory)
        if family is None:
            try:
                family = self._families[factory] = factory()
            except ModuleNotFoundError as error:
                msg = (
                    f"{scheme}:// targets need the package {error.name!r}, which is not installed; "
                    f"`pip install 'switchover[{error.name}]'` brings it"
                )
                raise StageError(msg) from error
        return family
