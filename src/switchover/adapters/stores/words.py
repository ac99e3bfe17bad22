"""What a store has heard from its server, and who waits for more."""

import asyncio

from switchover.spi import Topic


class Words:
    """Counts the words on each topic, and wakes whoever waits for the next one."""

    def __init__(self) -> None:
        self._numbers = dict.fromkeys(Topic, 0)
        self._waiting: dict[Topic, set[asyncio.Future[None]]] = {topic: set() for topic in Topic}

    def heard(self, topic: Topic) -> int:
        """Rises with every word."""
        return self._numbers[topic]

    async def hear(self, topic: Topic, seen: int) -> None:
        """Wait for the next word after ``seen``."""
        if self._numbers[topic] != seen:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[topic].add(waiter)
        try:
            await waiter
        finally:
            self._waiting[topic].discard(waiter)

    def wake(self, topic: Topic) -> None:
        """A word on this topic has come."""
        self._numbers[topic] += 1
        waiting, self._waiting[topic] = self._waiting[topic], set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def wake_all(self) -> None:
        """Words may have been missed: everybody looks."""
        for topic in Topic:
            self.wake(topic)
