"""May a function's role take from a source? By the rule that its own credentials are judged with."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from forerun.control.authorization import Authorizer
from forerun.control.identity import session_arn, session_name
from forerun.errors import AccessDenied, InvalidInput, NotFound
from forerun.model import Arn, FunctionVersion

PolicyOf = Callable[[str], Awaitable[str | None]]
"""The policy of a source by its ARN, as JSON; ``None`` for none."""

ACTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sqs": ("SQS", ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
}
"""By service: how AWS calls it, and what a poller does there."""


class _Role(msgspec.Struct, frozen=True):
    """A function's role as who asks."""

    account: str
    principal_arn: str
    source_ip: str = ""
    user_agent: str = ""


class TakingRights:
    """Judges; ``policies`` know the policies of sources, by service."""

    def __init__(self, authorizer: Authorizer, policies: Mapping[str, PolicyOf]) -> None:
        self._authorizer = authorizer
        self._policies = policies

    async def require(self, function: FunctionVersion, source: str) -> None:
        """Return when the function's role may take from ``source`` (an ARN).

        Raises ``InvalidInput`` in AWS's words when it may not.
        """
        service = Arn.parse(source).service
        name, actions = ACTIONS.get(service, (service, ()))
        role = Arn.parse(function.role)
        asker = _Role(
            function.account,
            session_arn(
                function.account, role.resource.rpartition("/")[2], session_name(function.name)
            ),
        )
        policy = await self._policy(service, source)
        for action in actions:
            try:
                self._authorizer.require(
                    asker, f"{service}:{action}", source, resource_policy=policy
                )
            except AccessDenied as error:
                raise InvalidInput(
                    f"The provided execution role does not have permissions to call {action} on {name}"
                    f" ({error.message})"
                ) from None

    async def _policy(self, service: str, source: str) -> str | None:
        policy_of = self._policies.get(service)
        if policy_of is None:
            return None
        try:
            return await policy_of(source)
        except NotFound:
            return None
