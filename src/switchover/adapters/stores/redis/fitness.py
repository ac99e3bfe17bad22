"""Whether a server is fit to keep the truth: what it is, and how it is set up."""

from typing import Final

from switchover.adapters.stores.redis.address import Address
from switchover.adapters.stores.redis.server import Server
from switchover.errors import StoreUnavailableError, StoreUnusableError

FORMAT: Final = 1
"""Of the keys and values that this version writes."""

_OLDEST: Final = 7
_NO_EVICTION: Final = "noeviction"


async def examine(server: Server) -> None:
    """
    See that the server keeps what it acknowledges.

    Raises:
        StoreUnusableError: It does not, and says what to do.
        StoreUnavailableError: It cannot now.
    """
    doing = "looking how it is set up"
    address = server.address
    facts = await server.info(doing, "server", "persistence", "memory", "replication", "cluster")
    complaint = _complaint(facts)
    if complaint is not None:
        raise StoreUnusableError(f"{address.shown}: {complaint}")
    if facts.get("role") != "master":
        primary = f"{facts.get('master_host')}:{facts.get('master_port')}"
        message = (
            f"{address.shown} is a read-only replica of {primary}. Let the URL name the primary; after a failover, "
            f"promote this one (REPLICAOF NO ONE)"
        )
        raise StoreUnavailableError(message)
    if address.appendfsync != "unchecked":
        await _examine_fsync(server, address)
    found = await server.command(doing, "HGET", f"{address.prefix}:meta", "format")
    if found is not None and int(found) > FORMAT:
        message = (
            f"{address.shown}: what is stored under {address.prefix}: has the format {int(found)}, and this version of "
            f"the program knows {FORMAT}. Take a newer version"
        )
        raise StoreUnusableError(message)


async def unfit(server: Server) -> list[str]:
    """Why the server does not keep what it acknowledges, if so: it may have been set up anew since it was opened."""
    try:
        await examine(server)
    except StoreUnusableError as error:
        return [str(error)]
    return []


async def describe(server: Server) -> str:
    """Version, durability and memory, for people."""
    facts = await server.info("asking for the version", "server", "persistence", "memory")
    limit = facts.get("maxmemory_human", "0B")
    bound = "no limit is set (maxmemory 0)" if limit == "0B" else f"its maxmemory is {limit}"
    version, used = facts.get("redis_version"), facts.get("used_memory_human")
    return f"Redis {version}, format {FORMAT}; the server has {used} of data in memory, and {bound}"


def _complaint(facts: dict[str, str]) -> str | None:
    version = facts.get("redis_version", "0")
    if int(version.split(".")[0]) < _OLDEST:
        return f"the server is Redis {version}, and this store needs {_OLDEST}.0 or later. Upgrade it"
    if facts.get("cluster_enabled") == "1":
        return (
            "the server is part of a cluster, and this store needs one server that has all keys. Name a server with "
            "`cluster-enabled no`"
        )
    if facts.get("aof_enabled") != "1":
        return (
            "the server has no append-only file (appendonly no), so it would lose what it acknowledged with its next "
            "crash. Set `appendonly yes` and `appendfsync always` in redis.conf, or at once with CONFIG SET and CONFIG "
            "REWRITE"
        )
    policy = facts.get("maxmemory_policy", _NO_EVICTION)
    if policy != _NO_EVICTION:
        return (
            f"the server's maxmemory-policy is {policy}, so it would throw plans and events away when memory is short. "
            f"Set `maxmemory-policy {_NO_EVICTION}` in redis.conf, or at once with CONFIG SET and CONFIG REWRITE"
        )
    return None


async def _examine_fsync(server: Server, address: Address) -> None:
    try:
        answer = await server.command("reading its appendfsync", "CONFIG", "GET", "appendfsync")
    except StoreUnusableError as error:
        message = (
            f"{error}. The store must know how the server's append-only file reaches the disk: let the user run CONFIG "
            f"GET, or vouch for it with ?appendfsync=unchecked in the URL"
        )
        raise StoreUnusableError(message) from error
    found = answer[1].decode()
    if found == "always" or (found == "everysec" and address.appendfsync == found):
        return
    risk = "what it acknowledged in the last second" if found == "everysec" else "much of what it acknowledged"
    message = (
        f"{address.shown}: the server's appendfsync is {found}, so a crash of its machine loses {risk}. Set "
        f"`appendfsync always` in redis.conf, or at once with CONFIG SET and CONFIG REWRITE"
    )
    if found == "everysec":
        message += "; or accept the loss with ?appendfsync=everysec in the URL"
    raise StoreUnusableError(message)
