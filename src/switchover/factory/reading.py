"""
From whatever a caller hands in to a draft: frozen values, and what was wrong with the rest.

Nothing here raises for bad input, and nothing of the caller's is kept. A config that is partly wrong is kept as far as
it is right, so that every validator sees every config and one answer names everything.

The contract is the model ``TenantDeployConfig``: it decides what is wrong. A config that is right, as nearly every one
is, takes a shorter way: one pass of the same rules straight into the snapshot, three times as fast. A test holds the
two together.
"""

import gc
import hashlib
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import CoreConfig, CoreSchema, ErrorDetails, SchemaValidator, core_schema

from switchover.domain.plan import PlanRules
from switchover.domain.task import NetworkEndpointSnapshot, PlanId, TenantDeployConfigSnapshot
from switchover.domain.wire import CONFIG_NAMES, ENDPOINT_NAMES
from switchover.dto import Finding, TenantDeployConfig
from switchover.dto.configs import MAX_TEXT
from switchover.dto.options import PlanMetadata, PlanOptions
from switchover.errors import ErrorCode
from switchover.factory.explaining import (
    ENDPOINTS,
    REQUIRED,
    SOURCE,
    config_problem,
    metadata_problem,
    option_problem,
    path_text,
    printable,
    shown,
)
from switchover.stages.catalogue import CompiledCatalogue

_Model = TypeVar("_Model", bound=BaseModel)

EVERYTHING: frozenset[str] = frozenset({"*"})
"""What is wrong with a config that is none at all."""

_NOTHING: frozenset[str] = frozenset()
_LARGEST_COPY = 200_000
_DEEPEST_COPY = 64


@dataclass(slots=True, kw_only=True, eq=False)
class Draft:
    """
    A plan that was read, and not yet judged.

    Attributes:
        configs: One per config that was given, in order. Where ``wrong`` has an entry, some of its values are blanks.
        wrong: By index of a config, the paths of what could not be read; EVERYTHING for what is no config.
        findings: What reading found.
        rules: Limits and rules, every precedence applied.
        catalogue: The stages; None when the stage factory gives them.
        plan_id, plan_version: Of the options, else of the configs; no id when it is one that no plan can have.
        stage_names: Per config, once validation has asked the stage factory; empty with a catalogue.
    """

    configs: tuple[TenantDeployConfigSnapshot, ...]
    wrong: Mapping[int, frozenset[str]]
    findings: tuple[Finding, ...]
    options: PlanOptions
    rules: PlanRules
    catalogue: CompiledCatalogue | None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    plan_id: PlanId | None = None
    plan_version: int | None = None
    stage_names: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def is_wrong(self, index: int, path: str) -> bool:
        """Whether reading has already found this value to be wrong, so that its blank says nothing."""
        paths = self.wrong.get(index, _NOTHING)
        return paths is EVERYTHING or path in paths

    @property
    def digest(self) -> str:
        """What was asked for, as one short text: the same for the same content, however it was spelt."""
        content = hashlib.blake2b(digest_size=16)
        head = self.options.model_dump(mode="json", by_alias=False), self.name, dict(self.labels)
        content.update(_content(head, orjson.OPT_SORT_KEYS))
        for config in self.configs:
            content.update(_content(config, orjson.OPT_PASSTHROUGH_SUBCLASS))
        # What could not be read is no part of the configs: two wrong requests are the same if they are equally wrong.
        for finding in self.findings:
            content.update(
                repr((finding.index, finding.field, finding.code, finding.message)).encode("ascii", "replace")
            )
        return content.hexdigest()


def _content(value: object, option: int) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        return b"\0"  # a number beyond 64 bits, which validation refuses: no plan has such content


# --- configs -------------------------------------------------------------------------------------------------------


def _snapshot_schema() -> CoreSchema:
    text = core_schema.str_schema(strict=True, max_length=MAX_TEXT)
    number = core_schema.int_schema(strict=True)
    # The same few names come with every config of a plan: one copy of each is enough.
    shared = core_schema.no_info_after_validator_function(sys.intern, text)

    def dataclass_schema(
        cls: type[object], names: Mapping[str, str], schemas: Mapping[str, CoreSchema], ref: str
    ) -> CoreSchema:
        fields: list[core_schema.DataclassField] = []
        for name, wire_name in names.items():
            schema = schemas.get(name, text)
            if wire_name not in REQUIRED:
                if name != "network_endpoints":
                    schema = core_schema.nullable_schema(schema)
                default = () if name == "network_endpoints" else None
                schema = core_schema.with_default_schema(schema, default=default)
            fields.append(
                core_schema.dataclass_field(
                    name, schema, kw_only=True, validation_alias=cast("list[list[str | int]]", [[wire_name], [name]])
                )
            )
        return core_schema.dataclass_schema(
            cls,
            core_schema.dataclass_args_schema(cls.__name__, fields, extra_behavior="forbid"),
            list(names),
            slots=True,
            frozen=True,
            strict=False,  # strict would accept instances only
            revalidate_instances="always",
            ref=ref,
        )

    endpoint = dataclass_schema(NetworkEndpointSnapshot, ENDPOINT_NAMES, {"key": shared}, "endpoint")
    config = dataclass_schema(
        TenantDeployConfigSnapshot,
        CONFIG_NAMES,
        {
            "deploy_unit_id": number,
            "deploy_unit_version": number,
            "deploy_unit_name": shared,
            "network_endpoints": core_schema.no_info_before_validator_function(
                _as_tuple, core_schema.tuple_variable_schema(endpoint, strict=True)
            ),
            "nacos_name_space": shared,
            "default_flag": core_schema.bool_schema(strict=True),
            "called_number_rules": shared,
            "trunk_group": shared,
            "plan_id": number,
            "plan_version": number,
            "source_tenant_deploy_config": core_schema.definition_reference_schema("config"),
        },
        "config",
    )
    return core_schema.definitions_schema(core_schema.definition_reference_schema("config"), [config])


def _as_tuple(value: object) -> object:
    if value is None:
        return ()
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


_SNAPSHOT = SchemaValidator(_snapshot_schema(), CoreConfig(hide_input_in_errors=True))


@dataclass(slots=True)
class _ReadConfigs:
    configs: list[TenantDeployConfigSnapshot] = field(default_factory=list[TenantDeployConfigSnapshot])
    wrong: dict[int, frozenset[str]] = field(default_factory=dict[int, frozenset[str]])
    findings: list[Finding] = field(default_factory=list[Finding])


def read_configs(configs: object) -> _ReadConfigs:
    """Read every config; whatever ``configs`` is."""
    read = _ReadConfigs()
    if configs is None:
        return read
    if issubclass(type(configs), (str, bytes, bytearray, Mapping, BaseModel)) or not _is_iterable(configs):
        message = f"configs must be a list of TenantDeployConfig, not {shown(configs)}"
        read.findings.append(_plan_finding("configs", ErrorCode.INVALID_FIELD, message))
        return read
    try:
        with _collection_paused():
            for index, config in enumerate(configs):
                _read_config(index, config, read)
    except Exception as error:  # noqa: BLE001  # the caller's iterator is a stranger
        message = f"configs could not be read to the end: {type(error).__name__} after {len(read.configs)} configs"
        read.findings.append(_plan_finding("configs", ErrorCode.INVALID_FIELD, message))
    return read


@contextmanager
def _collection_paused() -> Generator[None]:
    # All that is made here is kept, so the collector would find nothing, and would look through all of it each time:
    # with 100,000 configs that is half of the time.
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable)


def _read_config(index: int, config: object, read: _ReadConfigs) -> None:
    kind = type(config)
    try:
        if kind is dict:
            snapshot = _SNAPSHOT.validate_python(config)
        elif isinstance(config, TenantDeployConfig):
            snapshot = TenantDeployConfig.model_validate(config).to_snapshot()
        elif issubclass(kind, Mapping):
            snapshot = _SNAPSHOT.validate_python(plain(config))
        else:
            _nothing_read(index, f"a config must be a mapping or a TenantDeployConfig, not {shown(config)}", read)
            return
    except ValidationError:
        _read_wrong_config(index, config, read)
        return
    except Exception as error:  # noqa: BLE001  # a mapping may be any object, and its methods may do anything
        _nothing_read(index, f"the config could not be read: {type(error).__name__}", read)
        return
    read.configs.append(snapshot)


def _nothing_read(index: int, message: str, read: _ReadConfigs) -> None:
    read.configs.append(TenantDeployConfigSnapshot(tenant_id="", deploy_unit_id=0, deploy_unit_version=0))
    read.wrong[index] = EVERYTHING
    read.findings.append(Finding(tenant_id=None, field="", code=ErrorCode.INVALID_FIELD, message=message, index=index))


def _read_wrong_config(index: int, config: object, read: _ReadConfigs) -> None:
    try:
        raw = cast("dict[str, object]", plain(config))
        try:
            snapshot = TenantDeployConfig.model_validate(raw).to_snapshot()
        except ValidationError as error:
            errors = [item for item in error.errors(include_url=False) if not _in_ignored_source(item)]
        else:
            read.configs.append(snapshot)
            return
        tenant = raw.get("tenantId", raw.get("tenant_id"))
        findings: list[Finding] = []
        tenant_id = printable(tenant[:MAX_SHOWN_ID]) or None if isinstance(tenant, str) else None
        wrong: set[str] = set()
        for item in errors:
            code, message = config_problem(item)
            path = path_text(item["loc"])
            findings.append(Finding(tenant_id=tenant_id, field=path, code=code, message=message, index=index))
            if code is not ErrorCode.UNKNOWN_FIELD:  # which spoils nothing
                wrong.add(path)
        snapshot = _keep_right(raw, wrong, "")
    except Exception as error:  # noqa: BLE001  # as above
        reason = str(error) if isinstance(error, TooLargeError) else type(error).__name__
        _nothing_read(index, f"the config could not be read: {reason}", read)
        return
    read.configs.append(snapshot)
    read.wrong[index] = frozenset(wrong)
    read.findings.extend(findings)


MAX_SHOWN_ID = 160
"""Characters of a tenant id that findings repeat."""


def _in_ignored_source(error: ErrorDetails) -> bool:
    # The source of a source is ignored, whatever it is.
    return path_text(error["loc"][:2]) == f"{SOURCE}.{SOURCE}"


def _keep_right(raw: Mapping[str, Any], wrong: AbstractSet[str], prefix: str) -> TenantDeployConfigSnapshot:
    """The config without what is wrong: blanks where something must be, nothing elsewhere."""
    values: dict[str, Any] = {"tenant_id": "", "deploy_unit_id": 0, "deploy_unit_version": 0}
    for name, wire_name in CONFIG_NAMES.items():
        given = raw.get(wire_name, raw.get(name))
        path = prefix + wire_name
        if given is None or path in wrong:
            continue
        if wire_name == ENDPOINTS:
            values[name] = tuple(
                NetworkEndpointSnapshot(**_right_texts(item, wrong, f"{path}[{index}]"))
                for index, item in enumerate(given)
            )
        elif wire_name != SOURCE:
            values[name] = given
        elif not prefix:
            values[name] = _keep_right(given, wrong, f"{path}.")
    return TenantDeployConfigSnapshot(**values)


def _right_texts(raw: Mapping[str, str | None], wrong: AbstractSet[str], path: str) -> dict[str, str | None]:
    if path in wrong:
        return {}
    return {
        name: raw.get(wire_name, raw.get(name))
        for name, wire_name in ENDPOINT_NAMES.items()
        if f"{path}.{wire_name}" not in wrong
    }


class TooLargeError(ValueError):
    """A value that is not worth copying."""


def plain(value: object) -> object:
    """
    A deep copy in dicts and lists, bounded in size and depth.

    Raises:
        TooLargeError: Too large, too deep, or containing itself.
    """
    count = 0

    def copy(item: object, depth: int) -> object:
        nonlocal count
        count += 1
        if count > _LARGEST_COPY or depth > _DEEPEST_COPY:
            message = "it is too large, nested too deeply, or contains itself"
            raise TooLargeError(message)
        if isinstance(item, BaseModel):
            return copy(dict(item.__dict__), depth)
        if isinstance(item, Mapping):
            return {key: copy(member, depth + 1) for key, member in cast("Mapping[object, object]", item).items()}
        if isinstance(item, (list, tuple)):
            return [copy(member, depth + 1) for member in cast("Sequence[object]", item)]
        return item

    return copy(value, 0)


# --- options and metadata ------------------------------------------------------------------------------------------


def read_options(options: object) -> tuple[PlanOptions, list[Finding]]:
    """The options as far as they are right."""
    return _read_model(PlanOptions, options, "options", option_problem)


def read_metadata(metadata: object) -> tuple[PlanMetadata, list[Finding]]:
    """The metadata as far as they are right; fields are named ``metadata.name`` and so on."""
    read, findings = _read_model(PlanMetadata, metadata, "metadata", metadata_problem)
    return read, findings


def _read_model(
    model: type[_Model], given: object, what: str, problem: Callable[[ErrorDetails], tuple[ErrorCode, str]]
) -> tuple[_Model, list[Finding]]:
    if given is None:
        return model(), []
    prefix = "" if what == "options" else f"{what}."
    if isinstance(given, model):
        given = given.model_dump(exclude_unset=True)
    if not isinstance(given, Mapping):
        return model(), [
            _plan_finding(prefix.rstrip("."), ErrorCode.INVALID_FIELD, f"{what} must be a mapping, not {shown(given)}")
        ]
    try:
        raw = cast("dict[str, object]", plain(cast("Mapping[object, object]", given)))
        findings: list[Finding] = []
        # Each round takes out the members that are wrong; what is left after the first is right.
        for _ in range(2):
            try:
                return model.model_validate(raw), findings
            except ValidationError as error:
                errors = error.errors(include_url=False)
            for item in errors:
                code, message = problem(item)
                findings.append(_plan_finding(prefix + path_text(item["loc"]), code, message))
            bad = {str(item["loc"][0]) for item in errors if item["loc"]}
            raw = {key: value for key, value in raw.items() if str(key) not in bad}
        return model(), findings
    except Exception as error:  # noqa: BLE001  # a mapping may be any object, and its methods may do anything
        message = f"{what} could not be read: {type(error).__name__}"
        return model(), [_plan_finding(prefix.rstrip("."), ErrorCode.INVALID_FIELD, message)]


def _plan_finding(path: str, code: ErrorCode, message: str) -> Finding:
    return Finding(tenant_id=None, field=path, code=code, message=message)
