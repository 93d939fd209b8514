"""X-Ray's filter expressions, as far as they are served. Pure.

Served are ``ok``, ``error``, ``fault``, ``throttle``, ``partial``; numbers ``duration``, ``responsetime``,
``http.status``; texts ``http.url``, ``http.method``, ``user``; ``service("NAME")``; ``annotation.KEY`` and
``annotation[KEY]``; joined by ``AND``, ``OR``, ``!`` and parentheses.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from forerun.errors import InvalidInput
from forerun.model import SpanStatus
from forerun.traces.xray_names import from_xray_id
from forerun.traces.xray_summary import TraceFacts

MAX_LENGTH = 2000
SERVED = (
    "ok, error, fault, throttle, partial, duration, responsetime, http.status, http.url, http.method, user, "
    'service("NAME"), id("TRACE"), annotation.KEY, annotation[KEY], compared by =, !=, <, <=, >, >=, BEGINSWITH, '
    "ENDSWITH, CONTAINS, and joined by AND, OR, ! and parentheses"
)

Filter = Callable[[TraceFacts], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])"
    r"|(?P<sign>!=|<=|>=|[=<>!()\[\]])|(?P<word>[A-Za-z_][\w.:/@-]*))"
)
_MAX_DEPTH = 32
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}
_TEXT: dict[str, Callable[[str, str], bool]] = {
    "BEGINSWITH": str.startswith,
    "ENDSWITH": str.endswith,
    "CONTAINS": lambda left, right: right in left,
}
_TRUTHS: dict[str, Filter] = {
    "ok": lambda trace: trace.statuses == {SpanStatus.OK},
    "error": lambda trace: bool(trace.statuses & {SpanStatus.ERROR, SpanStatus.THROTTLE}),
    "fault": lambda trace: SpanStatus.FAULT in trace.statuses,
    "throttle": lambda trace: SpanStatus.THROTTLE in trace.statuses,
    "partial": lambda trace: trace.partial,
}
_VALUES: dict[str, Callable[[TraceFacts], Any]] = {
    "duration": lambda trace: trace.duration_s,
    "responsetime": lambda trace: trace.response_s,
    "http.status": lambda trace: trace.http.get("http.response.status_code"),
    "http.url": lambda trace: trace.http.get("url.full", trace.http.get("url.path")),
    "http.method": lambda trace: trace.http.get("http.request.method"),
}


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def compile_filter(expression: str) -> Filter:
    """Whether a trace fits. Raises ``InvalidInput`` that says where the expression stops to be one, and what is served."""
    if len(expression) > MAX_LENGTH:
        raise InvalidInput(f"A filter expression has at most {MAX_LENGTH} characters")
    if not expression.strip():
        return lambda _trace: True
    return _Parser(expression).whole()


class _Parser:
    """One expression, read from left to right."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = _tokens(expression)
        self._next = 0
        self._depth = 0

    def whole(self) -> Filter:
        """All of it."""
        found = self._any()
        if self._peek().kind != "end":
            raise _refused(self._expression, self._peek().at)
        return found

    def _any(self) -> Filter:
        choices = [self._all()]
        while self._took_word("OR"):
            choices.append(self._all())
        return (
            choices[0]
            if len(choices) == 1
            else lambda trace: any(choice(trace) for choice in choices)
        )

    def _all(self) -> Filter:
        parts = [self._one()]
        while self._took_word("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda trace: all(part(trace) for part in parts)

    def _one(self) -> Filter:
        token = self._take()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidInput(
                f"A filter expression is nested at most {_MAX_DEPTH} deep; at character {token.at}"
            )
        try:
            if token.text == "!" or (token.kind == "word" and token.text.upper() == "NOT"):
                inner = self._one()
                return lambda trace: not inner(trace)
            if token.text == "(":
                grouped = self._any()
                self._expect(")")
                return grouped
            if token.kind == "word":
                return self._about(token)
        finally:
            self._depth -= 1
        raise _refused(self._expression, token.at)

    def _about(self, token: _Token) -> Filter:
        name = token.text
        word = name.lower()
        if word in _TRUTHS:
            return self._truth(_TRUTHS[word])
        if word in ("service", "id"):
            return self._named(word)
        if word == "user":
            return self._comparison_of_any(lambda trace: trace.users)
        if word == "annotation" and self._peek().text == "[":
            self._take()
            key = self._take().text.strip("\"'")
            self._expect("]")
            return self._annotation(key)
        if word.startswith("annotation.") and len(name) > len("annotation."):
            return self._annotation(name[len("annotation.") :])
        if word in _VALUES:
            value_of = _VALUES[word]
            return self._comparison_of_any(lambda trace: (value_of(trace),))
        raise _refused(self._expression, token.at)

    def _named(self, word: str) -> Filter:
        self._expect("(")
        wanted = self._text()
        self._expect(")")
        if word == "id":
            trace_id = from_xray_id(wanted)
            return lambda trace: trace.trace_id == trace_id
        return lambda trace: any(found == wanted for found, _ in trace.services)

    def _truth(self, holds: Filter) -> Filter:
        if self._peek().text not in ("=", "!="):
            return holds
        differs = self._take().text == "!="
        wanted = self._value()
        if not isinstance(wanted, bool):
            raise _refused(self._expression, self._tokens[self._next - 1].at)
        return lambda trace: holds(trace) is (wanted is not differs)

    def _annotation(self, key: str) -> Filter:
        if self._peek().text not in _COMPARE and self._peek().text.upper() not in _TEXT:
            return lambda trace: key in trace.annotations
        return self._comparison_of_any(lambda trace: (trace.annotations.get(key),))

    def _comparison_of_any(self, values_of: Callable[[TraceFacts], tuple[Any, ...]]) -> Filter:
        operator = self._take()
        wanted = self._value()
        if operator.text in _COMPARE:
            compare = _COMPARE[operator.text]
        elif operator.text.upper() in _TEXT and isinstance(wanted, str):
            compare = _TEXT[operator.text.upper()]
        else:
            raise _refused(self._expression, operator.at)
        return lambda trace: any(
            compare(value, wanted) for value in values_of(trace) if _comparable(value, wanted)
        )

    def _value(self) -> str | float | bool:
        token = self._take()
        if token.kind == "number":
            return float(token.text)
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.text.lower() in ("true", "false"):
            return token.text.lower() == "true"
        raise _refused(self._expression, token.at)

    def _text(self) -> str:
        token = self._peek()
        value = self._value()
        if not isinstance(value, str):
            raise _refused(self._expression, token.at)
        return value

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind == "end":
            raise _refused(self._expression, token.at)
        self._next += 1
        return token

    def _took_word(self, word: str) -> bool:
        token = self._peek()
        if token.kind == "word" and token.text.upper() == word:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        token = self._take()
        if token.text != sign:
            raise _refused(self._expression, token.at)


def _comparable(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return isinstance(value, bool) and isinstance(wanted, bool)
    if isinstance(wanted, float):
        return isinstance(value, int | float)
    return isinstance(value, str)


def _tokens(expression: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while expression[at:].strip():
        match = _TOKEN.match(expression, at)
        if match is None:
            raise _refused(expression, at)
        kind = str(match.lastgroup)
        found.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    found.append(_Token("end", "", len(expression)))
    return found


def _refused(expression: str, at: int) -> InvalidInput:
    shown = expression[at : at + 40] or "its end"
    return InvalidInput(
        f"The filter expression is not served from character {at} on ({shown}). Served are: {SERVED}"
    )
