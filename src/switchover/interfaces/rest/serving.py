"""
uvicorn in the loop of the executor: listening, and leaving in good order.

When asked to stop, it says that it is not ready, streams of events end at once, and the work is brought to an end while
everybody is still answered. Only then nobody new is let in, and connections that are being answered get a few seconds.
uvicorn waits for connections before anything else, so the streams have to be ended before that, or they would keep it
waiting.
"""

import asyncio
import ipaddress
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from switchover.errors import ErrorCode, ExecutorError
from switchover.interfaces.rest.live import Streams

_BACKLOG = 2_048
DRAIN_SECONDS = 5
_KEEP_ALIVE_SECONDS = 75
_MOST_FILES = 65_536


def allow_many_connections() -> None:
    """
    Ask for as many open files as this process may have.

    Service managers start a process with 1,024, for old programs' sake, and every reader of live events needs one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    with suppress(ValueError, OSError):  # then it stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """
    A socket that listens.

    Raises:
        ExecutorError: The address cannot be had; the message says why and what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(_BACKLOG)
            made.setblocking(False)  # noqa: FBT003  # the name says it
        except OSError:
            made.close()
            raise
    except OSError as error:
        message = f"{host}:{port} cannot be listened on: {error.strerror or error}; choose another --host or --port"
        raise ExecutorError(message, code=ErrorCode.UNREACHABLE) from error
    return made


def _tls(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Never ask for a password: a server that waits for one at a terminal does not start.
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"TLS: {certificate} and {key} cannot be used: {reason}; give a certificate and its key in PEM"
        raise ExecutorError(message, code=ErrorCode.INVALID_FIELD) from error
    return context


def _refuse_password() -> str:
    msg = "the key is encrypted, and this server asks for no password"
    raise ValueError(msg)


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and says when it has started."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(
    app: FastAPI,
    made: socket.socket,
    stopping: asyncio.Event,
    *,
    started: Callable[[], None],
    at_once: asyncio.Event | None = None,
    finish: Callable[[], Awaitable[object]] | None = None,
    certificate: tuple[str, str] | None = None,
) -> None:
    """
    Serve until ``stopping`` is set, and the connections have ended or had their time.

    Args:
        started: Called as soon as requests are answered.
        at_once: Set when the connections get no time.
        finish: Ends the work, while requests are still answered.
        certificate: Files with the certificate (and those up to the root) and its key; None: no TLS.

    Raises:
        ExecutorError: They cannot be used.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    config.load()
    if certificate is not None:
        config.ssl = _tls(*certificate)
    server = _Server(config, started)
    streams: Streams = app.state.streams

    async def leave() -> None:
        await stopping.wait()
        streams.close()
        try:
            if finish is not None:
                await finish()
        finally:
            server.should_exit = True
        if at_once is not None:
            await at_once.wait()
            server.force_exit = True

    leaving = asyncio.ensure_future(leave())
    try:
        await server.serve(sockets=[made])
    finally:
        failure = leaving.exception() if leaving.done() and not leaving.cancelled() else None
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await streams.aclose()
    if failure is not None:
        raise failure
