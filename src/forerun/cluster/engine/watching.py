"""What is made of what the engine tells: who the members are, and where a keeper is missing. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import msgspec

from forerun.cluster.contract import Member
from forerun.cluster.engine.wire import CPUS, RESOURCE
from forerun.cluster.keeper import Kept

MAX_HOSTS = 10_000


class NodeSeen(NamedTuple):
    """One node of ours, as the engine tells of it."""

    node: str
    name: str
    alive: bool
    cpus: float
    memory_mb: int


def read_nodes(told: Iterable[Mapping[str, Any]], known: Mapping[str, NodeSeen]) -> list[NodeSeen]:
    """Our nodes among all; of those that are gone only the ``known`` ones, since the engine forgets what they had."""
    found = []
    for each in told:
        node, resources = str(each["NodeID"]), each.get("Resources") or {}
        if not each["Alive"]:
            if node in known:
                found.append(known[node]._replace(alive=False))
        elif resources.get(RESOURCE):
            found.append(
                NodeSeen(
                    node=node,
                    name=str(each.get("NodeName") or each["NodeManagerAddress"]),
                    alive=True,
                    cpus=float(resources.get(CPUS, 0)),
                    memory_mb=int(resources.get("memory", 0) / (1 << 20)),
                )
            )
    return found


def members_of(nodes: Sequence[NodeSeen], reports: Mapping[str, Kept | str]) -> list[Member]:
    """One member for each name: a node that is there goes before one of that name that is gone.

    ``reports`` are by node: what its keeper said last, or why there is none.
    """
    chosen: dict[str, NodeSeen] = {}
    for each in nodes:
        before = chosen.get(each.name)
        if before is None or (each.alive and not before.alive):
            chosen[each.name] = each
    return [_member(each, reports.get(each.node)) for _, each in sorted(chosen.items())]


def _member(node: NodeSeen, report: Kept | str | None) -> Member:
    kept = report if isinstance(report, Kept) else None
    failure = report if isinstance(report, str) else kept.failure if kept else ""
    return Member(
        name=node.name,
        node=node.node,
        alive=node.alive,
        cpus=node.cpus,
        memory_mb=node.memory_mb,
        labels=dict(kept.agent.labels) if kept and kept.agent else {},
        agent=kept.agent if kept and node.alive else None,
        failure=failure if node.alive else "the engine does not reach this machine",
    )


def machines_wanted(hosts: int, memory_mb: int, members: Sequence[Member]) -> int:
    """How many machines that is, if further ones are like those there are."""
    sizes = [each.memory_mb for each in members if each.alive and each.memory_mb > 0]
    by_memory = ceil(memory_mb / statistics.median(sizes)) if sizes and memory_mb > 0 else 0
    return max(0, min(MAX_HOSTS, max(hosts, by_memory)))


def machines_to_request(wanted: int, kept: int, dismissed: int) -> int:
    """How many the engine is to be asked for, when ``kept`` have an agent and ``dismissed`` are there without.

    None that has an agent is ever idle, so they need not be asked for; and one that was dismissed must not do for another.
    """
    return wanted + dismissed if wanted > kept else 0


def read_report(body: bytes) -> Kept:
    """What a keeper said. Raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(body, type=Kept)
