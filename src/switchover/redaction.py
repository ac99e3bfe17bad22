"""
Secrets are taken out of whatever leaves this program: the one place that knows what a secret looks like.

Targets are reached by URLs that carry users and passwords, so the store has to have them; nothing else may. They are
taken out twice: where a text is made that is kept or told (an error, a failure, a finding, an entry of the audit log, a
log line, somebody's reason), and where JSON or a page leaves, which also shows configurations as they were given.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

_GONE: Final = "***"
_SECRET_WORDS: Final = (
    *("pass", "pwd", "token", "secret", "key", "auth", "user", "sig", "cred", "session", "jwt", "code"),
)
"""What a parameter's name contains when its value is nobody's business; rather too many than one too few."""

_USER_SHOWN: Final = frozenset({"postgresql:", "postgres:"})
"""Stores, which people are told to name again; nobody's token is a user there."""

_USERINFO: Final = r'(?:[^ \t\r\n/@"\\]|\\\\)*@'
_URL: Final = re.compile(rf"""(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://(?:{_USERINFO})?[^\s"'<>`\\]*""")
_JSON_URL: Final = re.compile(_URL.pattern.encode())
_CREDENTIAL: Final = re.compile(
    r"""
    \b(?P<kind>bearer|basic)\s+(?=\S*[0-9=])[A-Za-z0-9._~+/=-]{8,}
    | swo_[A-Za-z0-9_-]{8,}
    | (?<![\w-])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}
    | (?P<name>(?<![\w-])[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|cookie|session))
      =(?:"[^"]*"|'[^']*'|[^\s&;,"']+)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HINT: Final = re.compile(r"://|=|swo_|eyJ|bearer|basic", re.IGNORECASE)
_ENDS_A_SENTENCE: Final = ".,;:!?)]"
_SEPARATOR: Final = re.compile("([&;])")


def without_secrets(text: str) -> str:
    """A text for people as it may be kept: URLs without credentials, and what looks like a credential replaced."""
    if _HINT.search(text) is None:
        return text
    shown = _URL.sub(lambda match: _in_prose(match[0]), text) if "://" in text else text
    return _CREDENTIAL.sub(_named, shown)


def _named(match: "re.Match[str]") -> str:
    if match["kind"] is not None:
        return f"{match['kind']} {_GONE}"
    return _GONE if match["name"] is None else f"{match['name']}={_GONE}"


def redacted(data: bytes) -> bytes:
    """JSON text, its URLs without credentials; it stays JSON."""
    if b"://" not in data:
        return data
    return _JSON_URL.sub(lambda match: _in_prose(match[0].decode("utf-8", "replace")).encode(), data)


def _in_prose(found: str) -> str:
    """What ends a sentence is no part of the URL in it, and so of no port."""
    url = found.rstrip(_ENDS_A_SENTENCE)
    return without_credentials(url) + found[len(url) :]


@lru_cache(maxsize=1024)  # the targets of a plan are few, and each of its writes names one
def without_credentials(url: str) -> str:
    """
    The URL as it may be shown: user and password gone, secrets in query and fragment replaced by ``***``.

    A password that contains a slash, or was cut off before its ``@``, is gone as well: what stands where a port should
    and is none is taken for one.
    """
    url = url.encode("utf-8", "backslashreplace").decode()  # what a server sends in a header may be no text
    scheme, separator, rest = url.partition("//")
    if not separator or (scheme and not scheme.endswith(":")):
        return url
    authority, tail = _split(rest)
    if "@" in authority:
        user_info, _, authority = authority.rpartition("@")
        if scheme in _USER_SHOWN:
            authority = f"{user_info.partition(':')[0]}@{authority}"
    elif _is_torn(authority):
        authority, tail = _split(tail.rpartition("@")[2]) if "@" in tail else (_GONE, tail)
    path, mark, fragment = tail.partition("#")
    path, question, query = path.partition("?")
    return f"{scheme}//{authority}{path}{question}{_parameters(query)}{mark}{_parameters(fragment)}"


def _split(rest: str) -> tuple[str, str]:
    end = next((index for index, char in enumerate(rest) if char in "/?#"), len(rest))
    return rest[:end], rest[end:]


def _is_torn(authority: str) -> bool:
    host, colon, port = authority.rpartition(":")
    if not colon or "[" in authority or "{" in port:
        return False  # no port, an IPv6 address, or a template
    return not host or not (port.isascii() and (port.isdigit() or not port))


def _parameters(text: str) -> str:
    if "=" not in text:
        return text
    return "".join(_parameter(part) for part in _SEPARATOR.split(text))


def _parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    is_secret = value and any(word in unquote_plus(name).lower() for word in _SECRET_WORDS)
    return f"{name}={_GONE}" if equals and is_secret else part


def without_password(url: str) -> str:
    """
    The URL of a store as it may be shown and typed again: the password is gone, and secrets among the options.

    Nothing but the scheme is left where an unescaped character in the password hides its end.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user_info, at, host = authority.rpartition("@")
    if not authority or not separator:
        return url
    database, mark, query = path.partition("?")
    if "@" in database or "#" in rest or ("?" in authority and at):
        return f"{scheme}://..."
    host, early_mark, early_query = host.partition("?")
    if early_mark:
        mark, query = early_mark, early_query + slash + path
        slash, database = "", ""
    return f"{scheme}://{user_info.partition(':')[0]}{at}{host}{slash}{database}{mark}{_parameters(query)}"
