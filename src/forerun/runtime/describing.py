"""What an outgoing call is called in a profile: the same for calls that differ in ids only. Pure."""

from __future__ import annotations

import re

_MAX_PATH = 256
_MAX_NAME = 128
# A piece between separators that is an id: a number, a UUID, long hexadecimal, or long letters mixed with digits.
_ID = re.compile(
    r"(?<![0-9A-Za-z])"
    r"(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
    r"|[0-9]+"
    r"|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{16,}"
    r"|(?=[A-Za-z]*[0-9])[0-9A-Za-z]{20,})"
    r"(?![0-9A-Za-z])"
)
_API_DATE = re.compile(r"/[0-9]{4}-[0-9]{2}-[0-9]{2}/")
_LAMBDA = re.compile(r"/[0-9]{4}-[0-9]{2}-[0-9]{2}/functions(?:/|$)")
_SCOPE = re.compile(r"/[0-9]{8}/(?:[^/,\s]{1,64}/)?([^/,\s]{1,64})/aws4_request")
_ACTION = re.compile(r"(?:^|[?&])Action=([A-Za-z0-9]{1,128})(?:&|$)")
_LAMBDA_OPERATIONS = {
    "invocations": "Invoke",
    "invoke-async": "InvokeAsync",
    "response-streaming-invocations": "InvokeWithResponseStream",
}


def masked_path(path: str) -> str:
    """``path`` without its query, with ``*`` for ids; paths of the Lambda API are kept, as they name functions."""
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        path = "/" + path
    path = path[: _MAX_PATH * 4]
    if _LAMBDA.match(path) is None:
        version = _API_DATE.match(path)
        kept = version.end() if version is not None else 0
        path = path[:kept] + _ID.sub("*", path[kept:])
    return path[:_MAX_PATH]


def signing_name(authorization: str, target: str) -> str:
    """The service that an AWS request is signed for, by its header or its query; empty for other requests."""
    if authorization.startswith("AWS4-"):
        found = _SCOPE.search(authorization)
    elif "X-Amz-Credential=" in target:
        scope = target.partition("X-Amz-Credential=")[2].partition("&")[0]
        found = _SCOPE.search(scope.replace("%2F", "/").replace("%2f", "/"))
    else:
        return ""
    return found.group(1) if found is not None else ""


def operation_of(service: str, method: str, target: str, named: str) -> str:
    """What a request to ``service`` asks for, where that can be seen without its body.

    ``named`` is the value of ``X-Amz-Target``.
    """
    if not service:
        return ""
    if named:
        return named.rpartition(".")[2][:_MAX_NAME]
    path, _, query = target.partition("?")
    if service == "lambda" and method == "POST" and _LAMBDA.match(path):
        return _LAMBDA_OPERATIONS.get(path.rpartition("/")[2], "")
    if "/operation/" in path:
        return path.rpartition("/operation/")[2].partition("/")[0][:_MAX_NAME]
    return action_in(query)


def action_in(form: str) -> str:
    """The member ``Action`` of a form: AWS's older services are asked by it, in the query or in the body."""
    found = _ACTION.search(form)
    return found.group(1) if found is not None else ""
