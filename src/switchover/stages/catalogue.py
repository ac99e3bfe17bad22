"""
The stage catalogue: ``services:`` of a plan file or of the settings, compiled into stages.

Compiling needs the text alone: no file, no socket, no tenant. The stages are shared by all tenants, since what differs
from tenant to tenant is filled in when a step runs. Everything that is wrong is reported at once, each with its place.
Source: interfaces, section 2.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

import orjson

from switchover.domain.addresses import host_and_port
from switchover.domain.durations import parse_duration
from switchover.domain.plan import HealthSettings
from switchover.domain.stage import StageStep, TaskStage
from switchover.errors import ErrorCode, StageError
from switchover.redaction import without_credentials
from switchover.stages.broadcast import BroadcastStep
from switchover.stages.config_update import ConfigUpdateStep, address_template, target_template
from switchover.stages.health_check import EndpointInput, HealthCheckStep, compile_json_path, read_endpoint
from switchover.stages.service import CompositeServiceStage
from switchover.stages.templates import JsonTemplate, compile_template, nearest

CONFIG_SCHEMES = frozenset({"redis", "rediss", "file", "http", "https"})
"""What ``configUpdate`` can write to."""

BROADCAST_SCHEMES = frozenset({"redis", "rediss", "http", "https"})
"""What ``broadcast`` can send to."""

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

_CACHED = 64
_NAME_LENGTH = 128


@dataclass(frozen=True, slots=True)
class CatalogueFinding:
    """
    One thing that is wrong.

    Attributes:
        field: Where: ``services[0].steps[1].configUpdate.key``.
        code: UNKNOWN_FIELD, MISSING_FIELD, INVALID_FIELD or INVALID_STAGES.
    """

    field: str
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class CompiledCatalogue:
    """
    Stages, and what they need of every tenant. With findings there are no stages.

    Attributes:
        required_fields: Config fields in camelCase that some template uses.
        uses_tenant_endpoints: Some health check asks the tenant's own endpoints.
    """

    stages: tuple[TaskStage, ...]
    required_fields: frozenset[str]
    uses_tenant_endpoints: bool
    findings: tuple[CatalogueFinding, ...] = ()


class StageCatalogue:
    """
    Compiles ``services:``, and remembers what it compiled.

    Args:
        config_schemes: Which targets ``configUpdate`` may name.
        broadcast_schemes: Which targets ``broadcast`` may name.
    """

    def __init__(
        self,
        *,
        config_schemes: Collection[str] = CONFIG_SCHEMES,
        broadcast_schemes: Collection[str] = BROADCAST_SCHEMES,
    ) -> None:
        self._config_schemes = frozenset(config_schemes)
        self._broadcast_schemes = frozenset(broadcast_schemes)
        self._cache: OrderedDict[bytes, CompiledCatalogue] = OrderedDict()

    def compile(self, services: object, health: HealthSettings | None = None) -> CompiledCatalogue:
        """
        Compile; never raises, whatever it is given.

        Args:
            services: A list of plain mappings, as read from YAML or JSON.
            health: The plan's health settings, which say what health checks use where their entry says nothing.
        """
        settings = HealthSettings() if health is None else health
        try:
            key = orjson.dumps([services, settings.path, settings.expect], option=orjson.OPT_SORT_KEYS)
        except TypeError:
            return self._compile(services, settings)  # not JSON: there will be a finding that says where
        compiled = self._cache.get(key)
        if compiled is None:
            compiled = self._cache[key] = self._compile(services, settings)
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(key)
        return compiled

    def _compile(self, services: object, health: HealthSettings) -> CompiledCatalogue:
        return _Compiler(self._config_schemes, self._broadcast_schemes, health).run(services)


class _Compiler:
    """One run; collects findings."""

    def __init__(
        self, config_schemes: frozenset[str], broadcast_schemes: frozenset[str], health: HealthSettings
    ) -> None:
        self._config_schemes = config_schemes
        self._broadcast_schemes = broadcast_schemes
        self._health = health
        self._findings: list[CatalogueFinding] = []
        self._required: set[str] = set()
        self._tenant_endpoints = False

    def run(self, services: object) -> CompiledCatalogue:
        stages: list[TaskStage] = []
        if not _is_list(services) or not services:
            what = "it is empty" if _is_list(services) else f"{_kind(services)} is no list"
            self._find("services", ErrorCode.INVALID_STAGES, f"the catalogue must give at least one service; {what}")
        else:
            names: dict[str, int] = {}
            for index, entry in enumerate(services):
                stage = self._service(entry, f"services[{index}]", names, index)
                if stage is not None:
                    stages.append(stage)
        findings = tuple(self._findings)
        return CompiledCatalogue(
            () if findings else tuple(stages), frozenset(self._required), self._tenant_endpoints, findings
        )

    def _find(self, field: str, code: ErrorCode, message: str) -> None:
        self._findings.append(CatalogueFinding(field, code, message))

    def _service(self, entry: object, path: str, names: dict[str, int], index: int) -> TaskStage | None:
        members = self._members(entry, path, required=("name", "steps"), optional=())
        if members is None:
            return None
        name = members.get("name")
        if "name" in members:
            if not isinstance(name, str) or not name.strip() or len(name) > _NAME_LENGTH:
                self._find(
                    f"{path}.name", ErrorCode.INVALID_FIELD, f"a name is text of 1 to {_NAME_LENGTH}, not {name!r}"
                )
            elif name in names:
                first = f"services[{names[name]}]"
                self._find(
                    f"{path}.name", ErrorCode.INVALID_STAGES, f"{first} is called {name!r} too; names must differ"
                )
            else:
                names[name] = index
        steps = self._steps(members["steps"], f"{path}.steps", str(name)) if "steps" in members else []
        return CompositeServiceStage(str(name), steps)

    def _steps(self, entries: object, path: str, stage: str) -> list[StageStep]:
        if not _is_list(entries) or not entries:
            what = "it is empty" if _is_list(entries) else f"{_kind(entries)} is no list"
            self._find(path, ErrorCode.INVALID_STAGES, f"a service needs at least one step; {what}")
            return []
        readers: Mapping[str, Callable[[object, str, str, str], StageStep | None]] = {
            "configUpdate": self._config_update,
            "broadcast": self._broadcast,
            "healthCheck": self._health_check,
        }
        steps: list[StageStep] = []
        counts: dict[str, int] = {}
        for index, entry in enumerate(entries):
            place = f"{path}[{index}]"
            if not isinstance(entry, Mapping) or len(cast("Mapping[object, object]", entry)) != 1:
                message = f"a step is one key of {', '.join(readers)} with its settings"
                self._find(place, ErrorCode.INVALID_FIELD, message)
                continue
            kind, settings = next(iter(cast("Mapping[object, object]", entry).items()))
            read = readers.get(str(kind))
            if read is None:
                message = f"unknown step {kind!r}{nearest(str(kind), tuple(readers))}"
                self._find(f"{place}.{kind}", ErrorCode.UNKNOWN_FIELD, message)
                continue
            counts[str(kind)] = count = counts.get(str(kind), 0) + 1
            step = read(settings, f"{place}.{kind}", str(kind) if count == 1 else f"{kind}#{count}", stage)
            if step is not None:
                steps.append(step)
        return steps

    # Steps: check member by member, so that each finding has its own place; then make the step.

    def _config_update(self, entry: object, path: str, name: str, stage: str) -> StageStep | None:
        members = self._members(entry, path, required=("target", "key", "value"), optional=("field",))
        if members is None:
            return None
        before = len(self._findings)
        self._target(members, path, self._config_schemes)
        self._text(members, path, "key", address_template)
        self._text(members, path, "field", address_template)
        if "value" in members:
            self._try(f"{path}.value", JsonTemplate.compile, members["value"])
        blank = _is_blank(members.get("target")) or _is_blank(members.get("key")) or "value" not in members
        if len(self._findings) > before or blank:
            return None  # what is blank was found before
        step = ConfigUpdateStep(
            target=str(members["target"]),
            key=str(members["key"]),
            field=cast("str | None", members.get("field")),
            value=members["value"],
            name=name,
            stage=stage,
        )
        self._required |= step.required_fields
        return step

    def _broadcast(self, entry: object, path: str, name: str, stage: str) -> StageStep | None:
        del stage
        members = self._members(entry, path, required=("target",), optional=("channel", "message"))
        if members is None:
            return None
        before = len(self._findings)
        scheme = self._target(members, path, self._broadcast_schemes)
        self._text(members, path, "channel", compile_template)
        if scheme.startswith("redis") and _is_blank(members.get("channel")):
            self._find(f"{path}.channel", ErrorCode.MISSING_FIELD, "Redis publishes to a channel; name it")
        message = members.get("message")
        self._try(f"{path}.message", compile_template if isinstance(message, str) else JsonTemplate.compile, message)
        if len(self._findings) > before or _is_blank(members.get("target")):
            return None
        step = BroadcastStep(
            target=str(members["target"]),
            channel=cast("str | None", members.get("channel")),
            message=message,
            name=name,
        )
        self._required |= step.required_fields
        return step

    def _health_check(self, entry: object, path: str, name: str, stage: str) -> StageStep | None:
        del stage
        optional = ("endpoints", "interval", "attempts", "timeout", "path", "versionKey", "expect", "consecutive")
        members = self._members({} if entry is None else entry, path, required=(), optional=optional)
        if members is None:
            return None
        before = len(self._findings)
        endpoints = self._endpoints(members, path)
        for key in ("interval", "timeout"):
            self._duration(members, path, key, above_zero=key == "timeout")
        for key in ("attempts", "consecutive"):
            value = members.get(key)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                self._find(f"{path}.{key}", ErrorCode.INVALID_FIELD, f"a whole number from 1, not {value!r}")
        self._text(members, path, "path", compile_template)
        self._text(members, path, "expect", compile_template)
        self._text(members, path, "versionKey", compile_json_path)
        if len(self._findings) > before:
            return None
        step = self._try(
            path,
            lambda given: HealthCheckStep(
                endpoints=endpoints,
                interval=cast("float | str | None", given.get("interval")),
                attempts=cast("int | None", given.get("attempts")),
                timeout=cast("float | str | None", given.get("timeout")),
                path=cast("str | None", given.get("path")),
                version_key=cast("str | None", given.get("versionKey")),
                expect=cast("str | None", given.get("expect")),
                consecutive=cast("int | None", given.get("consecutive")),
                name=name,
            ),
            members,
        )
        if step is not None:
            required = self._try(path, step.required_fields, self._health)
            self._required |= required or frozenset[str]()
            self._tenant_endpoints |= step.uses_tenant_endpoints
        return step

    def _endpoints(self, members: Mapping[str, object], path: str) -> list[EndpointInput] | None:
        given = members.get("endpoints")
        if given is None:
            return None
        if not _is_list(given) or not given:
            message = "a list of URLs, addresses or NetworkEndpoints; leave it out to ask the tenant's own"
            self._find(f"{path}.endpoints", ErrorCode.INVALID_FIELD, message)
            return None
        for index, item in enumerate(given):
            place = f"{path}.endpoints[{index}]"
            if not isinstance(item, (str, Mapping)):
                self._find(place, ErrorCode.INVALID_FIELD, f"{_kind(item)} is no endpoint")
                continue
            endpoint = self._try(place, read_endpoint, cast("EndpointInput", item))
            if endpoint is None:
                continue
            for text in (endpoint.value, endpoint.target_domain, endpoint.target_ip):
                if text:
                    self._try(place, compile_template, text)
            address = endpoint.target_domain or endpoint.target_ip
            if address and "{" not in address:
                self._try(place, host_and_port, address)
        return cast("list[EndpointInput]", list(given))

    # Members

    def _members(
        self, entry: object, path: str, *, required: Sequence[str], optional: Sequence[str]
    ) -> Mapping[str, object] | None:
        if not isinstance(entry, Mapping):
            self._find(path, ErrorCode.INVALID_FIELD, f"a mapping is needed here, not {_kind(entry)}")
            return None
        members = cast("Mapping[str, object]", entry)
        known = (*required, *optional)
        for name in members:
            if name not in known:
                self._find(
                    f"{path}.{name}", ErrorCode.UNKNOWN_FIELD, f"unknown field {name!r}{nearest(str(name), known)}"
                )
        for name in required:
            # Of a value, null and the empty text are as good as any other.
            if name not in members or (name != "value" and _is_blank(members[name])):
                self._find(f"{path}.{name}", ErrorCode.MISSING_FIELD, f"{name} is missing")
        return {name: value for name, value in members.items() if name in known}

    def _text(self, members: Mapping[str, object], path: str, name: str, check: Callable[[str], object]) -> None:
        value = members.get(name)
        if value is None:
            return
        if not isinstance(value, str):
            self._find(f"{path}.{name}", ErrorCode.INVALID_FIELD, f"{name} is text, not {_kind(value)}")
        elif value or name == "field":
            self._try(f"{path}.{name}", check, value)

    def _target(self, members: Mapping[str, object], path: str, schemes: frozenset[str]) -> str:
        value = members.get("target")
        if _is_blank(value):
            return ""  # reported as missing
        place = f"{path}.target"
        if not isinstance(value, str):
            self._find(place, ErrorCode.INVALID_FIELD, f"a target is a URL, not {_kind(value)}")
            return ""
        if self._try(place, target_template, value) is None:
            return ""
        parts = urlsplit(value)
        scheme = parts.scheme.lower()
        shown = without_credentials(value)
        if scheme not in schemes:
            known = ", ".join(sorted(schemes))
            self._find(place, ErrorCode.INVALID_FIELD, f"no target here has the scheme of {shown!r}; known: {known}")
        elif scheme == "file":
            if parts.netloc not in {"", "localhost"} or not parts.path.strip("/"):
                self._find(place, ErrorCode.INVALID_FIELD, f"{shown!r} names no file; write file:///path/map.json")
        elif not parts.hostname:
            self._find(place, ErrorCode.INVALID_FIELD, f"{shown!r} names no host")
        elif "{" not in parts.netloc and not _has_valid_port(parts):
            message = f"the port of {shown!r} is none; write a number from 1 to 65535 behind one colon, or leave it out"
            self._find(place, ErrorCode.INVALID_FIELD, message)
        return scheme

    def _duration(self, members: Mapping[str, object], path: str, name: str, *, above_zero: bool) -> None:
        value = members.get(name)
        if value is None:
            return
        seconds = self._try(f"{path}.{name}", parse_duration, value)
        if seconds == 0 and above_zero:
            self._find(f"{path}.{name}", ErrorCode.INVALID_FIELD, f"{name} must be above zero")

    def _try(self, place: str, read: Callable[[_Given], _Result], given: _Given) -> _Result | None:
        try:
            return read(given)
        except StageError as error:
            self._find(place, error.code, error.message)
        except ValueError as error:
            self._find(place, ErrorCode.INVALID_FIELD, str(error))
        return None


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))


def _has_valid_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {"dict": "a mapping", "list": "a list", "str": "text", "bool": "a flag"}.get(
        type(value).__name__, f"{value!r}"
    )
