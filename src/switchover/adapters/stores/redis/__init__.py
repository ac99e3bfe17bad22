"""The store over a Redis server."""

from switchover.adapters.stores.redis.store import RedisExecutionStore

__all__ = ["RedisExecutionStore"]
