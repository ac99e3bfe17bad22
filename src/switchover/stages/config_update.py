"""ConfigUpdateStep: write the tenant's configuration to a target, under the fence of its generation."""

import dataclasses
from urllib.parse import urlsplit

import orjson

from switchover.domain.stage import Observation, TaskRuntimeContext
from switchover.domain.task import TaskView, TenantDeployConfigSnapshot
from switchover.errors import ErrorCode, ErrorType, StageError, StaleGenerationError, StepError
from switchover.redaction import without_credentials
from switchover.spi import ConfigTarget, StepServices, TargetProvider
from switchover.stages.failures import explained
from switchover.stages.templates import JsonTemplate, Template, TemplateScope, compile_template

_NOT_IN_ADDRESSES = frozenset({"taskId", "generation"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConfigUpdateStep:
    """
    Reads what the target holds, keeps it as the pre-image, then writes ``value`` as JSON with the generation beside it.

    During a rollback it puts back exactly the bytes of the pre-image, under the new generation, or takes the key away
    when nothing was there. Without a pre-image nothing was ever written, and the key is left alone.

    Target, key and field are always filled in from the config of the switch, so that a rollback finds what the switch
    wrote. The value is filled in from the config to make effective. Source: behaviour, section 6.

    Attributes:
        target: URL of the target. Placeholders are for http(s) only.
        key: Template; what it names must stay the same over all runs, so no taskId and no generation.
        field: Template; None where the key itself holds the value.
        value: Any JSON value; texts inside are templates, and what they give is text.
        targets: Where to look the target up; None: where the executor does.
        stage: What ``{stage}`` stands for when nothing runs (``adopt``).
    """

    target: str
    key: str
    value: object
    field: str | None = None
    name: str = "configUpdate"
    targets: TargetProvider | None = None
    stage: str | None = None
    _target: Template = dataclasses.field(init=False, repr=False)
    _key: Template = dataclasses.field(init=False, repr=False)
    _field: Template | None = dataclasses.field(init=False, repr=False)
    _value: JsonTemplate = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_target", target_template(self.target))
        object.__setattr__(self, "_key", address_template(self.key))
        object.__setattr__(self, "_field", None if self.field is None else address_template(self.field))
        object.__setattr__(self, "_value", JsonTemplate.compile(self.value))

    @property
    def required_fields(self) -> frozenset[str]:
        """The config fields, in camelCase, that the step uses."""
        fields = self._target.required_fields | self._key.required_fields | self._value.required_fields
        return fields if self._field is None else fields | self._field.required_fields

    async def execute(self, context: TaskRuntimeContext) -> None:
        """
        Write, or put back.

        Raises:
            StaleGenerationError: The target holds a higher generation; nothing was written.
            StepError: The target could not be read or written, or the config lacks a field.
        """
        try:
            scope = TemplateScope.of(context, context.switch_config)
            target, url, key, field = self._place(scope, self.targets or StepServices.of(context).targets)
            image = _image_key(url, key, field)
            if context.rolling_back:
                await self._put_back(context, target, key, field, image)
                return
            value = self._value.render(TemplateScope.of(context))
            held = await target.read(key, field)
            if held.generation > context.generation:
                # Before the pre-image: what a newer switch wrote is not what this one would have to put back.
                what = f"{_shown(url, key, field)} holds generation {held.generation}"
                raise StaleGenerationError(what, held_generation=held.generation)
            await context.pre_images.keep(image, held.value)
            await target.write(key, field, value, context.generation)
        except StepError as error:
            raise explained(error, context, self.name) from error

    async def _put_back(
        self, context: TaskRuntimeContext, target: ConfigTarget, key: str, field: str | None, image: str
    ) -> None:
        kept = await context.pre_images.get(image)
        if kept is None:
            context.log.info("key left alone: it was never written", step=self.name, key=key, field=field)
        elif kept.value is None:
            await target.remove(key, field, context.generation)
        else:
            await target.write(key, field, kept.value, context.generation)

    async def held_generation(self, config: TenantDeployConfigSnapshot, services: object = None) -> int:
        """
        The generation that the target holds for the tenant: what ``adopt`` asks.

        Raises:
            StepError: The target could not be read.
            StageError: The step was made without ``targets``, and ``services`` has none either.
        """
        scope = TemplateScope(config=config, stage=self.stage)
        target, _, key, field = self._place(scope, self._provider(services))
        return (await target.read(key, field)).generation

    async def observe(self, task: TaskView, config: TenantDeployConfigSnapshot, services: object = None) -> Observation:
        """
        What the target holds, and what the task's switch writes there.

        Raises:
            StepError: The target could not be read.
            StageError: The step was made without ``targets``, and ``services`` has none either.
        """
        scope = TemplateScope(
            config=config,
            plan_id=task.plan_id,
            task_id=task.task_id,
            stage=self.stage,
            generation=task.generation,
        )
        target, url, key, field = self._place(scope, self._provider(services))
        held = await target.read(key, field)
        return Observation(
            place=_shown(url, key, field),
            pre_image_key=_image_key(url, key, field),
            wanted=self._value.render(scope),
            held=held.value,
            generation=held.generation,
        )

    def _provider(self, services: object) -> TargetProvider:
        if self.targets is not None:
            return self.targets
        if isinstance(services, StepServices):
            return services.targets
        msg = f"step {self.name}: no targets to ask; give the call StepServices(...)"
        raise StageError(msg)

    def _place(self, scope: TemplateScope, provider: TargetProvider) -> tuple[ConfigTarget, str, str, str | None]:
        url = self._target.render_url(scope)
        key = self._key.render(scope)
        field = None if self._field is None else self._field.render(scope)
        if not key or field == "":
            what = f"the key {self.key!r}" if not key else f"the field {self.field!r}"
            raise StepError(
                f"{what} is empty for tenant {scope.config.tenant_id}",
                code=ErrorCode.MISSING_FIELD,
                error_type=ErrorType.VALIDATION_ERROR,
                retryable=False,
            )
        return provider.config_target(url), url, key, field


def address_template(text: str) -> Template:
    """A key or a field; raises ``StageError`` for placeholders that change from run to run."""
    template = compile_template(text)
    moving = [name for name in template.names if name in _NOT_IN_ADDRESSES]
    if moving:
        msg = f"{{{moving[0]}}} cannot be part of {text!r}: a rollback must find again what the switch wrote"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD)
    if not text:
        raise StageError("it must not be empty", code=ErrorCode.INVALID_FIELD)
    return template


def target_template(url: str) -> Template:
    """A target's URL; raises ``StageError`` when it has no scheme, or placeholders where they cannot be."""
    template = compile_template(url)
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        msg = f"{without_credentials(url)!r} is no URL: {error}"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD) from error
    if not scheme or "://" not in url:
        msg = f"{without_credentials(url)!r} is no URL; write for example redis://127.0.0.1:6379/0"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD)
    if template.names and (scheme not in {"http", "https"} or "{" in urlsplit(url).netloc):
        msg = f"{without_credentials(url)!r} takes no placeholders there; put them into the key"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD)
    moving = [name for name in template.names if name in _NOT_IN_ADDRESSES]
    if moving:
        msg = f"{{{moving[0]}}} cannot be part of a target: a rollback must find again what the switch wrote"
        raise StageError(msg, code=ErrorCode.INVALID_FIELD)
    return template


def _image_key(url: str, key: str, field: str | None) -> str:
    return orjson.dumps([without_credentials(url), key, field]).decode()


def _shown(url: str, key: str, field: str | None) -> str:
    suffix = "" if field is None else f", field {field!r}"
    return f"{without_credentials(url)}, key {key!r}{suffix}"
