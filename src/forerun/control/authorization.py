"""May this caller do that? IAM's evaluation over the caller's policies and the resource's, as AWS documents it.

The rule, in order: the account's root may do everything in its account; an explicit deny wins; inside one account an
allow of either side is enough; between accounts both sides must allow. A resource policy that names a whole account
delegates to that account's own policies and allows nobody by itself.

Everything here is answered from memory, without waiting.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from forerun.aio import Clock
from forerun.control.conditions import Context
from forerun.control.policies import Grant, Names, Policy, PolicyKind, parse_policy
from forerun.errors import AccessDenied
from forerun.model import iso_time

RULINGS = 4096
# Need no permission, or (AssumeRole) are decided with the role's trust policy by ``require_assume``.
FREE_ACTIONS = frozenset(
    {"sts:GetCallerIdentity", "sts:GetSessionToken", "sts:GetAccessKeyInfo", "sts:AssumeRole"}
)
ResourcePolicy = Policy | str | bytes | Mapping[str, Any]


class Decision(NamedTuple):
    """Whether it may be done, and why (a clause that continues "... because")."""

    allowed: bool
    reason: str


class Asking(NamedTuple):
    """One question: who wants to do what to what. ``account`` is the resource's owner."""

    names: Names
    action: str
    resource: str
    account: str
    context: Context


class Asker(Protocol):
    """What is needed of a caller; ``source_ip`` and ``user_agent`` feed conditions."""

    @property
    def account(self) -> str: ...  # noqa: D102

    @property
    def principal_arn(self) -> str: ...  # noqa: D102

    @property
    def source_ip(self) -> str: ...  # noqa: D102

    @property
    def user_agent(self) -> str: ...  # noqa: D102


class Rights(NamedTuple):
    """What is known of a principal: its names, its own policies, and what conditions may ask of it.

    ``root``: it is its account's root. ``unrestricted``: its own policies allow everything and deny nothing.
    """

    names: Names
    policies: tuple[Policy, ...]
    facts: Mapping[str, str]
    root: bool = False
    unrestricted: bool = False


class RightsSource(Protocol):
    """Knows the rights of principals; without waiting."""

    def rights(self, principal_arn: str) -> Rights:
        """The rights of a principal; none for one that is not known."""
        ...


def _yes(reason: str) -> Decision:
    return Decision(allowed=True, reason=reason)


def _no(reason: str) -> Decision:
    return Decision(allowed=False, reason=reason)


def evaluate(
    asking: Asking, identity: Sequence[Policy], resource_policy: Policy | None
) -> Decision:
    """IAM's decision for a principal that is not the root of the resource's account."""
    action = asking.action.lower()
    by_identity = _effect(identity, asking, action)
    if by_identity is False:
        return _no("an identity-based policy denies it explicitly")
    grant, denied = _granted(resource_policy, asking, action)
    if denied:
        return _no("a resource-based policy denies it explicitly")
    if asking.names.account != asking.account:
        return _between_accounts(asking, grant, by_identity=bool(by_identity))
    if by_identity:
        return _yes("an identity-based policy allows it")
    if grant is Grant.DIRECT:
        return _yes("a resource-based policy allows it")
    return _no(f"no identity-based policy allows the {asking.action} action")


def _between_accounts(asking: Asking, grant: Grant, *, by_identity: bool) -> Decision:
    if grant is Grant.NONE:
        return _no(f"no resource-based policy allows the {asking.action} action")
    # Services and anonymous callers have no account, hence no policies of their own.
    if asking.names.account and not by_identity:
        return _no(f"no identity-based policy allows the {asking.action} action")
    return _yes("a resource-based policy allows it")


def _effect(policies: Sequence[Policy], asking: Asking, action: str) -> bool | None:
    """False for an explicit deny, true for an allow, ``None`` for neither."""
    allowed: bool | None = None
    for policy in policies:
        for statement in policy.statements:
            if statement.allow and allowed:
                continue
            if statement.applies(action, asking.resource, asking.context):
                if not statement.allow:
                    return False
                allowed = True
    return allowed


def _granted(policy: Policy | None, asking: Asking, action: str) -> tuple[Grant, bool]:
    """How far a resource policy allows, and whether it denies."""
    best = Grant.NONE
    for statement in policy.statements if policy is not None else ():
        if statement.principals is None:
            continue
        grant = statement.principals.grant(asking.names)
        if grant is Grant.NONE or not statement.applies(action, asking.resource, asking.context):
            continue
        if not statement.allow:
            return Grant.NONE, True
        if best is not Grant.DIRECT:
            best = grant
    return best, False


class Authorizer:
    """Asks ``evaluate`` with what is known of callers; fast where nothing can be denied."""

    def __init__(self, source: RightsSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._compiled: dict[str | bytes, Policy] = {}

    def require(
        self,
        caller: Asker,
        action: str,
        resource: str,
        *,
        resource_policy: ResourcePolicy | None = None,
        context: Context | None = None,
        owner: str = "",
    ) -> None:
        """Return when ``caller`` may do ``action`` (``lambda:InvokeFunction``) to ``resource`` (an ARN, or ``*``).

        A resource without an account in its ARN belongs to ``owner``, or to the caller's. ``FREE_ACTIONS`` are always
        allowed. Raises ``AccessDenied``.
        """
        rights = self._source.rights(caller.principal_arn)
        owner = _owner(resource) or owner or caller.account
        if rights.unrestricted and owner == caller.account and resource_policy is None:
            return
        if rights.root and owner == caller.account:
            return
        if action in FREE_ACTIONS:
            return
        asking = self._asking(caller, rights, action, resource, context)._replace(account=owner)
        decision = self._decide(rights, asking, resource_policy)
        if not decision.allowed:
            raise AccessDenied(
                f"User: {caller.principal_arn} is not authorized to perform: {action} on resource: {resource} "
                f"because {decision.reason}"
            )

    def decide(
        self,
        caller: Asker,
        action: str,
        resource: str,
        *,
        resource_policy: ResourcePolicy | None = None,
        context: Context | None = None,
        owner: str = "",
    ) -> Decision:
        """As ``require``, with the decision as the answer."""
        rights = self._source.rights(caller.principal_arn)
        owner = _owner(resource) or owner or caller.account
        if rights.root and owner == caller.account:
            return _yes("the caller is the account's root")
        asking = self._asking(caller, rights, action, resource, context)._replace(account=owner)
        return self._decide(rights, asking, resource_policy)

    def require_public(
        self,
        action: str,
        resource: str,
        *,
        resource_policy: ResourcePolicy | None,
        context: Context | None = None,
    ) -> None:
        """Return when the resource's policy lets everybody do ``action``, unsigned; else ``AccessDenied``."""
        self._require_by_resource(Names(), "Anonymous", action, resource, resource_policy, context)

    def require_service(
        self,
        service: str,
        action: str,
        resource: str,
        *,
        resource_policy: ResourcePolicy | None,
        context: Context | None = None,
    ) -> None:
        """Return when the resource's policy lets ``service`` (``events.amazonaws.com``) in; else ``AccessDenied``."""
        names = Names(service=service)
        self._require_by_resource(names, service, action, resource, resource_policy, context)

    def require_pass_role(self, caller: Asker, role_arn: str, service: str) -> None:
        """Return when ``caller`` may give a role to ``service`` (``lambda.amazonaws.com``), as who deploys a function does.

        Without this, whoever may create functions could become any role of the account. Raises ``AccessDenied``, for a
        role of another account too.
        """
        if _owner(role_arn) != caller.account:
            raise AccessDenied("Cross-account pass role is not allowed.")
        self.require(caller, "iam:PassRole", role_arn, context={"iam:PassedToService": service})

    def require_assume(
        self,
        caller: Asker,
        role_arn: str,
        trust: str | Mapping[str, Any],
        context: Context | None = None,
    ) -> None:
        """Return when the trust policy (and, where it only names an account, the caller's own) lets it assume the role.

        The root of an account counts as that account. Raises ``AccessDenied``.
        """
        action = "sts:AssumeRole"
        rights = self._source.rights(caller.principal_arn)
        asking = self._asking(caller, rights, action, role_arn, context)
        grant, denied = _granted(parse_policy(trust, PolicyKind.TRUST), asking, action.lower())
        own = rights.root or _effect(rights.policies, asking, action.lower())
        same = asking.account == caller.account
        allowed = (grant is Grant.DIRECT and same and own is not False) or (
            grant is not Grant.NONE and own is True
        )
        if denied or not allowed:
            raise AccessDenied(
                f"User: {caller.principal_arn} is not authorized to perform: {action} on resource: {role_arn}"
            )

    def _require_by_resource(
        self,
        names: Names,
        who: str,
        action: str,
        resource: str,
        resource_policy: ResourcePolicy | None,
        context: Context | None,
    ) -> None:
        facts = self._moment() | _lowered(context)
        asking = Asking(names, action, resource, _owner(resource), facts)
        decision = evaluate(asking, (), self._policy(resource_policy))
        if not decision.allowed:
            raise AccessDenied(
                f"{who} is not authorized to perform: {action} on resource: {resource} because {decision.reason}"
            )

    def _decide(
        self, rights: Rights, asking: Asking, resource_policy: ResourcePolicy | None
    ) -> Decision:
        own = (_EVERYTHING,) if rights.root else rights.policies
        return evaluate(asking, own, self._policy(resource_policy))

    def _asking(
        self, caller: Asker, rights: Rights, action: str, resource: str, context: Context | None
    ) -> Asking:
        facts: dict[str, str | Sequence[str]] = {
            **rights.facts,
            **self._moment(),
            "aws:sourceip": caller.source_ip,
            "aws:useragent": caller.user_agent,
            **_lowered(context),
        }
        return Asking(rights.names, action, resource, _owner(resource) or caller.account, facts)

    def _moment(self) -> dict[str, str | Sequence[str]]:
        now = self._clock.now()
        return {
            "aws:epochtime": str(int(now)),
            "aws:currenttime": iso_time(now, "seconds"),
        }

    def _policy(self, policy: ResourcePolicy | None) -> Policy | None:
        if policy is None or isinstance(policy, Policy):
            return policy
        if isinstance(policy, Mapping):
            return parse_policy(policy, PolicyKind.RESOURCE)
        compiled = self._compiled.get(policy)
        if compiled is None:
            compiled = parse_policy(policy, PolicyKind.RESOURCE)
            if len(self._compiled) >= RULINGS:
                self._compiled.clear()
            self._compiled[policy] = compiled
        return compiled


_EVERYTHING = parse_policy(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"},
    },
    PolicyKind.IDENTITY,
)


def _owner(resource: str) -> str:
    """The account in an ARN; empty when there is none."""
    parts = resource.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _lowered(context: Context | None) -> dict[str, str | Sequence[str]]:
    return {key.lower(): value for key, value in context.items()} if context else {}
