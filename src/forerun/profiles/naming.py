"""Whom an outgoing call is to: a function of the platform, a service of AWS's kind, or just an address."""

import re
from collections.abc import Container
from typing import NamedTuple
from urllib.parse import unquote

from forerun.errors import InvalidInput
from forerun.model import OutgoingCall, parse_function_ref
from forerun.profiles.profile import FUNCTION, SERVICE

URL = "function-url"
PLATFORM = "forerun"
_INVOKE = re.compile(
    r"/(?:2015-03-31|2014-11-13|2021-11-15)/functions/([^/]+)"
    r"/(?:invocations|invoke-async|response-streaming-invocations)/?\Z"
)
_URL_PATH = "/lambda-url/"
_LONGEST = 200


class Callee(NamedTuple):
    """Who is called. ``qualifier`` is what was asked for, ``operation`` what is wanted of it, ``version`` of a function
    is what was seen to be reached.
    """

    kind: str
    name: str
    via: str = ""
    qualifier: str = ""
    operation: str = ""
    version: str = ""

    @property
    def key(self) -> str:
        """As ``CalleeProfile.key``."""
        return f"{self.kind}:{self.name}" + (f" via {self.via}" if self.via else "")


def function_name(caller_account: str, account: str, name: str) -> str:
    """How a function is called in the profiles of ``caller_account``: its name, with its account when that is another."""
    return name if account == caller_account else f"{account}:function:{name}"


def asked_for(call: OutgoingCall) -> str:
    """The function that an Invoke asks for, as it is written there; empty for other calls."""
    if call.service != "lambda":
        return ""
    found = _INVOKE.match(call.path)
    return unquote(found[1]) if found else ""


def callee_of(call: OutgoingCall, account: str, platform: Container[str]) -> Callee:
    """Name the callee of an outgoing call of ``account``'s; ``platform`` has the addresses of the platform itself.

    What is sent to a function URL is ``service:function-url`` until it is seen where it arrives.
    """
    at_home = call.host in platform
    operation = call.operation or f"{call.method} {call.path}".strip()
    operation = operation[:_LONGEST]
    if at_home and (asked := asked_for(call)):
        try:
            ref = parse_function_ref(asked)
        except InvalidInput:
            return Callee(SERVICE, "aws:lambda", operation="Invoke")
        name = function_name(account, ref.account or account, ref.name)
        return Callee(FUNCTION, name, "", ref.qualifier or "", "Invoke")
    if call.service:
        if asked_for(call):
            operation = "Invoke"
        return Callee(SERVICE, f"aws:{call.service}"[:_LONGEST], operation=operation)
    if at_home:
        to_url = call.path.startswith(_URL_PATH)
        return Callee(SERVICE, URL if to_url else PLATFORM, operation=operation)
    return Callee(SERVICE, call.host[:_LONGEST] or "unknown", operation=operation)
