"""A health client that answers what the test wrote down."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeGuard, cast

Answer = (
    Mapping[str, object] | BaseException | Callable[[str], "Mapping[str, object] | Awaitable[Mapping[str, object]]"]
)
"""A body, an exception to raise, or a function of the URL (plain or async) that gives or raises either."""


class ScriptedHealthCheckClient:
    """
    Implements ``switchover.spi.HealthCheckClient`` from a script.

    Args:
        script: Answers per URL, used one after another; the last one is repeated for ever. The key ``*`` is for every
            URL that has no script of its own.

    Attributes:
        calls: Every URL that was asked, in order.
        in_flight_peak: The most requests that were open at the same time.
    """

    def __init__(self, script: Mapping[str, Sequence[Answer]] | None = None) -> None:
        self._script: dict[str, list[Answer]] = {}
        self.calls: list[str] = []
        self.in_flight_peak = 0
        self._in_flight = 0
        for url, answers in (script or {}).items():
            self.script(url, *answers)

    def script(self, url: str, *answers: Answer) -> None:
        """Replace what comes next for this URL, from its first answer on."""
        if not answers:
            msg = f"the script of {url!r} needs at least one answer"
            raise ValueError(msg)
        self._script[url] = list(answers)

    async def get(self, url: str) -> Mapping[str, object]:
        """
        The next answer.

        Raises:
            LookupError: Nobody wrote a script for this URL.
        """
        self.calls.append(url)
        answers = self._script.get(url) or self._script.get("*")
        if answers is None:
            msg = f"no script for {url!r}; known: {', '.join(self._script) or 'none'}"
            raise LookupError(msg)
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        self._in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self._in_flight)
        try:
            await asyncio.sleep(0)  # a real client yields here, so callers must bear it
            return await _give(answer, url)
        finally:
            self._in_flight -= 1


async def _give(answer: Answer, url: str) -> Mapping[str, object]:
    if isinstance(answer, BaseException):
        raise answer
    if _is_body(answer):
        return answer
    return await cast("Callable[[str], Awaitable[Mapping[str, object]]]", answer)(url)


def _is_body(answer: Answer) -> TypeGuard[Mapping[str, object]]:
    return isinstance(answer, Mapping)
