"""Resource policies of functions: who else may invoke them, statement by statement."""

import re
import uuid
from typing import Any

import msgspec

from forerun.control.changes import Changes
from forerun.control.lookup import Lookup, require_revision
from forerun.control.rules import require_length, require_match, require_one_of
from forerun.control.statements import (
    POLICY_BYTES,
    principal_of,
    require_new_statement,
    without_statement,
)
from forerun.control.versions import RETRIES, busy
from forerun.errors import AlreadyExists, Conflict, InvalidInput, NotFound, PolicyTooLong
from forerun.storage.functions import LATEST
from forerun.storage.policies import PolicyStore, ResourcePolicy

_STATEMENT_ID = re.compile(r"([a-zA-Z0-9-_]+)")
_ACTION = re.compile(r"(lambda:[*]|lambda:[a-zA-Z]+|[*])")
_SOURCE_ARN = re.compile(
    r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}(-[a-z]+)+-\d{1})?:(\d{12})?:(.*)"
)
_SOURCE_ACCOUNT = re.compile(r"\d{12}")
_TOKEN = re.compile(r"[a-zA-Z0-9._\-]+")
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}")


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """What AddPermission asks for."""

    statement_id: str
    action: str
    principal: str
    source_arn: str | None = None
    source_account: str | None = None
    event_source_token: str | None = None
    organization: str | None = None
    url_auth_type: str | None = None
    via_url: bool | None = None


class Permissions:
    """Adds, removes and shows policies; each qualifier has its own."""

    def __init__(self, *, store: PolicyStore, lookup: Lookup, changes: Changes) -> None:
        self._store = store
        self._lookup = lookup
        self._changes = changes

    async def add(
        self,
        account: str,
        name: str,
        qualifier: str | None,
        permission: Permission,
        *,
        revision: str | None = None,
    ) -> dict[str, Any]:
        """Add a statement and return it.

        Raises ``AlreadyExists`` for a taken statement id, ``PolicyTooLong`` beyond 20 KB.
        """
        _check(permission)
        await self._require(account, name, qualifier)
        statement = statement_of(permission, self._lookup.arn(account, name, qualifier))
        for _ in range(RETRIES):
            policy = await self._store.find(account, name, qualifier or "")
            statements = policy.statements if policy else []
            require_revision(revision, policy.revision if policy else "")
            require_new_statement(statements, permission.statement_id)
            new = ResourcePolicy(str(uuid.uuid4()), [*statements, statement])
            if len(document(new)) > POLICY_BYTES:
                raise PolicyTooLong(
                    f"The final policy size is bigger than the limit ({POLICY_BYTES})."
                )
            if await self._saved(account, name, qualifier, new, policy):
                return statement
        raise busy(self._lookup.arn(account, name, qualifier))

    async def remove(
        self,
        account: str,
        name: str,
        qualifier: str | None,
        statement_id: str,
        *,
        revision: str | None = None,
    ) -> None:
        """Remove a statement; ``NotFound`` when there is none with that id."""
        await self._require(account, name, qualifier)
        for _ in range(RETRIES):
            policy = await self._store.find(account, name, qualifier or "")
            if policy is None:
                raise NotFound("No policy is associated with the given resource.")
            require_revision(revision, policy.revision)
            left = without_statement(policy.statements, statement_id)
            new = ResourcePolicy(str(uuid.uuid4()), left)
            if await self._saved(account, name, qualifier, new, policy):
                return
        raise busy(self._lookup.arn(account, name, qualifier))

    async def get(self, account: str, name: str, qualifier: str | None) -> ResourcePolicy:
        """The policy of one qualifier; ``NotFound`` when it has none."""
        await self._lookup.version(account, name, qualifier)
        policy = await self._store.find(account, name, qualifier or "")
        if policy is None:
            raise NotFound("The resource you requested does not exist.")
        return policy

    async def _require(self, account: str, name: str, qualifier: str | None) -> None:
        if qualifier == LATEST:
            raise InvalidInput("We currently do not support adding policies for $LATEST.")
        await self._lookup.version(account, name, qualifier)

    async def _saved(
        self,
        account: str,
        name: str,
        qualifier: str | None,
        new: ResourcePolicy,
        old: ResourcePolicy | None,
    ) -> bool:
        try:
            await self._store.save(
                account, name, qualifier or "", new, old=old.revision if old else None
            )
        except (Conflict, AlreadyExists):
            return False
        self._changes.tell(account, name)
        return True


def document(policy: ResourcePolicy) -> str:
    """The policy as a document, as GetPolicy prints it."""
    return msgspec.json.encode(
        {"Version": "2012-10-17", "Id": "default", "Statement": policy.statements}
    ).decode()


def statement_of(permission: Permission, arn: str) -> dict[str, Any]:
    """The statement for a permission to a function or qualifier."""
    conditions: dict[str, dict[str, str]] = {}
    equals = {
        "lambda:FunctionUrlAuthType": permission.url_auth_type,
        "lambda:EventSourceToken": permission.event_source_token,
        "AWS:SourceAccount": permission.source_account,
        "aws:PrincipalOrgID": permission.organization,
    }
    if given := {key: value for key, value in equals.items() if value is not None}:
        conditions["StringEquals"] = given
    if permission.source_arn is not None:
        conditions["ArnLike"] = {"AWS:SourceArn": permission.source_arn}
    if permission.via_url is not None:
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": str(permission.via_url).lower()}
    statement: dict[str, Any] = {
        "Sid": permission.statement_id,
        "Effect": "Allow",
        "Principal": principal_of(permission.principal),
        "Action": permission.action,
        "Resource": arn,
    }
    if conditions:
        statement["Condition"] = conditions
    return statement


def _check(permission: Permission) -> None:
    require_length("statementId", permission.statement_id, 1, 100)
    require_match("statementId", permission.statement_id, _STATEMENT_ID)
    require_match("action", permission.action, _ACTION)
    optional = (
        ("sourceArn", permission.source_arn, _SOURCE_ARN),
        ("sourceAccount", permission.source_account, _SOURCE_ACCOUNT),
        ("eventSourceToken", permission.event_source_token, _TOKEN),
        ("principalOrgID", permission.organization, _ORGANIZATION),
    )
    for member, value, pattern in optional:
        if value is not None:
            require_match(member, value, pattern)
    if permission.url_auth_type is not None:
        require_one_of("functionUrlAuthType", permission.url_auth_type, ("NONE", "AWS_IAM"))
        if permission.action not in ("lambda:InvokeFunctionUrl", "lambda:*", "*"):
            raise InvalidInput(
                "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
            )
