"""A trace as lines: who called whom at the left, when and how long at the right. Pure: it takes the server's JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from forerun.cli.output import milliseconds

Node = dict[str, Any]
Lines = Callable[[Node], Sequence[str]]

_BLOCK, _SLIVER, _OPEN = "█", "▏", "░"
_NAMES = 0.45
_LEAST_NAMES, _MOST_NAMES = 24, 72
_TIME = 10


class Row(NamedTuple):
    """One line of the drawing: guides and text, duration, where its bar begins and how it looks; or a line of a log."""

    guides: str
    text: str
    detail: str
    duration: str
    bar: str
    status: str


def rows(tree: dict[str, Any], width: int, lines: Lines | None = None) -> Iterator[Row]:
    """A row for each span, in the order of the tree; under each, what ``lines`` says of it."""
    room = max(10, width - names_width(width) - _TIME - 3)
    scale = (tree["started"], tree["duration_ms"], room)
    # Depth is bounded by the server, but not so that recursion would be safe everywhere.
    open_nodes = [(root, "", "", "") for root in reversed(tree["roots"])]
    while open_nodes:
        node, above, own, below = open_nodes.pop()
        yield _row(node, above + own, scale)
        children = node["children"]
        inner = above + below
        for line in lines(node) if lines is not None else ():
            yield Row(inner + ("│ " if children else "  "), "", line, "", "", "log")
        if node["cut"]:
            yield Row(inner, "", f"… {node['cut']} spans more are left out here", "", "", "log")
        last = len(children) - 1
        for index in range(last, -1, -1):
            marks = ("└ ", "  ") if index == last else ("├ ", "│ ")
            open_nodes.append((children[index], inner, *marks))


def names_width(width: int) -> int:
    """Columns for the names of spans on a terminal of so many columns."""
    return int(min(max(width * _NAMES, _LEAST_NAMES), _MOST_NAMES))


def headline(tree: dict[str, Any]) -> str:
    """One line about the whole."""
    said = [
        f"trace {tree['trace_id']}",
        f"{milliseconds(tree['duration_ms'])} ms",
        _count(tree["executions"], "execution"),
        _count(tree["spans"], "span"),
    ]
    if tree["cut"]:
        said.append(f"{tree['cut']} of them not shown")
    if tree["circles"]:
        said.append(f"{_count(tree['circles'], 'circle')} of parents opened")
    return ", ".join(said)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _row(node: Node, guides: str, scale: tuple[float, float, int]) -> Row:
    duration = node["duration_ms"]
    unfinished = duration is None
    text, detail = _described(node)
    return Row(
        guides,
        text,
        detail,
        "not ended" if unfinished else f"{milliseconds(duration)} ms",
        _bar(node, scale),
        "unfinished" if unfinished and node["status"] == "ok" else node["status"],
    )


def _described(node: Node) -> tuple[str, str]:
    said = node["attributes"]
    details: list[str] = []
    if node["source"] == "forerun" and node["kind"] == "server":
        text = node["service"]
        details += [str(said.get("forerun.start_type", ""))]
        if said.get("forerun.attempt", 1) != 1:
            details.append(f"attempt {said['forerun.attempt']}")
    elif node["kind"] == "client":
        invoked = str(said.get("faas.invoked_name", ""))
        text = node["name"]
        details.append(invoked or ("" if text.startswith("connect ") else _server(said)))
    elif not node["source"]:
        text = "somebody else"
        details.append("whose spans were not received")
    else:
        text = node["name"]
        details.append(node["service"] if node["source"] != "forerun" else "")
    failed = node["status"] != "ok"
    if failed:
        code = said.get("http.response.status_code", "")
        details.append(str(said.get("error.type") or code or node["status"]))
    if node["skew_ms"]:
        details.append(f"clock off by {milliseconds(node['skew_ms'])} ms")
    if node["caused_by"]:
        details.append("through somebody else")
    return text, ", ".join(detail for detail in details if detail)


def _server(said: dict[str, Any]) -> str:
    port = said.get("server.port")
    return f"{said.get('server.address', '')}" + (f":{port}" if port else "")


def _bar(node: Node, scale: tuple[float, float, int]) -> str:
    began, total_ms, room = scale
    per_cell = max(total_ms, 0.001) / 1000 / room
    first = min(room - 1, max(0, int((node["started"] - began) / per_cell)))
    if node["duration_ms"] is None:
        return " " * first + _OPEN * (room - first)
    cells = node["duration_ms"] / 1000 / per_cell
    length = min(room - first, round(cells))
    return " " * first + (_BLOCK * length if length else _SLIVER)
