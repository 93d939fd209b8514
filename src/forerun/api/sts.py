"""STS: who am I, and temporary credentials."""

import re
from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler
from forerun.control.authorization import Authorizer
from forerun.control.identity import Identities, session_arn
from forerun.control.principals import Principals
from forerun.control.sessions import Session
from forerun.errors import AccessDenied, InvalidInput, NotFound, Unsupported
from forerun.model import Arn

HOUR_S = 3_600
_SHORTEST_S = 900
_LONGEST_TOKEN_S = 129_600
_DEFAULT_TOKEN_S = 43_200
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}\Z", re.ASCII)


class SecurityTokens:
    """Answers the operations of ``sts``."""

    def __init__(
        self, identities: Identities, principals: Principals, authorizer: Authorizer
    ) -> None:
        self._identities = identities
        self._principals = principals
        self._authorizer = authorizer

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "GetCallerIdentity": self.get_caller_identity,
            "AssumeRole": self.assume_role,
            "GetSessionToken": self.get_session_token,
            "GetAccessKeyInfo": self.get_access_key_info,
        }

    async def get_caller_identity(self, caller: Caller, _request: Any) -> dict[str, Any]:
        """Whose credentials these are; needs no permission."""
        return {
            "UserId": self._identities.user_id(caller.principal_arn),
            "Account": caller.account,
            "Arn": caller.principal_arn,
        }

    async def assume_role(self, caller: Caller, request: Any) -> dict[str, Any]:
        """Credentials of a role whose trust policy names the caller."""
        if request.Policy or request.PolicyArns:
            raise Unsupported("Session policies are not served yet; call AssumeRole without them")
        if request.SerialNumber or request.TokenCode:
            raise Unsupported("Multi-factor devices are not served; call AssumeRole without them")
        if request.Tags or request.TransitiveTagKeys:
            raise Unsupported("Session tags are not served yet; call AssumeRole without them")
        name = request.RoleSessionName
        if not _SESSION_NAME.match(name):
            raise InvalidInput(
                f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
            )
        role_arn = Arn.parse(request.RoleArn)
        role_name = role_arn.resource.rpartition("/")[2]
        try:
            role = self._principals.get(role_arn.account, "role", role_name)
        except NotFound:
            role = None
        if role is None or role.arn != request.RoleArn:
            # As AWS: who may not assume a role does not learn whether there is one.
            raise AccessDenied(
                f"User: {caller.principal_arn} is not authorized to perform: sts:AssumeRole on resource: "
                f"{request.RoleArn}"
            )
        context = {"sts:RoleSessionName": name}
        if request.ExternalId:
            context["sts:ExternalId"] = request.ExternalId
        self._authorizer.require_assume(caller, role.arn, role.document, context)
        chained = ":assumed-role/" in caller.principal_arn
        duration = _duration(
            request.DurationSeconds,
            default=min(HOUR_S, role.max_session_s),
            most=HOUR_S if chained else role.max_session_s,
        )
        arn = session_arn(role.account, role.name, name)
        session = self._identities.issue_session(arn, duration_s=duration)
        return {
            "Credentials": _credentials(session),
            "AssumedRoleUser": {"AssumedRoleId": f"{role.id}:{name}", "Arn": arn},
            "SourceIdentity": request.SourceIdentity,
        }

    async def get_session_token(self, caller: Caller, request: Any) -> dict[str, Any]:
        """Temporary credentials of the calling user or root."""
        if caller.access_key_id.startswith("ASIA"):
            raise AccessDenied("Cannot call GetSessionToken with session credentials")
        root = caller.principal_arn.endswith(":root")
        most = HOUR_S if root else _LONGEST_TOKEN_S
        duration = request.DurationSeconds
        if duration is not None and root:
            # AWS grants roots an hour, whatever they ask for.
            duration = min(duration, most)
        seconds = _duration(duration, default=min(_DEFAULT_TOKEN_S, most), most=most)
        session = self._identities.issue_session(caller.principal_arn, duration_s=seconds)
        return {"Credentials": _credentials(session)}

    async def get_access_key_info(self, _caller: Caller, request: Any) -> dict[str, Any]:
        """The account an access key belongs to."""
        key = self._identities.key(request.AccessKeyId)
        if key is None:
            raise InvalidInput(f"The access key {request.AccessKeyId} is not known")
        return {"Account": key.account}


def _duration(asked: int | None, *, default: int, most: int) -> int:
    if asked is None:
        return default
    if asked < _SHORTEST_S:
        raise InvalidInput(
            f"1 validation error detected: Value '{asked}' at 'durationSeconds' failed to satisfy constraint: "
            f"Member must have value greater than or equal to {_SHORTEST_S}"
        )
    if asked > most:
        raise InvalidInput(
            f"The requested DurationSeconds exceeds the longest session allowed here, {most} seconds: the "
            "MaxSessionDuration of the role, or one hour for a role that assumes a role."
        )
    return asked


def _credentials(session: Session) -> dict[str, Any]:
    return {
        "AccessKeyId": session.credentials.access_key_id,
        "SecretAccessKey": session.credentials.secret_access_key,
        "SessionToken": session.credentials.session_token,
        "Expiration": session.expires_at,
    }
