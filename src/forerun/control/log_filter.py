"""CloudWatch's filter patterns, compiled to a predicate over one event's text. Pure.

Served: terms (``ERROR``, ``"two words"``, ``?this ?or ?that``, ``-without``) and JSON patterns
(``{ $.level = "ERROR" && $.ms > 5 }``). Space-delimited patterns (``[a, b]``) and regular expressions (``%...%``) are
refused: the first are rare, the second would let a caller's expression occupy the server.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from forerun.control.globs import STAR, join_glob
from forerun.errors import InvalidInput

Matches = Callable[[str], bool]

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')
_TOKEN = re.compile(
    r"\s*(?:(?P<op>&&|\|\||!=|<=|>=|=|<|>|\(|\))|(?P<selector>\$(?:\.[\w@-]+|\[\d+\])+)"
    r'|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[^\s()&|=<>!"]+))'
)
_STEP = re.compile(r"\.([\w@-]+)|\[(\d+)\]")
_MISSING = object()
_MAX_PATTERN = 1024
_MAX_DEPTH = 20

_decode = msgspec.json.Decoder().decode


def compile_filter(pattern: str) -> Matches:
    """The predicate of ``pattern``; an empty one matches everything. Raises ``InvalidInput``."""
    text = pattern.strip()
    if len(text) > _MAX_PATTERN:
        raise InvalidInput(f"The filter pattern is longer than {_MAX_PATTERN} characters")
    if not text:
        return _everything
    if text.startswith("{"):
        if not text.endswith("}"):
            raise _invalid("'}' is missing")
        return _json_filter(text[1:-1])
    if text.startswith("["):
        raise _invalid("space-delimited patterns are not served; use terms or a JSON pattern")
    if text.startswith("%"):
        raise _invalid("regular expressions are not served; use terms or a JSON pattern")
    return _terms_filter(text)


def _everything(_: str) -> bool:
    return True


def _invalid(why: str) -> InvalidInput:
    return InvalidInput(f"Invalid filter pattern: {why}")


def _terms_filter(text: str) -> Matches:
    found: dict[str, list[str]] = {"": [], "?": [], "-": []}
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise _invalid("a quote is not closed")
        sign, quoted, bare = match.groups()
        term = _unescape(quoted) if quoted is not None else bare
        if not term:
            raise _invalid("a term is empty")
        found[sign].append(term)
        position = match.end()
    required, either, excluded = found[""], found["?"], found["-"]

    def matches(line: str) -> bool:
        if required:
            wanted = all(term in line for term in required)
        else:
            wanted = not either or any(term in line for term in either)
        return wanted and not any(term in line for term in excluded)

    return matches


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


_Test = Callable[[Any], bool]


def _json_filter(text: str) -> Matches:
    test = _Parser(_tokens(text)).parse()

    def matches(line: str) -> bool:
        if "{" not in line:
            return False
        try:
            document = _decode(line.encode())
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        return isinstance(document, dict) and test(document)

    return matches


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _invalid(f"'{text[position:].strip()}' is not understood")
        kind = match.lastgroup
        value = match.group(kind)
        tokens.append(_Token(kind, _unescape(value) if kind == "text" else value))
        position = match.end()
    return tokens


class _Parser:
    """``or := and ('||' and)*``, ``and := item ('&&' item)*``, ``item := '(' or ')' | comparison``."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def parse(self) -> _Test:
        test = self._any()
        if self._next < len(self._tokens):
            raise _invalid(f"'{self._tokens[self._next].text}' is not expected")
        return test

    def _take(self) -> _Token:
        if self._next >= len(self._tokens):
            raise _invalid("it ends too early")
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _accept(self, operator: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] == ("op", operator):
            self._next += 1
            return True
        return False

    def _any(self) -> _Test:
        tests = [self._all()]
        while self._accept("||"):
            tests.append(self._all())
        return lambda document: any(test(document) for test in tests)

    def _all(self) -> _Test:
        tests = [self._item()]
        while self._accept("&&"):
            tests.append(self._item())
        return lambda document: all(test(document) for test in tests)

    def _item(self) -> _Test:
        if not self._accept("("):
            return self._comparison()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _invalid("it is nested too deeply")
        test = self._any()
        if not self._accept(")"):
            raise _invalid("')' is missing")
        self._depth -= 1
        return test

    def _comparison(self) -> _Test:
        token = self._take()
        if token.kind != "selector":
            raise _invalid(f"a selector like $.name is expected, not '{token.text}'")
        steps = tuple(name or int(index) for name, index in _STEP.findall(token.text))
        operator = self._take()
        if operator.kind == "word":
            test = self._state(operator.text.upper(), self._take().text.upper())
        elif operator.kind == "op" and operator.text not in ("(", ")", "&&", "||"):
            test = _compared(operator.text, self._take())
        else:
            raise _invalid(f"an operator is expected, not '{operator.text}'")
        return lambda document: test(_select(document, steps))

    def _state(self, word: str, what: str) -> _Test:
        states: dict[tuple[str, str], _Test] = {
            ("IS", "NULL"): lambda value: value is None,
            ("IS", "TRUE"): lambda value: value is True,
            ("IS", "FALSE"): lambda value: value is False,
            ("NOT", "EXISTS"): lambda value: value is _MISSING,
        }
        if (word, what) not in states:
            raise _invalid(f"'{word} {what}' is not understood")
        return states[word, what]


def _select(document: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return _MISSING
            document = document[step]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return _MISSING
    return document


_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _compared(operator: str, operand: _Token) -> _Test:
    if operand.kind not in ("text", "word"):
        raise _invalid(f"a value is expected, not '{operand.text}'")
    number = _number(operand)
    if number is not None:
        order = _ORDERS[operator]
        return lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and order(float(value), number)
        )
    if operator not in ("=", "!="):
        raise _invalid(f"'{operator}' needs a number, not '{operand.text}'")
    if operand.text.startswith("%"):
        raise _invalid("regular expressions are not served")
    parts = (STAR if not part else re.escape(part) for part in _stars(operand.text))
    expected = re.compile(join_glob(parts), re.DOTALL)
    equal = operator == "="
    return lambda value: isinstance(value, str) and (expected.fullmatch(value) is not None) is equal


def _stars(text: str) -> list[str]:
    """The pieces of ``text``, with an empty one for each ``*``."""
    return ["" if piece.startswith("*") else piece for piece in re.split(r"(\*+)", text) if piece]


def _number(operand: _Token) -> float | None:
    if operand.kind != "word":
        return None
    try:
        return float(operand.text)
    except ValueError:
        return None
