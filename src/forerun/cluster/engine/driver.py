"""Speaks with the engine: looks who is there, puts a keeper on each member, and hands on wishes. Blocks; runs in the engine process."""

import contextlib
import logging
from typing import Any

import msgspec
import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from forerun.cluster.contract import Member
from forerun.cluster.engine.actor import AgentKeeper
from forerun.cluster.engine.watching import (
    NodeSeen,
    machines_to_request,
    machines_wanted,
    members_of,
    read_nodes,
    read_report,
)
from forerun.cluster.engine.wire import NAMESPACE, RESOURCE
from forerun.cluster.keeper import Kept

log = logging.getLogger("forerun.engine")

# A share of the node's one unit, so that a keeper can only be where an agent is to be.
_BIT = 0.001


class Driver:
    """One connection to the engine."""

    def __init__(self, address: str, ip: str) -> None:
        """Connect to the head at ``HOST:PORT`` by way of this machine's node. Raises ``ConnectionError`` and ``RayError``."""
        ray.init(
            address=address,
            _node_ip_address=ip,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=False,
        )
        self._nodes: dict[str, NodeSeen] = {}
        self._keepers: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._reports: dict[str, Kept | str] = {}
        self._dismissed: set[str] = set()
        self._wanted = 0
        # What an earlier connection has asked for stands until something else is.
        self._requested = -1

    def look(self, wait_s: float) -> list[Member]:
        """Who is there now, after at most ``wait_s`` seconds of waiting for keepers. Raises ``RayError``."""
        nodes = read_nodes(ray.nodes(), self._nodes)  # type: ignore[no-untyped-call]
        self._nodes = {each.node: each for each in nodes}
        for each in nodes:
            if not each.alive:
                self._forget(each.node)
            elif each.node not in self._asked and each.node not in self._dismissed:
                self._ask(each)
        self._hear(wait_s)
        self._request()
        return members_of(nodes, self._reports)

    def dismiss(self, name: str, grace_s: float) -> None:
        """End the agent of a member; its keeper ends, so that the machine is idle and the engine may let it go."""
        for node, seen in self._nodes.items():
            if seen.name != name or not seen.alive:
                continue
            self._dismissed.add(node)
            keeper = self._keepers.get(node) or self._keeper(seen)
            with contextlib.suppress(RayError):
                ray.get(keeper.end.remote(grace_s), timeout=grace_s + 10)
            self._forget(node)

    def scale(self, hosts: int, memory_mb: int) -> None:
        """Tell the engine how many members are wanted altogether; it fulfils that if it can, and lets idle ones go above it."""
        members = members_of(list(self._nodes.values()), {})
        self._wanted = machines_wanted(hosts, memory_mb, members)
        self._request()

    def _request(self) -> None:
        there = [each.node for each in self._nodes.values() if each.alive]
        dismissed = len(self._dismissed.intersection(there))
        number = machines_to_request(self._wanted, len(there) - dismissed, dismissed)
        if number != self._requested:
            request_resources(bundles=[{RESOURCE: 1}] * number)
            self._requested = number

    def _ask(self, node: NodeSeen) -> None:
        keeper = self._keepers.get(node.node)
        if keeper is None:
            keeper = self._keepers[node.node] = self._keeper(node)
        self._asked[node.node] = keeper.report.remote()

    def _keeper(self, node: NodeSeen) -> Any:
        # By the node's id, not the machine's name: the actor of a node that is gone never comes back, a new node's does.
        return (
            ray.remote(AgentKeeper)
            .options(
                name=f"keeper-{node.node}",
                get_if_exists=True,
                lifetime="detached",
                num_cpus=0,
                resources={RESOURCE: _BIT},
                max_restarts=-1,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.node, soft=False),
            )
            .remote()
        )

    def _hear(self, wait_s: float) -> None:
        if not self._asked:
            return
        by_ref = {ref: node for node, ref in self._asked.items()}
        done, _ = ray.wait(list(by_ref), num_returns=len(by_ref), timeout=wait_s)
        for ref in done:
            node = by_ref[ref]
            del self._asked[node]
            try:
                self._reports[node] = read_report(ray.get(ref))
            except (RayError, msgspec.DecodeError) as error:
                words = str(error).strip().splitlines()
                self._reports[node] = (
                    f"its keeper does not work: {words[-1][:300] if words else error!r}"
                )

    def _forget(self, node: str) -> None:
        self._asked.pop(node, None)
        self._reports.pop(node, None)
        if (keeper := self._keepers.pop(node, None)) is not None:
            with contextlib.suppress(RayError):
                ray.kill(keeper, no_restart=True)
