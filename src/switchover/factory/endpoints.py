"""
Whether an endpoint is one: addresses, names, ports and URLs of a ``NetworkEndpoint``.

Literal addresses are judged here; what a name resolves to is judged when it is asked, at each request. The
allow-list is about the addresses that this program may connect to: an http(s) URL in ``value``, ``targetDomain`` and
``targetIp``. Nothing ever connects to a source address, so only its spelling is checked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from switchover.domain.addresses import AllowList
from switchover.domain.task import NetworkEndpointSnapshot, TenantDeployConfigSnapshot
from switchover.domain.wire import CONFIG_NAMES
from switchover.errors import ErrorCode, StageError
from switchover.factory.explaining import shown
from switchover.stages.health_check import is_http_url
from switchover.stages.templates import compile_template

_IPV4 = r"((?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]))"
_IPV4_PORT = re.compile(rf"{_IPV4}(?::([0-9]{{1,5}}))?")
_PLAIN_URL = re.compile(rf"https?://{_IPV4}(?::([0-9]{{1,5}}))?(?:/[!-\[\]-z|~]*)?")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_LARGEST_PORT = 65_535
_LONGEST_NAME = 253
_LONGEST_SHOWN_REASON = 200
_SNAKE_NAMES = {wire_name: name for name, wire_name in CONFIG_NAMES.items()}


@dataclass(frozen=True, slots=True)
class EndpointProblem:
    """What is wrong with one field of an endpoint; ``field`` is None when it is about the whole."""

    field: str | None
    code: ErrorCode
    message: str

    @property
    def suffix(self) -> str:
        """What comes after the endpoint in a field path."""
        return "" if self.field is None else f".{self.field}"


class BadAddressError(ValueError):
    """An address, name, port or URL that is none; the message says why."""


class EndpointJudge:
    """
    Judges endpoints.

    Args:
        asked: A health check takes the tenant's endpoints, so each needs an address.
    """

    def __init__(self, allow_list: AllowList, *, asked: bool) -> None:
        self._permits = allow_list.permits
        self._asked = asked

    def problems(
        self, endpoint: NetworkEndpointSnapshot, config: TenantDeployConfigSnapshot
    ) -> Sequence[EndpointProblem]:
        """Everything that is wrong with it; placeholders are looked up in ``config``."""
        found: list[EndpointProblem] = []
        value, target_ip, target_domain = endpoint.value, endpoint.target_ip, endpoint.target_domain
        usable = False
        if value is not None and "://" in value:
            usable = is_http_url(value)
            self._judge("value", value, config, found)
        if target_ip is not None and target_ip.strip():
            usable = True
            self._judge("targetIp", target_ip, config, found)
        if target_domain is not None and target_domain.strip():
            usable = True
            self._judge("targetDomain", target_domain, config, found)
        if endpoint.source_ip is not None and endpoint.source_ip.strip():
            self._judge("sourceIp", endpoint.source_ip, config, found)
        if endpoint.source_domain is not None and endpoint.source_domain.strip():
            self._judge("sourceDomain", endpoint.source_domain, config, found)
        if self._asked and not usable:
            message = "a health check asks this endpoint: give a URL in value, a targetDomain or a targetIp"
            found.append(EndpointProblem(None, ErrorCode.INVALID_ENDPOINT, message))
        return found

    def _judge(
        self, wire_name: str, text: str, config: TenantDeployConfigSnapshot, found: list[EndpointProblem]
    ) -> None:
        try:
            host = self._host(wire_name, text, config)
        except BadAddressError as error:
            found.append(EndpointProblem(wire_name, ErrorCode.INVALID_ENDPOINT, f"{wire_name}: {error}"))
            return
        if host is None or wire_name.startswith("source") or self._permits(host):
            return
        message = (
            f"{wire_name}: {host} is outside the networks that may be reached; "
            "if it is meant, the operator adds it to endpoint_allow_list"
        )
        found.append(EndpointProblem(wire_name, ErrorCode.ENDPOINT_NOT_ALLOWED, message))

    def _host(self, wire_name: str, text: str, config: TenantDeployConfigSnapshot) -> str | None:
        """
        The literal address to judge; None for a name.

        Raises:
            BadAddressError: It is neither.
        """
        pattern = _PLAIN_URL if wire_name == "value" else _IPV4_PORT
        match = pattern.fullmatch(text)
        if match is not None and wire_name != "sourceDomain":
            _check_port(match[2])
            return match[1]
        if "{" in text and not wire_name.startswith("source"):
            return self._templated(wire_name, text, config)
        if wire_name == "value":
            return _url_host(text)
        host, port = _split_port(text.strip())
        _check_port(port)
        if wire_name.endswith("Ip"):
            return _literal(host)
        return _name_or_literal(host)

    def _templated(self, wire_name: str, text: str, config: TenantDeployConfigSnapshot) -> str | None:
        try:
            template = compile_template(text)
        except StageError as error:
            raise BadAddressError(error.message[:_LONGEST_SHOWN_REASON]) from error
        for field in template.required_fields:
            value = getattr(config, _SNAKE_NAMES[field])
            # A planVersion may still come from the plan.
            if (value is None or value == "") and field != "planVersion":
                message = f"it uses {field}, which the config does not have"
                raise BadAddressError(message)
        if wire_name == "value":
            return _url_host(text)
        return None  # judged when it is asked


def _literal(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        message = f"{shown(text)} is no IP address"
        raise BadAddressError(message) from error


def _check_port(text: str | None) -> None:
    if text is None:
        return
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= _LARGEST_PORT):  # noqa: PLR2004
        message = f"{shown(text)} is no port: 1 to {_LARGEST_PORT}"
        raise BadAddressError(message)


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            message = f"{shown(text)} is neither [IPv6] nor [IPv6]:port"
            raise BadAddressError(message)
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None  # a bare IPv6 address
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _name_or_literal(host: str) -> str | None:
    if ":" in host:
        return _literal(host)
    ascii_host = host
    if not host.isascii():
        try:
            ascii_host = host[: _LONGEST_NAME + 1].encode("idna").decode("ascii")
        except UnicodeError as error:
            message = f"{shown(host)} is no domain"
            raise BadAddressError(message) from error
    labels = ascii_host.removesuffix(".").split(".")
    if labels[-1].isdigit():
        # Resolvers read 127.1 and 2130706433 as addresses: what looks like one must be one.
        return _literal(ascii_host)
    if len(ascii_host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        message = f"{shown(host)} is no domain"
        raise BadAddressError(message)
    if labels[-1][:2].lower() == "0x":
        message = f"{shown(host)} is no domain: some resolvers read it as an address"
        raise BadAddressError(message)
    return None


def _url_host(text: str) -> str | None:
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() not in {"http", "https"}:
        message = f"{shown(text)} is no http or https URL"
        raise BadAddressError(message)
    url = text.strip()
    if any(char <= " " or char in {"\\", "\x7f"} for char in url):
        message = "the URL contains a space, a control character or a backslash"
        raise BadAddressError(message)
    try:
        netloc = urlsplit(url).netloc
    except ValueError as error:
        message = f"{shown(text)} is no URL: {str(error)[:_LONGEST_SHOWN_REASON]}"
        raise BadAddressError(message) from error
    host_and_port = netloc.rpartition("@")[2]
    if "{" in host_and_port:
        return None  # judged when it is asked
    host, port = _split_port(host_and_port)
    if not host:
        message = f"{shown(text)} names no host"
        raise BadAddressError(message)
    _check_port(port or None)
    return _name_or_literal(host)
