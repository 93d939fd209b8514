"""Common Expression Language over the fields of one event. The only module that knows the library.

What users write runs on the server's loop, so it can only be short: no macros over lists, no regular expressions that
are computed or count, and bounds on length and nesting. The library is loaded with the first of them: it takes memory.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from forerun.errors import InvalidInput
from forerun.metaevents.facts import OUTPUT, Value, fields_of

LONGEST = 1_000
LONGEST_PATTERN = 200

_TYPES = {str: "STRING", int: "INT", float: "DOUBLE", bool: "BOOL"}
_MACROS = {"all", "exists", "exists_one", "map", "filter"}
# As the library's own grammar has it: what would hide code from this one must hide it from that one, too.
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)"""
    r"""|(?P<raw>[bB]?[rR](?:'''.*?'''|\""".*?\"""|'[^'\n\r]*'|"[^"\n\r]*"))"""
    r"""|(?P<text>[bB]?(?:'''(?:\\.|[^\\])*?'''|\"""(?:\\.|[^\\])*?\"""|'(?:\\.|[^'\\\n\r])*'|"(?:\\.|[^"\\\n\r])*"))"""
    r"""|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<other>.)""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\[xXuU0-7]")
_WHERE = re.compile(r"<input>:(\d+):(-?\d+):")
# The library compares whole numbers with others, but its checker refuses to: `event.duration_ms > 200` is to be right.
_COMPARISONS = {">": "greater", ">=": "greater_equals", "<": "less", "<=": "less_equals"}
_COMPARED = ("int,int", "double,double", "int,double", "double,int", "string,string")
_IDS = {"int": "int64"}


class Expression:
    """A compiled expression. ``reads_output``: it looks at what an execution answered."""

    def __init__(self, text: str, compiled: Any, *, reads_output: bool) -> None:
        self.text = text
        self.reads_output = reads_output
        self._compiled = compiled

    def holds(self, bound: "Bound") -> bool | str:
        """Whether it is true of what ``bind`` bound; why it cannot be said where it cannot."""
        try:
            answer = self._compiled.eval(bound)
            value = answer.value()
        except RuntimeError as error:
            return _first_line(str(error))
        return value if isinstance(value, bool) else _first_line(str(value))


Bound = Any
"""The fields of one event, as ``bind`` made them of a mapping; good for any number of expressions of its kind."""


def compile_expression(text: str, kind: str, path: str) -> Expression:
    """Parse and type-check ``text`` over events of ``kind``; ``path`` names it in errors.

    Raises ``InvalidInput`` with line and column where it does not parse, has the wrong type, or could run long.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise InvalidInput(f"{path} must be an expression of 1 to {LONGEST} characters")
    _check_cost(text, path)
    try:
        text.encode()

        compiled = _environment(kind).compile(text)
    except (RuntimeError, ValueError) as error:
        raise InvalidInput(f"{path}: {_explained(str(error))}") from None
    if compiled.return_type() != _library().Type.BOOL:
        raise InvalidInput(
            f"{path} must be true or false, and '{text[:60]}' is of type {compiled.return_type().name().lower()}"
        )
    words = {match["word"] for match in _TOKEN.finditer(text)}
    return Expression(text, compiled, reads_output=OUTPUT in words)


def bind(kind: str, values: Mapping[str, Value]) -> Bound:
    """Bind the fields of an event of ``kind``, by ``event.NAME``, for expressions of that kind."""
    return _environment(kind).Activation(values)


@cache
def _library() -> Any:
    from cel_expr_python import cel  # noqa: PLC0415 as above

    return cel


@cache
def _environment(kind: str) -> Any:
    """Variables and functions of expressions over events of a kind."""
    cel = _library()
    variables = {
        f"event.{name}": getattr(cel.Type, _TYPES[each.type])
        for name, each in fields_of(kind).items()
    }
    return cel.NewEnv(config=_comparing_numbers(), variables=variables)


@cache
def _comparing_numbers() -> Any:
    excluded = "\n".join(f'  - name: "_{sign}_"' for sign in _COMPARISONS)
    functions = []
    for sign, name in _COMPARISONS.items():
        functions.append(f'- name: "_{sign}_"\n  overloads:')
        for pair in _COMPARED:
            left, right = pair.split(",")
            kinds = left if left == right else f"{left}_{right}"
            named = "_".join(_IDS.get(each, each) for each in kinds.split("_"))
            functions.append(
                f"  - id: {name}_{named}\n    args: [{{type_name: {left}}}, {{type_name: {right}}}]\n"
                "    return: {type_name: bool}"
            )
    text = (
        f"name: events\nstdlib:\n  exclude_functions:\n{excluded}\nfunctions:\n"
        + "\n".join(functions)
        + "\n"
    )
    return _library().NewEnvConfigFromYaml(text)


def _check_cost(text: str, path: str) -> None:
    """Refuse what the library would run for longer than the loop can spare."""
    if "`" in text:
        raise InvalidInput(f"{path}: '`' is not served")
    tokens = list(_tokens(text))
    for place, (kind, word) in enumerate(tokens):
        if kind != "word" or _at(tokens, place + 1) != ("other", "("):
            continue
        if word in _MACROS:
            raise InvalidInput(f"{path}: the macro '{word}' is not served; events have no lists")
        if word == "matches":
            _check_pattern(tokens, place, path)


def _check_pattern(tokens: list[tuple[str, str]], place: int, path: str) -> None:
    """A regular expression is a text of its own, short, and does not count: then it takes time by the length of its input."""
    kind, pattern = _at(tokens, place + 2)
    if kind not in ("text", "raw") or _at(tokens, place + 3) != ("other", ")"):
        raise InvalidInput(f"{path}: 'matches' must be given its pattern as one text in quotes")
    coded = kind == "text" and _ESCAPED.search(pattern)
    if len(pattern) > LONGEST_PATTERN or "{" in pattern or coded:
        raise InvalidInput(
            f"{path}: a pattern of 'matches' may have {LONGEST_PATTERN} characters and no '{{' nor numeric escapes"
        )
    try:
        said = _library().NewEnv().compile(f"''.matches({pattern})").eval(data={}).value()
    except RuntimeError:
        return
    if not isinstance(said, bool):
        raise InvalidInput(f"{path}: {_first_line(str(said))}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup not in (None, "space"):
            yield str(match.lastgroup), match.group()


def _at(tokens: list[tuple[str, str]], place: int) -> tuple[str, str]:
    return tokens[place] if place < len(tokens) else ("", "")


def _explained(message: str) -> str:
    """The library's first complaint with line and column, without its drawing."""
    where = _WHERE.search(message)
    said = _first_line(message)
    if where is None or int(where[2]) < 0:
        return said
    return f"line {where[1]}, column {where[2]}: {said}"


def _first_line(message: str) -> str:
    line = message.partition("\n")[0]
    line = re.sub(r"\A(INVALID_ARGUMENT|UNKNOWN|CANCELLED|[A-Z_]+): (ERROR: )?", "", line)
    line = _WHERE.sub("", line)
    return re.sub(r" \[[A-Z_]+\]\Z| \(in container ''\)", "", line).strip()[:300]
