"""Passwords inside of URLs are taken out of whatever leaves as JSON, wherever they stand."""

import re

_PASSWORD = re.compile(rb'(://[^/\s"@:\\]*):[^/\s"\\]*@')


def redacted(data: bytes) -> bytes:
    """JSON text without passwords in URLs: what stands between user and host becomes ``***``."""
    return _PASSWORD.sub(rb"\1:***@", data) if b"@" in data else data
