"""The second argument of a handler, attribute for attribute as AWS's runtime gives it."""

from __future__ import annotations

import time
from json import loads

from forerun.runtime.faults import CONTEXT, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class CognitoIdentity:
    """``context.identity``: who called through a mobile SDK; both ``None`` for all others."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, given: dict[str, Any]) -> None:
        self.cognito_identity_id = given.get("cognitoIdentityId")
        self.cognito_identity_pool_id = given.get("cognitoIdentityPoolId")

    def __repr__(self) -> str:
        return (
            f"CognitoIdentity([cognito_identity_id={self.cognito_identity_id},"
            f"cognito_identity_pool_id={self.cognito_identity_pool_id}])"
        )


class Client:
    """``context.client_context.client``."""

    __slots__ = (
        "app_package_name",
        "app_title",
        "app_version_code",
        "app_version_name",
        "installation_id",
    )

    def __init__(self, given: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, given.get(name))


class ClientContext:
    """``context.client_context``: what the caller put into its ClientContext parameter."""

    __slots__ = ("client", "custom", "env")

    def __init__(self, given: dict[str, Any]) -> None:
        self.custom = given.get("custom")
        self.env = given.get("env")
        client = given.get("client")
        self.client = None if client is None else Client(client)


class Facts:
    """What is the same for all invocations of one sandbox, and how ``context.log`` writes."""

    __slots__ = ("group", "log", "memory", "name", "stream", "version")

    def __init__(self, assignment: dict[str, Any], log: Callable[[str], None]) -> None:
        self.name = assignment["function_name"]
        self.version = assignment["function_version"]
        self.memory = str(assignment["memory_mb"])
        self.group = assignment["log_group"]
        self.stream = assignment["log_stream"]
        self.log = log


_NOBODY: dict[str, Any] = {}


class LambdaContext:
    """Facts about the function and this invocation. ``head`` is the head of an INVOKE frame."""

    def __init__(self, facts: Facts, head: dict[str, Any]) -> None:
        self.aws_request_id: str = head["request_id"]
        self.log_group_name = facts.group
        self.log_stream_name = facts.stream
        self.function_name = facts.name
        self.memory_limit_in_mb = facts.memory
        self.function_version = facts.version
        self.invoked_function_arn: str = head["invoked_arn"]
        self.tenant_id: str | None = head.get("tenant_id")
        self._deadline_ms: int = head["deadline_ms"]
        self._log = facts.log
        self._w3c: dict[str, str] = {}
        self.client_context: ClientContext | None = None
        if head.get("client_context"):
            self._read_client_context(head["client_context"])
        identity = head.get("identity")
        self.identity = CognitoIdentity(
            _parse(identity, "Cognito Identity") if identity else _NOBODY
        )

    def _read_client_context(self, text: str) -> None:
        given = _parse(text, "Client Context")
        trace = given.pop("w3c", None)
        if isinstance(trace, dict):
            self._w3c = {key: trace[key] for key in _W3C_FIELDS if isinstance(trace.get(key), str)}
            if not given:
                return  # the caller gave none: the platform did
        self.client_context = ClientContext(given)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout, never below 0."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """The W3C trace context the caller sent in the ``w3c`` member of its client context."""
        return dict(self._w3c)

    def log(self, msg: object) -> None:
        """Write ``msg`` to the function's log."""
        self._log(str(msg))

    def __repr__(self) -> str:
        shown = ",".join(
            f"{name}={getattr(self, name)}"
            for name in (
                "aws_request_id",
                "log_group_name",
                "log_stream_name",
                "function_name",
                "memory_limit_in_mb",
                "function_version",
                "invoked_function_arn",
                "client_context",
                "identity",
                "tenant_id",
            )
        )
        return f"LambdaContext([{shown}])"


def _parse(text: str, what: str) -> dict[str, Any]:
    try:
        given = loads(text)
    except (ValueError, RecursionError) as error:
        raise Fault(CONTEXT, "Unable to parse %s JSON: %s" % (what, error)) from None
    if not isinstance(given, dict):
        raise Fault(CONTEXT, "Unable to parse %s JSON: it is no object" % what)
    return given
