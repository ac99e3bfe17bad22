"""What may not be installed."""

from importlib.util import find_spec

from switchover.interfaces.cli.exit_codes import ExitCode
from switchover.interfaces.cli.failing import CommandError

_SERVER = ("fastapi", "jinja2", "multipart", "uvicorn")


def need_server_extra(verb: str) -> None:
    """
    What the server needs is installed.

    Raises:
        CommandError: It is not; the message says how to install it.
    """
    missing = [name for name in _SERVER if find_spec(name) is None]
    if missing:
        message = f"{verb} needs the extra [server], and {missing[0]} is missing: pip install 'switchover[server]'"
        raise CommandError(message, ExitCode.USAGE)
