"""IAM policy documents: read, checked and compiled to statements that can be asked quickly. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from forerun.control.conditions import (
    Condition,
    Context,
    NullCondition,
    UnknownOperator,
    compile_condition,
    wildcard,
)
from forerun.errors import InvalidInput

_ACTION = re.compile(r"(\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+)\Z")
_ACCOUNT = re.compile(r"\d{12}\Z")
_PRINCIPAL_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::(\d{12}|cloudfront):\S+\Z")
_MEMBERS = frozenset(
    [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ]
)
_VERSIONS = ("2012-10-17", "2008-10-17")
_PRINCIPAL_KINDS = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})


class MalformedPolicy(InvalidInput):
    """The policy document is not valid."""


class PolicyKind(StrEnum):
    """What a document is attached to, which decides what its statements must say.

    ``IDENTITY`` a user or role (resources, no principal); ``RESOURCE`` a resource (principal); ``TRUST`` who may
    assume a role (principal, no resource).
    """

    IDENTITY = "identity"
    RESOURCE = "resource"
    TRUST = "trust"


class Grant(StrEnum):
    """How a statement names a principal: not at all, itself, or its whole account."""

    NONE = "none"
    DIRECT = "direct"
    ACCOUNT = "account"


class Names(NamedTuple):
    """A principal under every name a policy may use for it.

    ``arns``: a session of a role has its own ARN and the role's; ``service`` is set for a service of the platform
    (``lambda.amazonaws.com``), and then there is no account; with neither the caller is anonymous.
    """

    arns: tuple[str, ...] = ()
    account: str = ""
    service: str = ""


class PrincipalSet(NamedTuple):
    """The ``Principal`` (or ``NotPrincipal``) of a statement."""

    everyone: bool
    arns: frozenset[str]
    accounts: frozenset[str]
    services: frozenset[str]
    inverted: bool

    def grant(self, names: Names) -> Grant:
        """How this set names the principal."""
        found = self._found(names)
        if self.inverted:
            return Grant.DIRECT if found is Grant.NONE else Grant.NONE
        return found

    def _found(self, names: Names) -> Grant:
        if self.everyone or names.service in self.services:
            return Grant.DIRECT
        if not self.arns.isdisjoint(names.arns):
            return Grant.DIRECT
        return Grant.ACCOUNT if names.account in self.accounts else Grant.NONE


class Statement(NamedTuple):
    """One statement, compiled. ``principals`` is ``None`` in policies of identities."""

    sid: str
    allow: bool
    principals: PrincipalSet | None
    acts: Callable[[str], bool]
    covers: Callable[[str, Context], bool]
    conditions: tuple[Condition | NullCondition, ...]

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Whether action, resource and conditions fit, whoever asks; ``action`` is in lower case."""
        return (
            self.acts(action)
            and self.covers(resource, context)
            and all(condition.holds(context) for condition in self.conditions)
        )


class Policy(NamedTuple):
    """A document, compiled."""

    statements: tuple[Statement, ...]

    @property
    def allows_everything(self) -> bool:
        """Whether it allows every action on everything, always, and denies nothing."""
        return all(each.allow for each in self.statements) and any(
            each.acts is _anything and each.covers is _everywhere and not each.conditions
            for each in self.statements
        )


def parse_policy(document: str | bytes | Mapping[str, Any], kind: PolicyKind) -> Policy:
    """Read and compile a policy document. Raises ``MalformedPolicy`` naming what is wrong."""
    if isinstance(document, Mapping):
        read: object = document
    else:
        try:
            read = msgspec.json.decode(document)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            raise MalformedPolicy("Syntax errors in policy: it is not JSON.") from None
    if not isinstance(read, Mapping):
        raise MalformedPolicy("Syntax errors in policy: it is not a JSON object.")
    if unknown := set(read) - {"Version", "Id", "Statement"}:
        raise MalformedPolicy(f"Syntax errors in policy: unknown member '{sorted(unknown)[0]}'.")
    version = read.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise MalformedPolicy("The policy must contain a valid version string: 2012-10-17.")
    statements = read.get("Statement")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list | tuple) or not (statements or kind is PolicyKind.RESOURCE):
        raise MalformedPolicy("Syntax errors in policy: Statement is missing.")
    return Policy(
        tuple(_statement(each, kind, variables=version == "2012-10-17") for each in statements)
    )


def _statement(statement: object, kind: PolicyKind, *, variables: bool) -> Statement:
    if not isinstance(statement, Mapping):
        raise MalformedPolicy("Syntax errors in policy: a Statement is not an object.")
    if unknown := set(statement) - _MEMBERS:
        raise MalformedPolicy(
            f"Syntax errors in policy: unknown member '{sorted(map(str, unknown))[0]}' in Statement."
        )
    effect = statement.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise MalformedPolicy("Syntax errors in policy: Effect must be Allow or Deny.")
    sid = statement.get("Sid", "")
    if not isinstance(sid, str):
        raise MalformedPolicy("Syntax errors in policy: Sid must be a string.")
    return Statement(
        sid,
        effect == "Allow",
        _principals(statement, kind),
        _actions(statement),
        _resources(statement, kind, variables=variables),
        _conditions(statement.get("Condition", {}), variables=variables),
    )


def _one_of(statement: Mapping[str, Any], name: str) -> tuple[object, bool]:
    """The value of ``name`` or ``Not<name>`` (true), of which a statement has at most one."""
    if name in statement and f"Not{name}" in statement:
        raise MalformedPolicy(f"Statement has both {name} and Not{name}.")
    inverted = f"Not{name}" in statement
    return statement.get(f"Not{name}" if inverted else name), inverted


def _texts(value: object, what: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if (
        not isinstance(texts, list | tuple)
        or not texts
        or not all(isinstance(text, str) for text in texts)
    ):
        raise MalformedPolicy(
            f"Syntax errors in policy: {what} must be a string or a list of them."
        )
    return list(texts)


def _anything(_: str) -> bool:
    return True


def _everywhere(_: str, __: Context) -> bool:
    return True


def _actions(statement: Mapping[str, Any]) -> Callable[[str], bool]:
    value, inverted = _one_of(statement, "Action")
    if value is None:
        raise MalformedPolicy("Policy statement must contain actions.")
    actions = _texts(value, "Action")
    for action in actions:
        if not _ACTION.match(action):
            raise MalformedPolicy(
                f"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: '{action}'"
            )
    if not inverted and ("*" in actions or "*:*" in actions):
        return _anything
    match = _alternatives(action.lower() for action in actions).fullmatch
    return lambda action: (match(action) is not None) != inverted


def _alternatives(texts: Iterable[str]) -> re.Pattern[str]:
    patterns = (wildcard(text) for text in texts)
    return re.compile("|".join(pattern.pattern for pattern in patterns if pattern), re.DOTALL)


def _resources(
    statement: Mapping[str, Any], kind: PolicyKind, *, variables: bool
) -> Callable[[str, Context], bool]:
    value, inverted = _one_of(statement, "Resource")
    if kind is PolicyKind.TRUST:
        if value is not None:
            raise MalformedPolicy("Has prohibited field Resource.")
        return _everywhere
    if value is None:
        raise MalformedPolicy("Policy statement must contain resources.")
    resources = _texts(value, "Resource")
    for resource in resources:
        if resource != "*" and not resource.startswith(("arn:", "*", "${")):
            raise MalformedPolicy(f'Resource {resource} must be in ARN format or "*".')
    if not inverted and "*" in resources:
        return _everywhere
    with_variables = [text for text in resources if variables and "${" in text]
    plain = [text for text in resources if text not in with_variables]
    match = _alternatives(plain).fullmatch if plain else None

    def covers(resource: str, context: Context) -> bool:
        found = match is not None and match(resource) is not None
        for text in with_variables:
            pattern = None if found else wildcard(text, context)
            found = found or (pattern is not None and pattern.fullmatch(resource) is not None)
        return found != inverted

    return covers


def _principals(statement: Mapping[str, Any], kind: PolicyKind) -> PrincipalSet | None:
    value, inverted = _one_of(statement, "Principal")
    if kind is PolicyKind.IDENTITY:
        if value is not None:
            raise MalformedPolicy("Policy document should not specify a principal.")
        return None
    if value == "*":
        return _everyone(inverted=inverted)
    if not isinstance(value, Mapping) or not value:
        raise MalformedPolicy("Policy statement must contain principals.")
    if unknown := set(value) - _PRINCIPAL_KINDS:
        raise MalformedPolicy(f"Invalid principal in policy: '{sorted(map(str, unknown))[0]}'")
    named = set(_texts(value["AWS"], "Principal")) if "AWS" in value else set()
    services = _texts(value["Service"], "Principal") if "Service" in value else []
    everyone = "*" in named
    accounts = {_account_of(text) for text in named - {"*"}}
    return PrincipalSet(
        everyone,
        frozenset(text for text in named - {"*"} if not _account_of(text)),
        frozenset(accounts - {""}),
        frozenset(services),
        inverted,
    )


def _everyone(*, inverted: bool) -> PrincipalSet:
    none: frozenset[str] = frozenset()
    return PrincipalSet(everyone=True, arns=none, accounts=none, services=none, inverted=inverted)


def _account_of(text: str) -> str:
    """The account when ``text`` names a whole one, empty when it is the ARN of a principal."""
    if _ACCOUNT.match(text):
        return text
    if not _PRINCIPAL_ARN.match(text):
        raise MalformedPolicy(f'Invalid principal in policy: "AWS":"{text}"')
    return text.split(":")[4] if text.endswith(":root") else ""


def _conditions(block: object, *, variables: bool) -> tuple[Condition | NullCondition, ...]:
    if not isinstance(block, Mapping):
        raise MalformedPolicy("Syntax errors in policy: Condition must be an object.")
    found: list[Condition | NullCondition] = []
    for operator, keys in block.items():
        if not isinstance(keys, Mapping):
            raise MalformedPolicy(f"Syntax errors in policy: '{operator}' must be an object.")
        for key, value in keys.items():
            values = [
                _condition_text(each) for each in (value if isinstance(value, list) else [value])
            ]
            try:
                found.append(compile_condition(operator, key, values, variables=variables))
            except UnknownOperator:
                raise MalformedPolicy(f"Invalid Condition type: {operator}") from None
            except ValueError as error:
                raise MalformedPolicy(f"Invalid value in {operator} of '{key}': {error}") from None
    return tuple(found)


def _condition_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise MalformedPolicy("Syntax errors in policy: condition values must be strings.")
