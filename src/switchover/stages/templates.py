"""
Placeholders in the stage catalogue: ``tenant_config:{tenantId}``.

A placeholder is a field of the tenant's config in camelCase, or one of planId, taskId, stage and generation. ``{{`` and
``}}`` are braces. Whatever is rendered is text: ``"{deployUnitVersion}"`` gives the text ``"42"``, not the number,
exactly as inside a longer text, and so health checks compare as text. Flags are ``true`` and ``false``.

A template is compiled once, when the catalogue is read, which is when a misspelt name is reported; rendering joins
strings.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, cast
from urllib.parse import quote

import orjson

from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.task import TenantDeployConfigSnapshot
from switchover.domain.values import quick
from switchover.domain.wire import CONFIG_NAMES
from switchover.errors import ErrorCode, ErrorType, StageError, StepError

_LARGEST_INTEGER = 2**63


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateScope:
    """What placeholders stand for in one run of one step; None where it is not known."""

    config: TenantDeployConfigSnapshot
    plan_id: int | None = None
    task_id: str | None = None
    stage: str | None = None
    generation: int | None = None

    @staticmethod
    def of(context: TaskRuntimeContext, config: TenantDeployConfigSnapshot | None = None) -> "TemplateScope":
        """The scope of a step; ``config`` where another than the one to make effective is meant."""
        return TemplateScope(
            config=context.config if config is None else config,
            plan_id=context.plan_id,
            task_id=context.task_id,
            stage=context.stage,
            generation=context.generation,
        )


class _Placeholder(NamedTuple):
    name: str
    get: Callable[[TemplateScope], object]


def _config_getter(attribute: str) -> Callable[[TemplateScope], object]:
    def get(scope: TemplateScope) -> object:
        return getattr(scope.config, attribute)

    return get


def _plan_id(scope: TemplateScope) -> object:
    return scope.config.plan_id if scope.plan_id is None else scope.plan_id


_GETTERS: Mapping[str, Callable[[TemplateScope], object]] = {
    **{
        wire_name: _config_getter(name)
        for name, wire_name in CONFIG_NAMES.items()
        if name not in {"network_endpoints", "source_tenant_deploy_config", "plan_id"}
    },
    "planId": _plan_id,
    "taskId": lambda scope: scope.task_id,
    "stage": lambda scope: scope.stage,
    "generation": lambda scope: scope.generation,
}

PLACEHOLDERS: tuple[str, ...] = tuple(_GETTERS)
"""Every name that may stand between braces."""

_OF_THE_RUN = frozenset({"planId", "taskId", "stage", "generation"})
"""Placeholders that are no field of the config: they are always known, so nothing has to be validated."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_KEPT_IN_URLS = "-._~"


class Template:
    """
    A text with placeholders, compiled.

    Attributes:
        text: As it was written.
        names: The placeholders, in the order of their first use.
    """

    __slots__ = ("_constant", "_parts", "names", "text")

    def __init__(self, text: str) -> None:
        """
        Compile.

        Raises:
            StageError: UNKNOWN_FIELD for a name that nobody knows (the nearest one is named), INVALID_FIELD for a
                brace that is not closed.
        """
        self.text = text
        parts: list[str | _Placeholder] = []
        literal = ""
        end = 0
        for token in _TOKEN.finditer(text):
            literal += text[end : token.start()]
            end = token.end()
            name = cast("str | None", token.group(1))
            if name is not None:
                if literal:
                    parts.append(literal)
                    literal = ""
                parts.append(_placeholder(name.strip(), text))
            elif token.group() in {"{{", "}}"}:
                literal += token.group()[0]
            else:
                msg = f"a lone {token.group()!r} in {text!r}; write it twice when a brace is meant"
                raise StageError(msg, code=ErrorCode.INVALID_FIELD)
        literal += text[end:]
        if literal:
            parts.append(literal)
        self._parts = tuple(parts)
        self.names = tuple(dict.fromkeys(part.name for part in parts if isinstance(part, _Placeholder)))
        self._constant = None if self.names else literal

    @property
    def required_fields(self) -> frozenset[str]:
        """The config fields, in camelCase, that must be there before this can be rendered."""
        return frozenset(self.names) - _OF_THE_RUN

    def render(self, scope: TemplateScope) -> str:
        """
        Fill in.

        Raises:
            StepError: MISSING_FIELD, when the config lacks a field that the text uses.
        """
        if self._constant is not None:
            return self._constant
        return "".join([part if isinstance(part, str) else _value(part, scope, self.text) for part in self._parts])

    def render_url(self, scope: TemplateScope) -> str:
        """Fill in, with every value encoded so that it cannot be anything but one part of a URL."""
        if self._constant is not None:
            return self._constant
        return "".join(
            [part if isinstance(part, str) else _url_part(_value(part, scope, self.text)) for part in self._parts]
        )

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


@lru_cache(maxsize=4096)
def compile_template(text: str) -> Template:
    """``Template(text)``, shared by everyone who writes the same text."""
    return Template(text)


def nearest(name: str, known: Sequence[str]) -> str:
    """``; did you mean 'x'?`` for the known name that is most like it, or the list of all when none is."""
    folded = {candidate.lower().replace("_", ""): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower().replace("_", ""), list(folded), n=1, cutoff=0.6)
    if matches:
        return f"; did you mean {folded[matches[0]]!r}?"
    return f"; known: {', '.join(known)}"


def _placeholder(name: str, text: str) -> _Placeholder:
    get = _GETTERS.get(name)
    if get is None:
        msg = f"unknown placeholder {{{name}}} in {text!r}{nearest(name, PLACEHOLDERS)}"
        raise StageError(msg, code=ErrorCode.UNKNOWN_FIELD)
    return _Placeholder(name, get)


def _value(placeholder: _Placeholder, scope: TemplateScope, text: str) -> str:
    value = placeholder.get(scope)
    if isinstance(value, str):
        return value
    if value is None:
        msg = f"the config of tenant {scope.config.tenant_id} has no {placeholder.name}, which {text!r} uses"
        raise StepError(msg, code=ErrorCode.MISSING_FIELD, error_type=ErrorType.VALIDATION_ERROR, retryable=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _url_part(value: str) -> str:
    encoded = quote(value, safe=_KEPT_IN_URLS)
    # A path segment of dots means "up" to whoever reads the URL, and a client may resolve it before sending.
    return encoded.replace(".", "%2E") if encoded.strip(".") == "" else encoded


# --- values --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JsonTemplate:
    """
    A JSON value with placeholders in its texts and member names, compiled to the bytes around them.

    Members are written in the order of their names, so the same value always gives the same bytes.
    """

    parts: tuple[bytes | Template, ...]
    required_fields: frozenset[str] = field(default=frozenset[str]())

    @staticmethod
    def compile(value: object) -> "JsonTemplate":
        """
        Compile.

        Raises:
            StageError: INVALID_FIELD for what JSON cannot hold, or as ``Template``; the message begins with the place
                inside the value (``.unit: ...``) when it is not the value itself.
        """
        parts: list[bytes | Template] = []
        try:
            _compile_json(value, parts, "")
        except RecursionError:
            raise _no_json("", "it is nested too deeply") from None
        joined: list[bytes | Template] = []
        for part in parts:
            last = joined[-1] if joined else None
            if isinstance(part, bytes) and isinstance(last, bytes):
                joined[-1] = last + part
            else:
                joined.append(part)
        names = {name for part in joined if isinstance(part, Template) for name in part.required_fields}
        return JsonTemplate(tuple(joined), frozenset(names))

    def render(self, scope: TemplateScope) -> bytes:
        """The JSON text; raises as ``Template.render``."""
        return b"".join([part if isinstance(part, bytes) else orjson.dumps(part.render(scope)) for part in self.parts])


def _compile_json(value: object, parts: list[bytes | Template], path: str) -> None:
    if isinstance(value, str):
        _compile_text(value, parts, path)
    elif isinstance(value, Mapping):
        _compile_members(cast("Mapping[object, object]", value), parts, path)
    elif isinstance(value, (list, tuple)):
        parts.append(b"[")
        for index, item in enumerate(cast("Sequence[object]", value)):
            if index:
                parts.append(b",")
            _compile_json(item, parts, f"{path}[{index}]")
        parts.append(b"]")
    else:
        parts.append(_scalar(value, path))


def _compile_members(members: Mapping[object, object], parts: list[bytes | Template], path: str) -> None:
    odd = [name for name in members if not isinstance(name, str)]
    if odd:
        raise _no_json(path, f"the member name {odd[0]!r} is no text; put it into quotes")
    named = cast("Mapping[str, object]", members)
    parts.append(b"{")
    for index, name in enumerate(sorted(named)):
        if index:
            parts.append(b",")
        _compile_text(name, parts, path)
        parts.append(b":")
        _compile_json(named[name], parts, f"{path}.{name}")
    parts.append(b"}")


def _scalar(value: object, path: str) -> bytes:
    if isinstance(value, float) and not math.isfinite(value):
        raise _no_json(path, f"{value} is no JSON number")
    if isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        raise _no_json(path, f"the number {value} does not fit into 64 bits")
    if value is None or isinstance(value, (bool, int, float)):
        return orjson.dumps(value)
    raise _no_json(path, f"{type(value).__name__} has no place in JSON; put it into quotes")


def _compile_text(text: str, parts: list[bytes | Template], path: str) -> None:
    try:
        text.encode()  # a lone surrogate would be noticed only when it is rendered
        template = compile_template(text)
        parts.append(template if template.names else orjson.dumps(template.render(_NOBODY)))
    except StageError as error:
        raise StageError(f"{path}: {error.message}" if path else error.message, code=error.code) from error
    except (TypeError, ValueError) as error:
        raise _no_json(path, str(error)) from error


def _no_json(path: str, reason: str) -> StageError:
    return StageError(f"{path}: {reason}" if path else reason, code=ErrorCode.INVALID_FIELD)


_NOBODY = TemplateScope(config=TenantDeployConfigSnapshot(tenant_id="", deploy_unit_id=0, deploy_unit_version=0))
"""For texts without placeholders."""
