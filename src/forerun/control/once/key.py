"""Execution identifiers: read from a header, or drawn from the event by a JMESPath expression of bounded cost. Pure."""

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import jmespath
import msgspec
from jmespath.exceptions import EmptyExpressionError, JMESPathError, LexerError, ParseError
from jmespath.functions import Functions

from forerun.errors import InvalidInput

LONGEST_ID: Final = 256
LONGEST_KEY: Final = 1024
_MOST_PARTS: Final = 200
# How often the event may stand in what an expression makes of it, and of what it made of that.
_MOST_COPIES: Final = 64
# Stands in no identifier that somebody can give.
_OF: Final = "\n"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="deterministic").encode
_Node = Mapping[str, Any]


def given_id(header: bytes, caller: str, owner: str) -> str:
    """The identifier that a request's header names, for a function of the account ``owner``.

    Those of other accounts, and of callers who did not sign (``caller`` is empty), are kept apart from the owner's own.
    """
    text = header.decode("latin-1")
    if not 1 <= len(text) <= LONGEST_ID or not text.isascii() or not text.isprintable():
        raise InvalidInput(
            f"X-Forerun-Execution-Id must have 1 to {LONGEST_ID} printable ASCII characters"
        )
    return text if caller == owner else f"{caller}{_OF}{text}"


def shown_id(identifier: str) -> str:
    """An identifier as people read it."""
    caller, of, text = identifier.partition(_OF)
    return f"{text} (of {caller or 'a caller without signature'})" if of else identifier


def check_key(expression: str) -> None:
    """``InvalidInput``, with the position, for what is no JMESPath expression or could cost too much."""
    if len(expression) > LONGEST_KEY:
        raise InvalidInput(f"Key must have at most {LONGEST_KEY} characters")
    try:
        parsed: _Node = _compiled(expression).parsed
    except EmptyExpressionError:
        raise InvalidInput("Key must not be empty") from None
    except ParseError as error:
        raise InvalidInput(_unparsable(expression, error)) from None
    except RecursionError:
        raise InvalidInput("Key is nested too deeply") from None
    except (JMESPathError, ValueError) as error:
        raise InvalidInput(f"Key is not a JMESPath expression: {error}") from None
    parts = _count(parsed)
    if parts > _MOST_PARTS:
        raise InvalidInput(f"Key has {parts} parts; at most {_MOST_PARTS} are allowed")
    if (copies := _copies(parsed)) > _MOST_COPIES:
        raise InvalidInput(
            f"Key could hold parts of the event {copies:.0f} times; at most {_MOST_COPIES} are allowed"
        )


def derived_id(expression: str, payload: bytes) -> tuple[str, str]:
    """The identifier that the expression finds in an event; without one, empty and why, in words."""
    try:
        found = _compiled(expression).search(_decode(payload or b"{}"))
        if _is_nothing(found):
            return "", f"Key {expression} is null in this event"
        text = found if isinstance(found, str) else _encode(found).decode()
    except (JMESPathError, msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        return "", f"Key {expression} could not be found in this event: {said}"
    if len(text) > LONGEST_ID or not text.isprintable():
        text = f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return text, ""


@lru_cache(1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _is_nothing(found: object) -> bool:
    """Nothing that names an event: null, an empty text, or several of nothing but those."""
    if isinstance(found, Mapping):
        return all(map(_is_nothing, found.values()))
    if isinstance(found, list):
        return all(map(_is_nothing, found))
    return found is None or found == ""


def _unparsable(expression: str, error: ParseError) -> str:
    said = error.message if isinstance(error, LexerError) else error.msg
    where = min(error.lex_position, len(expression)) + 1
    rest = expression[where - 1 : where + 19] or "the end"
    return f"Key is not a JMESPath expression: {said.rstrip(':. ')} at position {where}, before {rest!r}"


def _count(node: _Node) -> int:
    return 1 + sum(_count(each) for each in node["children"] if isinstance(each, Mapping))


def _copies(node: _Node) -> float:
    """A bound for how many times as large as its input a part's output is, and so for its cost."""
    inner = [_copies(each) for each in node["children"] if isinstance(each, Mapping)]
    kind = node["type"]
    if kind == "function_expression":
        return _call(node["value"], len(inner)) * math.prod(max(1.0, each) for each in inner)
    if kind.startswith("multi_select"):
        return max(1.0, sum(inner))
    # Of all other kinds one part is evaluated on what another gave, or one of them is chosen.
    return math.prod(max(1.0, each) for each in inner)


def _call(name: str, arguments: int) -> float:
    """How much a function adds; ``InvalidInput`` for one that there is not, or not with so many arguments."""
    known = _FUNCTIONS.get(name)
    if known is None:
        raise InvalidInput(f"Key calls {name[:50]}(), which is no function of JMESPath")
    signature = known["signature"]
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if arguments < len(signature) or (arguments > len(signature) and not variadic):
        least = "at least " if variadic else ""
        raise InvalidInput(
            f"Key calls {name}() with {arguments} arguments; it takes {least}{len(signature)}"
        )
    # A text in a text has its marks escaped.
    return 2.0 if name == "to_string" else 1.0


_FUNCTIONS: Final[Mapping[str, Mapping[str, Any]]] = Functions.FUNCTION_TABLE
