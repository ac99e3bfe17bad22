"""What may not be installed."""

from collections.abc import Sequence
from importlib.util import find_spec

from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError

_SERVER = ("fastapi", "jinja2", "multipart", "uvicorn")
_OIDC = ("joserfc",)
_OTEL = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def need_server_extra(verb: str) -> None:
    """
    What the server needs is installed.

    Raises:
        CommandError: It is not; the message says how to install it.
    """
    _need(verb, "server", _SERVER)


def need_otel_extra() -> None:
    """
    What traces need is installed.

    Raises:
        CommandError: It is not; the message says how to install it.
    """
    _need("the setting traces", "otel", _OTEL)


def need_oidc_extra() -> None:
    """
    What logins of an identity provider need is installed.

    Raises:
        CommandError: It is not; the message says how to install it.
    """
    _need("the setting oidc_issuer", "oidc", _OIDC)


def _need(who: str, extra: str, modules: Sequence[str]) -> None:
    missing = next((name for name in modules if not _is_there(name)), None)
    if missing is not None:
        message = f"{who} needs the extra [{extra}], and {missing} is missing: pip install 'switchover[{extra}]'"
        raise CommandError(message, ExitCode.USAGE)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what it is a part of is missing, too
        return False
