"""Does Redis hold, byte for byte, what it held before the switch? The generations beside the values do not count."""

import argparse
import sys
from typing import cast

from fleet import State, state_before
from redis import Redis

GENERATION = b":generation"


def state_now(redis: Redis) -> State:
    """Everything in the database, generations apart."""
    state: State = {}
    for key in cast("list[bytes]", redis.keys()):
        if key.endswith(GENERATION):
            continue
        if redis.type(key) == b"hash":
            fields = cast("dict[bytes, bytes]", redis.hgetall(key))
            values = {name.decode(): value for name, value in fields.items() if not name.endswith(GENERATION)}
            if values:
                state[key.decode()] = values
        else:
            state[key.decode()] = cast("bytes", redis.get(key))
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/7")
    parser.add_argument("--tenants", type=int, default=1_000)
    options = parser.parse_args()
    with Redis.from_url(options.redis) as redis:
        now = state_now(redis)
    before = state_before(options.tenants)
    different = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    for key in different[:10]:
        print(f"{key}: before {before.get(key)!r}, now {now.get(key)!r}")
    if different:
        sys.exit(f"{len(different)} keys differ")
    print(f"{len(before)} keys are byte for byte what they were")


if __name__ == "__main__":
    main()
