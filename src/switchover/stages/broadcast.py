"""BroadcastStep: tell the running instances that the configuration changed."""

import dataclasses

import orjson

from switchover.domain.stage import TaskRuntimeContext
from switchover.domain.task import wire_timestamp
from switchover.errors import StepError
from switchover.redaction import without_credentials
from switchover.spi import StepServices, TargetProvider
from switchover.stages.config_update import target_template
from switchover.stages.failures import explained
from switchover.stages.templates import JsonTemplate, Template, TemplateScope, compile_template


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BroadcastStep:
    """
    Sends one message. A message that nobody hears is no failure: whether the change arrived is for the health check.

    Attributes:
        target: URL: ``redis://`` publishes to ``channel``, ``http(s)://`` posts.
        channel: Template; needed by Redis.
        message: In place of the message of interfaces, section 2. A text is a template and sent as it is; any other
            JSON value is sent as JSON, with its texts as templates.
        targets: Where to look the target up; None: where the executor does.
    """

    target: str
    channel: str | None = None
    message: object = None
    name: str = "broadcast"
    targets: TargetProvider | None = None
    _target: Template = dataclasses.field(init=False, repr=False)
    _channel: Template | None = dataclasses.field(init=False, repr=False)
    _message: Template | JsonTemplate | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_target", target_template(self.target))
        object.__setattr__(self, "_channel", None if self.channel is None else compile_template(self.channel))
        message: Template | JsonTemplate | None = None
        if isinstance(self.message, str):
            message = compile_template(self.message)
        elif self.message is not None:
            message = JsonTemplate.compile(self.message)
        object.__setattr__(self, "_message", message)

    @property
    def required_fields(self) -> frozenset[str]:
        """The config fields, in camelCase, that the step uses."""
        fields = self._target.required_fields
        if self._channel is not None:
            fields |= self._channel.required_fields
        if self._message is not None:
            fields |= self._message.required_fields
        return fields

    async def execute(self, context: TaskRuntimeContext) -> None:
        """
        Send.

        Raises:
            StepError: The target could not be reached or refused, or the config lacks a field.
        """
        scope = TemplateScope.of(context)
        try:
            url = self._target.render_url(TemplateScope.of(context, context.switch_config))
            channel = None if self._channel is None else self._channel.render(scope)
            services = StepServices.of(context)
            target = (self.targets or services.targets).broadcast_target(url)
            message = self._body(context, scope, services)
            listeners = await target.publish(channel, message)
        except StepError as error:
            raise explained(error, context, self.name) from error
        if listeners == 0:
            context.log.warning("broadcast heard by nobody", target=without_credentials(url), channel=channel)

    def _body(self, context: TaskRuntimeContext, scope: TemplateScope, services: StepServices) -> bytes:
        if isinstance(self._message, Template):
            return self._message.render(scope).encode()
        if self._message is not None:
            return self._message.render(scope)
        config = context.config
        return orjson.dumps(
            {
                "tenantId": context.tenant_id,
                "planId": context.plan_id,
                "taskId": context.task_id,
                "stage": context.stage,
                "deployUnitVersion": config.deploy_unit_version,
                "planVersion": config.plan_version,
                "generation": context.generation,
                "rollingBack": context.rolling_back,
                "timestamp": wire_timestamp(services.clock.now()),
            }
        )
