"""What an execution of a function leads to in the end, and the map of an account. Pure, made of profiles.

The likelihood that a node is reached is the product along a way, and over several ways that of at least one; calls are
taken to be independent of each other, but for what all ways have in common, which is counted once. A way ends where it
would come back to where it has been: that is reported as a cycle.
"""

from collections.abc import Iterable, Iterator, Mapping

from forerun.profiles.findings import cycles_in
from forerun.profiles.graph import Edge, Graph, Node
from forerun.profiles.profile import FUNCTION, SERVICE, CalleeProfile, Profile, Quantiles

MOST_DEPTH = 32
MOST_NODES = 5_000
MOST_EDGES = 20_000

Calls = dict[str, float]
Rates = Mapping[str, float]


def reach(root: Profile, profiles: Mapping[str, Profile], rates: Rates | None = None) -> Graph:
    """Everything that an execution of ``root`` may lead to. ``profiles`` are of each function by name; ``rates`` executions
    per hour by name.
    """
    known = {**profiles, root.function: root}
    order, depths, back, cut = _walk(root.function, known)
    edges = [edge for at in order for edge in _edges_from(known.get(_function(at)), rates or {})]
    forward = [
        each for each in edges if each.target in depths and (each.source, each.target) not in back
    ]
    likelihoods = _likelihoods(order, forward)
    calls = _expected(order, forward)
    nodes = [
        _node(at, known, rates or {}, (likelihoods[at], calls[at], depths[at])) for at in order
    ]
    shown = [each for each in edges if each.target in depths]
    names = {_function(at) for at in order} & known.keys()
    cycles = cycles_in({name: known[name] for name in names})
    return Graph(
        nodes=_with_latencies(nodes, shown),
        edges=shown[:MOST_EDGES],
        cycles=[[_id(FUNCTION, name) for name in chain] for chain in cycles],
        cut=cut or len(shown) > MOST_EDGES,
    )


def service_map(profiles: Mapping[str, Profile], rates: Rates) -> Graph:
    """All functions of an account with what they call; ``rates`` also names functions that were not watched."""
    names = sorted(profiles.keys() | rates.keys())
    edges = [edge for name in names for edge in _edges_from(profiles.get(name), rates)]
    ids = dict.fromkeys(_id(FUNCTION, name) for name in names)
    ids.update(dict.fromkeys(edge.target for edge in edges))
    kept = dict.fromkeys(list(ids)[:MOST_NODES])
    shown = [edge for edge in edges if edge.source in kept and edge.target in kept][:MOST_EDGES]
    nodes = [_node(each, profiles, rates, None) for each in kept]
    cycles = [[_id(FUNCTION, name) for name in chain] for chain in cycles_in(profiles)]
    return Graph(
        nodes=_with_latencies(nodes, shown),
        edges=shown,
        cycles=[chain for chain in cycles if all(each in kept for each in chain)],
        cut=len(kept) < len(ids) or len(shown) < len(edges),
    )


def latest(profiles: Iterable[Profile]) -> dict[str, Profile]:
    """Of each function the version that was watched last, by name."""
    found: dict[str, Profile] = {}
    for profile in profiles:
        known = found.get(profile.function)
        if known is None or (profile.until, profile.version) > (known.until, known.version):
            found[profile.function] = profile
    return found


def _walk(
    root: str, known: Mapping[str, Profile]
) -> tuple[list[str], dict[str, int], set[tuple[str, str]], bool]:
    """What can be reached, callers before callees; the least depth of each; the calls that lead back; whether it was cut."""
    start = _id(FUNCTION, root)
    depths = {start: 0}
    level, cut = [start], False
    while level:
        following: list[str] = []
        for at in level:
            for target in _targets(known.get(_function(at))):
                if target in depths:
                    continue
                if depths[at] >= MOST_DEPTH or len(depths) >= MOST_NODES:
                    cut = True
                    continue
                depths[target] = depths[at] + 1
                following.append(target)
        level = following
    order: list[str] = []
    back: set[tuple[str, str]] = set()
    open_: set[str] = {start}
    done: set[str] = set()
    stack = [(start, iter(_targets(known.get(root))))]
    while stack:
        at, targets = stack[-1]
        for target in targets:
            if target in open_:
                back.add((at, target))
            elif target in depths and target not in done:
                open_.add(target)
                stack.append((target, iter(_targets(known.get(_function(target))))))
                break
        else:
            stack.pop()
            open_.discard(at)
            done.add(at)
            order.append(at)
    return order[::-1], depths, back, cut


def _likelihoods(order: list[str], edges: Iterable[Edge]) -> dict[str, float]:
    """How likely each node is reached from the first.

    ``doors`` has for each node the last one that all ways to it lead through; only what happens behind that door is a
    matter of several ways.
    """
    incoming: dict[str, Calls] = {}
    for edge in edges:
        known = incoming.setdefault(edge.target, {})
        missed = (1 - known.get(edge.source, 0.0)) * (1 - edge.likelihood)
        known[edge.source] = 1 - missed
    places = {at: place for place, at in enumerate(order)}
    doors = {order[0]: order[0]}
    behind = {order[0]: 1.0}
    found = {order[0]: 1.0}
    for at in order[1:]:
        sources = incoming[at]
        door = next(iter(sources))
        for source in sources:
            door = _common(door, source, doors, places)
        missed = 1.0
        for source, share in sources.items():
            missed *= 1 - share * _from_door(source, door, doors, behind)
        doors[at], behind[at] = door, 1 - missed
        found[at] = found[door] * behind[at]
    return found


def _common(one: str, two: str, doors: Mapping[str, str], places: Mapping[str, int]) -> str:
    while one != two:
        if places[one] > places[two]:
            one = doors[one]
        else:
            two = doors[two]
    return one


def _from_door(at: str, door: str, doors: Mapping[str, str], behind: Mapping[str, float]) -> float:
    share = 1.0
    while at != door:
        share *= behind[at]
        at = doors[at]
    return share


def _expected(order: list[str], edges: Iterable[Edge]) -> dict[str, float]:
    """How often each node is called on average for one execution of the first."""
    outgoing: dict[str, list[Edge]] = {}
    for edge in edges:
        outgoing.setdefault(edge.source, []).append(edge)
    found = dict.fromkeys(order, 0.0)
    found[order[0]] = 1.0
    for at in order:
        for edge in outgoing.get(at, ()):
            found[edge.target] += found[at] * edge.calls
    return found


def _edges_from(profile: Profile | None, rates: Rates) -> Iterator[Edge]:
    if profile is None or profile.executions <= 0:
        return
    rate = rates.get(profile.function)
    for callee in profile.callees:
        calls = callee.calls / profile.executions
        yield Edge(
            source=_id(FUNCTION, profile.function),
            target=_id(callee.kind, callee.name),
            via=callee.via,
            likelihood=callee.likelihood.value,
            calls=calls,
            per_hour=None if rate is None else rate * calls,
            p50=_at(callee.latency_ms, 50),
            p95=_at(callee.latency_ms, 95),
            error_rate=callee.error_rate.value if callee.latency_ms.count else None,
        )


def _node(
    at: str,
    known: Mapping[str, Profile],
    rates: Rates,
    reached: tuple[float, float, int] | None,
) -> Node:
    kind, _, name = at.partition(":")
    profile = known.get(name) if kind == FUNCTION else None
    likelihood, calls, depth = reached or (None, None, None)
    return Node(
        id=at,
        kind=kind,
        name=name,
        version=profile.version if profile else "",
        likelihood=likelihood,
        calls=calls,
        depth=depth,
        per_hour=rates.get(name) if kind == FUNCTION else None,
        p50=_at(profile.duration_ms, 50) if profile else None,
        p95=_at(profile.duration_ms, 95) if profile else None,
        error_rate=profile.error_rate.value if profile and profile.executions else None,
    )


def _with_latencies(nodes: Iterable[Node], edges: Iterable[Edge]) -> list[Node]:
    """Services are known from their callers alone: rates add up; the latency is told where there is one caller."""
    calls: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.target.startswith(SERVICE):
            calls.setdefault(edge.target, []).append(edge)
    return [_as_called(node, calls[node.id]) if node.id in calls else node for node in nodes]


def _as_called(node: Node, edges: list[Edge]) -> Node:
    rates = [edge.per_hour for edge in edges if edge.per_hour is not None]
    alone = edges[0] if len(edges) == 1 else None
    weights = [(edge.per_hour or edge.calls, edge.error_rate) for edge in edges]
    failing = [(weight, rate) for weight, rate in weights if rate is not None and weight > 0]
    total = sum(weight for weight, _ in failing)
    return Node(
        id=node.id,
        kind=node.kind,
        name=node.name,
        likelihood=node.likelihood,
        calls=node.calls,
        depth=node.depth,
        per_hour=sum(rates) if rates else None,
        p50=alone.p50 if alone else None,
        p95=alone.p95 if alone else None,
        error_rate=sum(weight * rate for weight, rate in failing) / total if total else None,
    )


def _targets(profile: Profile | None) -> list[str]:
    """Whom it calls, most likely first."""
    if profile is None:
        return []
    callees = sorted(profile.callees, key=_likely)
    return list(dict.fromkeys(_id(callee.kind, callee.name) for callee in callees))


def _likely(callee: CalleeProfile) -> tuple[float, str]:
    return -callee.likelihood.value, callee.key


def _id(kind: str, name: str) -> str:
    return f"{kind}:{name}"


def _function(node: str) -> str:
    """The function's name, or a name that no function has."""
    kind, _, name = node.partition(":")
    return name if kind == FUNCTION else ""


def _at(quantiles: Quantiles, which: int) -> float | None:
    if not quantiles.count:
        return None
    return quantiles.p50 if which == 50 else quantiles.p95
