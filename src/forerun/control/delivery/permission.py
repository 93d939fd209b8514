"""May this source send to that target? Asked of the target's resource policy, or of the role that the source has.

As on AWS: a service (``events.amazonaws.com``) needs the target's policy, with ``aws:SourceArn`` and
``aws:SourceAccount`` to be conditions of, inside its own account too; a source with a role needs that role's policies,
and of another account the target's as well. The platform's own sources (``NAME.forerun``) may send within their
account and nowhere else.
"""

from collections.abc import Mapping
from random import Random
from typing import Any, Protocol

import msgspec

from forerun.control.authorization import Asker, Asking, Authorizer, ResourcePolicy, evaluate
from forerun.control.policies import Names, PolicyKind, parse_policy
from forerun.control.registry import Registry, Resolved
from forerun.errors import AccessDenied, NotFound
from forerun.model import Arn, Message, parse_function_ref

OWN = ".forerun"
"""How the names of the platform's own sources end."""

ACTIONS: Mapping[str, str] = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "events": "events:PutEvents",
}
"""What a message does to a target, by the service in the target's ARN."""

# A bucket's events go to the bus of its own account without anybody's leave.
_WITHOUT_LEAVE = frozenset({("s3.amazonaws.com", "events")})


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends: see ``Message``."""

    account: str
    source: str
    principal: str
    role: str = ""


class RoleDocuments(Protocol):
    """Knows the trust policies of roles."""

    def trust(self, account: str, name: str) -> str | None:
        """The trust policy of a role; ``None`` for one that was not created here."""
        ...


class _Role(msgspec.Struct, frozen=True):
    """A role as who asks."""

    account: str
    principal_arn: str
    source_ip: str = ""
    user_agent: str = ""


class Permission:
    """Answers for every kind of target. Where it says no it says which permission is missing, and how to give it."""

    def __init__(
        self, *, registry: Registry, authorizer: Authorizer, roles: RoleDocuments, region: str
    ) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._roles = roles
        self._region = region
        # Chooses versions; nothing depends on its being unguessable.
        self._random = Random()  # noqa: S311

    async def function(self, sender: Sender, target: str) -> Resolved:
        """The function that a message may be given to. Raises ``AccessDenied``, ``NotFound``, ``InvalidInput``."""
        ref = parse_function_ref(target)
        if ref.region not in (None, self._region):
            raise NotFound(f"Function not found: {target}: this is the region {self._region}")
        account, pick = ref.account or sender.account, self._random.random()
        resolved = self._registry.peek(account, ref.name, ref.qualifier, pick)
        if resolved is None:
            resolved = await self._registry.resolve(account, ref.name, ref.qualifier, pick)
        self.require(sender, resolved.invoked_arn, resolved.policy)
        return resolved

    def require(self, sender: Sender, target: str, policy: ResourcePolicy | None) -> None:
        """Return when the sender may send to ``target``, the ARN of a resource that has ``policy``; else ``AccessDenied``."""
        arn = Arn.parse(target)
        action = ACTIONS.get(arn.service)
        if action is None:
            raise AccessDenied(f"Nothing is sent to resources of {arn.service}: {target}")
        own = arn.account == sender.account
        if sender.principal.endswith(OWN):
            if not own:
                raise AccessDenied(
                    f"{sender.source} may send within its own account only, not to {target}"
                )
            return
        if own and (sender.principal, arn.service) in _WITHOUT_LEAVE:
            return
        context = {"aws:SourceArn": sender.source, "aws:SourceAccount": sender.account}
        if sender.role:
            self._require_role(sender, action, target, policy, context)
            return
        try:
            self._authorizer.require_service(
                sender.principal, action, target, resource_policy=policy, context=context
            )
        except AccessDenied as refused:
            raise AccessDenied(f"{refused.message}. {_advice(sender, action, arn)}") from None

    def _require_role(
        self,
        sender: Sender,
        action: str,
        target: str,
        policy: ResourcePolicy | None,
        context: Mapping[str, Any],
    ) -> None:
        role = Arn.parse(sender.role)
        name = role.resource.rpartition("/")[2]
        if role.service != "iam" or not role.resource.startswith("role/") or not name:
            raise AccessDenied(f"{sender.role} is not the ARN of a role")
        if role.account != sender.account:
            raise AccessDenied(f"The role {sender.role} is not of the account {sender.account}")
        self._require_trust(sender, role, name)
        session = sender.principal.partition(".")[0]
        asker = _Role(role.account, f"arn:aws:sts::{role.account}:assumed-role/{name}/{session}")
        # Across accounts the target's policy counts too; within one, the role's alone is enough.
        decision = self._authorizer.decide(
            asker, action, target, resource_policy=policy, context=context
        )
        if not decision.allowed:
            document = _document({"Effect": "Allow", "Action": action, "Resource": target})
            raise AccessDenied(
                f"The role {name} may not {action} on {target}: {decision.reason}. Allow it with: "
                f"aws iam put-role-policy --role-name {name} --policy-name send --policy-document '{document}'"
            )

    def _require_trust(self, sender: Sender, role: Arn, name: str) -> None:
        trust = self._roles.trust(role.account, name)
        if trust is None:
            return
        asking = Asking(
            Names(service=sender.principal),
            "sts:AssumeRole",
            sender.role,
            role.account,
            {"aws:sourcearn": sender.source, "aws:sourceaccount": sender.account},
        )
        if not evaluate(asking, (), parse_policy(trust, PolicyKind.TRUST)).allowed:
            raise AccessDenied(
                f"{sender.principal} may not assume the role {name}: its trust policy does not allow it. "
                f"Allow it with: aws iam update-assume-role-policy --role-name {name} --policy-document "
                f"'{_trust_of(sender.principal)}'"
            )


def require_sending(authorizer: Authorizer, caller: Asker, target: str) -> None:
    """Return when ``caller`` may itself do to ``target``, an ARN or a URL, what a message does; else ``AccessDenied``.

    For those who have one of the platform's own sources send to it, which nobody is asked about later.
    """
    if target.startswith("arn:"):
        authorizer.require(caller, ACTIONS[Arn.parse(target).service], target)


def sender_of(message: Message) -> Sender:
    """Who sends it."""
    return Sender(
        account=message.account,
        source=message.source,
        principal=message.principal,
        role=message.role,
    )


def _trust_of(principal: str) -> str:
    return _document(
        {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}
    )


def _document(*statements: Mapping[str, object]) -> str:
    """A policy in one line."""
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()


def _advice(sender: Sender, action: str, target: Arn) -> str:
    """The command that lets a service send."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": sender.principal},
        "Action": action,
        "Resource": str(target),
        "Condition": {"ArnEquals": {"aws:SourceArn": sender.source}},
    }
    if target.service == "lambda":
        parts = target.resource.split(":")
        qualifier = f" --qualifier {parts[2]}" if len(parts) > 2 else ""
        return (
            f"Allow it with: aws lambda add-permission --function-name {parts[1]}{qualifier} --statement-id "
            f"{sender.principal.partition('.')[0]} --action {action} --principal {sender.principal} "
            f"--source-arn {sender.source}"
        )
    document = _document(statement)
    if target.service == "sqs":
        attributes = msgspec.json.encode({"Policy": document}).decode()
        return (
            f"Allow it with: aws sqs set-queue-attributes --queue-url QUEUE_URL --attributes '{attributes}', "
            f"where QUEUE_URL is that of {target.resource}"
        )
    if target.service == "sns":
        return (
            f"Allow it with: aws sns set-topic-attributes --topic-arn {target} --attribute-name Policy "
            f"--attribute-value '{document}'"
        )
    return (
        f"Allow it with: aws events put-permission --event-bus-name {target.resource.rpartition('/')[2]} "
        f"--policy '{document}'"
    )
