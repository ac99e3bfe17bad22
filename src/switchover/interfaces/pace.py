"""How fast a plan goes, and when it will be through at that pace."""

from collections import deque

_WINDOW_SECONDS = 30.0
_LEAST_SECONDS = 1.0


class Pace:
    """Tasks settled per second over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, settled: int) -> float | None:
        """
        Note how many are settled now (monotonic seconds).

        Returns:
            Tasks per second; None while that says nothing.
        """
        seen = self._seen
        seen.append((now, settled))
        while len(seen) > 2 and seen[1][0] <= now - _WINDOW_SECONDS:  # noqa: PLR2004  # two make a difference
            seen.popleft()
        first, before = seen[0]
        if now - first < _LEAST_SECONDS or settled <= before:
            return None
        return (settled - before) / (now - first)
