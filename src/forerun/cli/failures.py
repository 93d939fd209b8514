"""Errors as one line that says what to do next; exit code 1, or 2 for wrong usage."""

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click

_KEY_ERRORS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "ExpiredTokenException",
    }
)


_CLUSTER_EXTRA = frozenset({"asyncpg", "ray"})


class Failure(click.ClickException):
    """The command did not do what was asked; ``next_step`` says what to do about it."""

    def __init__(self, message: str, next_step: str = "") -> None:
        message = " ".join(message.split())
        joint = "" if message.endswith((".", "!", "?", ":")) else "."
        super().__init__(f"{message}{joint} {next_step}" if next_step else message)


class Misuse(Failure):
    """The arguments cannot be meant so."""

    exit_code = 2


class Refused(Failure):
    """The server answered with an error. ``said`` is its message, if it gave one."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


def not_running(endpoint: str) -> Failure:
    """Nothing listens where the server should be."""
    return Failure(f"No Forerun server answers at {endpoint}.", "Start it with: forerun up")


def no_credentials() -> Failure:
    """A server is named, but no key for it."""
    return Failure("There are no credentials.", 'Run: eval "$(forerun env)"')


def explain(error: Exception) -> click.ClickException | None:
    """The failure to show for a foreign error; ``None`` when it is a bug and deserves its traceback."""
    for (module, *names), failure in _EXPLANATIONS.items():
        if _is(error, module, *names):
            return failure(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _CLUSTER_EXTRA:
        return Failure(
            f"A cluster needs {error.name}, which is not installed.",
            "Install it with: pip install 'forerun[cluster]'",
        )
    if isinstance(error, OSError) and error.filename:
        return Failure(f"{error.filename}: {error.strerror}")
    return None


def _is(error: Exception, module: str, *names: str) -> bool:
    # A module that is not loaded cannot have raised; importing botocore only to look would cost 100 ms.
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, tuple(getattr(loaded, name) for name in names))


def _refused(error: Any) -> Failure:
    detail = error.response.get("Error", {})
    code, message = detail.get("Code", "Unknown"), detail.get("Message") or str(error)
    operation = error.operation_name
    next_step = ""
    if code in _KEY_ERRORS:
        next_step = 'The keys are not this server\'s: run eval "$(forerun env)"'
    elif code == "ResourceNotFoundException":
        next_step = "See what there is with: forerun functions"
    elif code == "TooManyRequestsException":
        next_step = "Try again in a moment."
    return Failure(f"{operation} refused: {message} ({code})", next_step)


def _unreachable(error: Any) -> Failure:
    url = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
    return not_running(f"{url.scheme}://{url.netloc}" if url.netloc else "its endpoint")


# Most special first; a module may stand here several times.
_EXPLANATIONS: dict[tuple[str, ...], Callable[[Any], Failure]] = {
    ("forerun.errors", "ForerunError"): lambda error: Failure(str(error)),
    ("botocore.exceptions", "ClientError"): _refused,
    ("botocore.exceptions", "ParamValidationError"): lambda error: Misuse(str(error)),
    ("botocore.exceptions", "NoCredentialsError"): lambda error: no_credentials(),
    ("botocore.exceptions", "ConnectTimeoutError", "EndpointConnectionError"): _unreachable,
    ("botocore.exceptions", "HTTPClientError", "BotoCoreError"): lambda error: Failure(
        str(error), "See: forerun status"
    ),
}
