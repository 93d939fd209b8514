"""How a profile looks on a terminal: numbers, callees, relations, the critical path, and what is reached in the end.

It takes the server's JSON and gives what rich draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from forerun.cli.output import clock_time, milliseconds

Json = Mapping[str, Any]

_BAR = 24
_SHORT_BAR = 8
_BLOCK, _SLIVER, _EMPTY = "█", "▏", "·"
_MOST_RELATIONS = 12
_DEEPEST = 12
_COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")


def profile_view(profile: Json) -> RenderableType:
    """All that is known of a version."""
    parts: list[RenderableType] = [_head(profile), _quantities(profile)]
    if profile["callees"]:
        parts += [_callees(profile["callees"]), _critical_path(profile["critical_path"])]
    else:
        parts.append(Text("It calls nobody.\n", style="dim"))
    if profile["relations"]:
        parts.append(_relations(profile["relations"]))
    return Group(*parts)


def graph_view(graph: Json) -> RenderableType:
    """What an execution may lead to, as a tree; what is reached on several ways is opened once."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    edges: dict[str, list[Json]] = {}
    for edge in graph["edges"]:
        edges.setdefault(edge["from"], []).append(edge)
    root = graph["nodes"][0]["id"]
    tree = Tree(_named(nodes[root]))
    seen = {root}
    _grow(tree, root, (nodes, edges, seen), 0)
    parts: list[RenderableType] = [tree]
    parts += [_cycle(chain) for chain in graph["cycles"]]
    if graph["cut"]:
        parts.append(Text("There is more than is shown.", style="yellow"))
    return Group(*parts)


def map_view(graph: Json) -> RenderableType:
    """Who calls whom, one call a line."""
    table = _table("CALLER", "CALLEE", "THROUGH")
    for heading in ("LIKELIHOOD", "CALLS/H", "P50 MS", "P95 MS", "FAILED"):
        table.add_column(heading, justify="right")
    for edge in graph["edges"]:
        failing = edge.get("error_rate")
        table.add_row(
            _name(edge["from"]),
            _name(edge["to"]),
            edge.get("via", ""),
            percent(edge["likelihood"]),
            _number(edge.get("per_hour")),
            milliseconds(edge.get("p50")),
            milliseconds(edge.get("p95")),
            Text(
                "-" if failing is None else percent(failing),
                style="red" if failing and failing >= 0.01 else "",
            ),
        )
    return Group(table, *(_cycle(chain) for chain in graph["cycles"]))


def percent(share: float) -> str:
    """As ``60 %`` or ``0.25 %``."""
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def _head(profile: Json) -> Text:
    head = Text()
    head.append(profile["function"], style="bold")
    head.append(f"  version {profile['version']}\n", style="dim")
    head.append(f"{profile['sampled']:,} executions watched")
    if profile["executions"] != profile["sampled"]:
        head.append(f", standing for {profile['executions']:,.0f}")
    head.append(f", {clock_time(profile['since'])[:19]} to {clock_time(profile['until'])[:19]}\n")
    head.append(
        f"{profile['invocations']:,} ran in all, {profile['per_hour']:,.0f} within the last hour\n"
    )
    head.append("starts  ", style="dim")
    head.append(_shares(profile["start_types"]) + "\n")
    rate = profile["error_rate"]
    head.append("errors  ", style="dim")
    failing = rate["value"] > 0
    head.append(percent(rate["value"]), style="red" if failing else "green")
    head.append(f" ({percent(rate['low'])} to {percent(rate['high'])})")
    if failing:
        head.append(f": {_shares(profile['errors'])}")
    if profile["throttles"]:
        head.append(f"; {profile['throttles']:,.0f} throttled", style="yellow")
    return head


def _quantities(profile: Json) -> Table:
    table = _table("")
    for heading in _COLUMNS:
        table.add_column(heading.upper(), justify="right")
    memory = profile["memory"]
    rows = (
        ("duration, ms", profile["duration_ms"]),
        ("of it waiting, ms", profile["waiting_ms"]),
        ("CPU time, ms", profile["cpu_ms"]),
        ("init, ms", profile["init_ms"]),
        (f"memory, MB of {memory['configured_mb']}", memory["used_mb"]),
    )
    for name, quantiles in rows:
        if quantiles["count"]:
            table.add_row(name, *(milliseconds(quantiles[each]) for each in _COLUMNS))
    return table


def _callees(callees: Sequence[Json]) -> Table:
    table = _table("CALLEE", "LIKELIHOOD", "")
    for heading in ("CALLS", "AFTER MS", "LATENCY MS", "P95", "FAILED", "WAITED FOR"):
        table.add_column(heading, justify="right")
    for callee in callees:
        likelihood = callee["likelihood"]
        latency = callee["latency_ms"]
        known = latency["count"] > 0
        failing = callee["error_rate"]["value"]
        table.add_row(
            _callee(callee),
            _bar(likelihood["value"], _SHORT_BAR, "cyan"),
            f"{percent(likelihood['value'])} ({percent(likelihood['low'])} to {percent(likelihood['high'])})",
            f"{callee['calls_per_execution']['mean']:.1f}",
            milliseconds(callee["delay_ms"]["p50"]),
            milliseconds(latency["p50"]) if known else "-",
            milliseconds(latency["p95"]) if known else "-",
            Text(percent(failing) if known else "-", style="red" if failing >= 0.01 else ""),
            percent(callee["critical_share"]) if known else "-",
        )
    return table


def _critical_path(path: Sequence[Json]) -> RenderableType:
    table = Table(title="What it waits for", title_justify="left", box=None, pad_edge=False)
    for _ in range(4):
        table.add_column()
    for step in path:
        own = step["who"] == "self"
        table.add_row(
            "itself" if own else _name(step["who"]),
            _bar(step["share"], _BAR, "green" if own else "magenta"),
            Text(percent(step["share"]), justify="right"),
            Text(f"{milliseconds(step['ms'])} ms", justify="right"),
        )
    return Group(table, Text())


def _relations(relations: Sequence[Json]) -> RenderableType:
    shown = sorted(relations, key=lambda each: -each["executions"])[:_MOST_RELATIONS]
    lines = [Text("In which order", style="italic")]
    lines += [Text(_relation(each)) for each in shown]
    if len(shown) < len(relations):
        lines.append(Text(f"and {len(relations) - len(shown)} pairs more", style="dim"))
    return Group(*lines, Text())


def _relation(relation: Json) -> str:
    first, second = _name(relation["first"]), _name(relation["second"])
    if relation["order"] == "before":
        said = f"{first} ends before {second} begins"
    elif relation["order"] == "after":
        said = f"{second} ends before {first} begins"
    elif relation["order"] == "overlapping":
        said = f"{first} and {second} at once"
    else:
        said = (
            f"{first} and {second} in either order: {percent(relation['before'])} before, "
            f"{percent(relation['after'])} after, {percent(relation['overlapping'])} at once"
        )
    if relation["order"] == "before" and relation["gap_ms"]["count"]:
        said += f", {milliseconds(relation['gap_ms']['p50'])} ms between"
    return f"{said}, in {relation['sampled']:,} executions"


_Walk = tuple[Mapping[str, Json], Mapping[str, list[Json]], set[str]]


def _grow(tree: Tree, at: str, walk: _Walk, depth: int) -> None:
    nodes, edges, seen = walk
    if depth >= _DEEPEST:
        if edges.get(at):
            tree.add(Text("…", style="dim"))
        return
    for edge in sorted(edges.get(at, ()), key=lambda each: -each["likelihood"]):
        target = edge["to"]
        label = _named(nodes[target])
        details = list(_edge(edge))
        again = target in seen
        if again:
            details.append("shown above")
        label.append(f"  {', '.join(details)}", style="dim")
        branch = tree.add(label)
        if not again:
            seen.add(target)
            _grow(branch, target, walk, depth + 1)


def _edge(edge: Json) -> Iterator[str]:
    yield f"in {percent(edge['likelihood'])} of the caller's executions"
    if edge.get("via"):
        yield f"through {edge['via']}"
    if abs(edge["calls"] - edge["likelihood"]) > 0.05:
        yield f"{edge['calls']:.1f} calls each"
    if edge.get("p50") is not None:
        yield f"{milliseconds(edge['p50'])} ms"


def _named(node: Json) -> Text:
    name = Text(node["name"], style="bold" if node["kind"] == "function" else "")
    if node.get("depth"):
        name.append(f"  {percent(node.get('likelihood') or 0.0)}", style="cyan")
    return name


def _callee(callee: Json) -> Text:
    name = Text(callee["name"], style="bold" if callee["kind"] == "function" else "")
    if callee["via"]:
        name.append(f" through {callee['via']}", style="dim")
    return name


def _cycle(chain: Sequence[str]) -> Text:
    names = [_name(each) for each in [*chain, chain[0]]]
    return Text(f"cycle: {' calls '.join(names)}", style="yellow")


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _bar(share: float, width: int, style: str) -> Text:
    filled = round(min(1.0, max(0.0, share)) * width)
    bar = Text(_BLOCK * filled if filled or not share else _SLIVER, style=style)
    bar.append(_EMPTY * (width - len(bar)), style="dim")
    return bar


def _shares(counts: Mapping[str, float]) -> str:
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {percent(count / total)}" for name, count in ordered if total) or "-"


def _name(key: str) -> str:
    return key.partition(":")[2]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
