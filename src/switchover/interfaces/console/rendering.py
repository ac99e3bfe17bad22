"""Templates and static files."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from switchover.interfaces.console.wording import FILTERS
from switchover.redaction import without_secrets

_STATIC = files("switchover.interfaces.console") / "static"
_TYPES = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


class Renderer:
    """
    Turns a template into an answer.

    Args:
        root: The path under which the console is served, without a slash at its end.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._environment = Environment(
            loader=PackageLoader("switchover.interfaces.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
        )
        # Jinja types its filters as those that it brings along.
        cast("dict[str, object]", self._environment.filters).update(FILTERS)
        self._always: Mapping[str, object] = {"root": root, "static": self._address}

    def _address(self, name: str) -> str:
        return f"{self.root}/static/{_version(name)}/{name}"

    def page(self, template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
        """A page; it is never kept by a cache."""
        text = self._environment.get_template(template).render({**self._always, **values})
        return HTMLResponse(text, status_code=status, headers={"Cache-Control": "no-store"})


def _shown(value: object) -> object:
    """What stands on a page has no secrets, wherever it comes from; our own markup is left as it is."""
    return without_secrets(value) if type(value) is str else value


def static_file(name: str) -> Response | None:
    """A file that pages link to; its address changes with its content, so it may be kept for ever."""
    if name not in _TYPES:
        return None
    return Response(_content(name), media_type=_TYPES[name], headers={"Cache-Control": _FOR_EVER})


@cache
def _content(name: str) -> bytes:
    return (_STATIC / name).read_bytes()


@cache
def _version(name: str) -> str:
    return sha256(_content(name)).hexdigest()[:12]
