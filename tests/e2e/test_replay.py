"""Recorded call trees, played through deployed functions, come back from the platform as they were recorded."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from bench.agreement import Agreement, compare, observed
from bench.recording import Node, parse
from bench.replaying import Player, deploy, services_of
from tests.servers import ROLE, Server, eventually, running
from tests.unit.bench.test_recording import row

pytestmark = pytest.mark.slow


def shop(trace: str, *, items: int, at_once: bool, checkout: bool) -> list[dict[str, str]]:
    """One visit: prices of some items one after the other or at once, perhaps a checkout that asks stock again."""
    rows = [row("r", "root", "front-579b9bff58-t2dbm", 0, 200 + 40 * items, trace=trace)]
    end = 20.0
    for item in range(items):
        begins = 20 + (2 if at_once else 25) * item
        rows.append(row(f"p{item}", "r", "price-6f6cfc45b-d9pnv", begins, begins + 20, trace=trace))
        end = begins + 20
    if checkout:
        rows += [
            row("c", "r", "checkout-6f6cfc45b-h5m2n", end + 10, end + 100, trace=trace),
            row("s", "c", "stock-0", end + 20, end + 40, trace=trace),
            row("s2", "c", "stock-0", end + 50, end + 70, trace=trace),
            row("q", "s", "price-6f6cfc45b-d9pnv", end + 25, end + 35, trace=trace),
        ]
    return rows


VISITS = [
    shop("one", items=3, at_once=False, checkout=True),
    shop("two", items=3, at_once=True, checkout=False),
    shop("three", items=0, at_once=False, checkout=False),
    shop("four", items=1, at_once=False, checkout=True),
]


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that watches every execution."""
    settings = {
        "FORERUN_MONITORING_FUNCTION_PER_S": "1000",
        "FORERUN_MONITORING_TOTAL_PER_S": "1000",
    }
    with running(tmp_path_factory.mktemp("replay") / "data", settings=settings) as server:
        yield server


def seen_of(server: Server, trace_id: str, executions: int) -> list[Node]:
    """What the platform says of a trace, once it has as many executions."""

    def complete() -> list[Node]:
        path = f"/forerun/trace?TraceId={trace_id}"
        answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
        if answer.status == 404:
            return []
        assert answer.status == 200, answer
        if answer.json()["executions"] < executions:
            return []
        return observed(answer.json())

    return eventually(complete, what=f"{executions} executions of {trace_id}")


def test_call_trees_come_back_as_recorded(watching):
    trees = [parse(rows).trees[0] for rows in VISITS]
    deploy(watching.lambda_, ROLE.format(account=watching.account), services_of(trees))
    player = Player(watching.lambda_)
    agreement = Agreement()
    for tree in trees:
        played = player.play(tree)
        assert played.failed == 0
        assert played.executions == len(list(tree.executions()))
        roots = seen_of(watching, played.trace_id, played.executions)
        assert [root.service for root in roots] == [tree.service]
        compare(tree, roots[0], agreement)
    assert agreement.complete, agreement
    assert (agreement.executions, agreement.calls) == (19, 15)
    assert agreement.overlaps == agreement.overlaps_kept == 3
    # Later, never earlier: what an execution takes beside what was recorded is the platform's and the machine's.
    assert all(took >= ideal - 2 for took, ideal in agreement.stretch)


def test_functions_that_call_each_other_are_a_cycle(watching):
    rows = [row("0", "root", "ping-0", 0, 90)]
    rows += [row(str(n), str(n - 1), ("ping-0", "pong-0")[n % 2], n, 90 - n) for n in range(1, 6)]
    tree = parse(rows).trees[0]
    deploy(watching.lambda_, ROLE.format(account=watching.account), services_of([tree]))
    played = Player(watching.lambda_).play(tree)
    (root,) = seen_of(watching, played.trace_id, 6)
    chain = [root]
    while chain[-1].steps:
        (step,) = chain[-1].steps
        chain.append(step.node)
    assert [node.service for node in chain] == ["ping", "pong"] * 3
    for outer, inner in pairwise(chain):
        assert outer.duration_ms >= inner.duration_ms
