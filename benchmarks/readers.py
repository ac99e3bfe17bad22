"""
A thousand readers of a server's live events, on sockets of their own, in a process of their own.

    python -m benchmarks.readers PORT PLAN_ID COUNT

Prints ``READY`` when each has got the history, and reads until the plan has ended. Then one line, ``RESULT`` and the
delay of the slowest in a hundred, in seconds from the instant that an event tells of: its commit is in it. What was
history does not count. Texts are taken apart at the end, so that reading costs no more than it must.
"""

import asyncio
import json
import re
import sys
import time
from datetime import datetime
from typing import Final

_EVENT: Final = re.compile(rb'"timestamp":"([^"]+)"')
_ENDS: Final = (b'"PlanCompleted"', b'"PlanFailed"')


class Reader:
    """One connection: what came, and when."""

    def __init__(self) -> None:
        self.chunks: list[tuple[float, bytes]] = []
        self.has_history = asyncio.Event()

    async def read(self, port: int, plan_id: int) -> None:
        """Until the plan has ended."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /api/v1/plans/{plan_id}/events HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        while chunk := await reader.read(1 << 16):
            self.chunks.append((time.time(), chunk))
            if b"data: " in chunk:
                self.has_history.set()
            if any(end in chunk for end in _ENDS):
                break
        writer.close()

    def delays(self, since: float) -> list[float]:
        """Of each event that happened after that moment."""
        found: list[float] = []
        for at, chunk in self.chunks:
            for moment in _EVENT.findall(chunk):
                told_at = datetime.fromisoformat(moment.decode()).timestamp()
                if told_at > since:
                    found.append(at - told_at)
        return found


async def main(port: int, plan_id: int, count: int) -> None:
    readers = [Reader() for _ in range(count)]
    reading = [asyncio.ensure_future(reader.read(port, plan_id)) for reader in readers]
    for reader in readers:
        await reader.has_history.wait()
    since = time.time()
    print("READY", flush=True)
    await asyncio.gather(*reading)
    delays = sorted(delay for reader in readers for delay in reader.delays(since))
    print(f"RESULT {json.dumps({'event_seconds': delays[len(delays) * 99 // 100], 'events': len(delays)})}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
