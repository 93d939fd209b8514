"""Names and ARNs: parsing and printing, after AWS's grammar."""

import re
from typing import NamedTuple

from forerun.errors import InvalidInput

_FUNCTION = re.compile(r"[a-zA-Z0-9-_]{1,64}\Z")
_QUALIFIER = re.compile(r"\$LATEST\Z|[a-zA-Z0-9-_]{1,128}\Z")
_ACCOUNT = re.compile(r"\d{12}\Z")


class Arn(NamedTuple):
    """``arn:partition:service:region:account:resource``."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> "Arn":
        """Split an ARN; ``InvalidInput`` when it is none."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn" or not parts[2]:
            raise InvalidInput(f"Value '{text}' is not a valid ARN")
        return cls(*parts[1:])

    def __str__(self) -> str:
        return ":".join(("arn", *self))


class FunctionRef(NamedTuple):
    """A function as clients name it; ``None`` where the client left a part out."""

    name: str
    qualifier: str | None
    account: str | None
    region: str | None


def function_arn(region: str, account: str, name: str, qualifier: str | None = None) -> str:
    """``arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]``."""
    arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn


def layer_arn(region: str, account: str, name: str, version: int | None = None) -> str:
    """``arn:aws:lambda:REGION:ACCOUNT:layer:NAME[:VERSION]``."""
    arn = f"arn:aws:lambda:{region}:{account}:layer:{name}"
    return f"{arn}:{version}" if version is not None else arn


def parse_function_ref(text: str) -> FunctionRef:
    """Read ``name``, ``name:qualifier``, ``account:function:name[:qualifier]`` or an ARN.

    Raises ``InvalidInput`` for anything else.
    """
    account = region = None
    rest = text
    if text.startswith("arn:"):
        arn = Arn.parse(text)
        if arn.service != "lambda" or not arn.resource.startswith("function:"):
            raise InvalidInput(f"Value '{text}' at 'functionName' is not a function's ARN")
        account, region, rest = arn.account, arn.region, arn.resource.removeprefix("function:")
    elif ":function:" in text:
        account, _, rest = text.partition(":function:")
    name, colon, qualifier = rest.partition(":")
    if (
        not _FUNCTION.match(name)
        or (colon and not _QUALIFIER.match(qualifier))
        or (account is not None and not _ACCOUNT.match(account))
    ):
        raise InvalidInput(
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"
            r"([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
        )
    return FunctionRef(name, qualifier or None, account, region)
