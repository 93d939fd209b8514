"""A run's way through the graph of calls: what it may still call is loaded, what it can no longer call is given up."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from tests.callers import (
    LOAD_S,
    SETTINGS,
    TRAINING,
    caller,
    plan,
    record_of,
    sampled,
    sandboxes_of,
    start_s,
    train,
    watching,
)
from tests.servers import Server, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.root]

# How long each runs before it calls the next: long enough to load what that calls.
AFTER_S = 1.5
SAMPLES = {"FORERUN_FORESIGHT_PRELOAD_SAMPLES": "4"}


class Graph(NamedTuple):
    """A calls B, which calls D, in nine of ten runs; else C, which calls E."""

    a: str
    b: str
    c: str
    d: str
    e: str


GRAPHS = {
    name: Graph(*(f"{name}-{function}" for function in "abcde")) for name in ("one", "two", "three")
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each test has a graph of its own, none of whose functions has been called since the server began."""
    data = tmp_path_factory.mktemp("traversal") / "data"
    with running(data, settings=TRAINING) as server:
        for graph in GRAPHS.values():
            for name in graph:
                caller(server, name)
            a, b, c, d, e = graph
            train(server, {(a, b, d): 36, (a, c, e): 4}, after=0.05)
            eventually(lambda: (sampled(server, b), sampled(server, c)) == (36, 4))  # noqa: B023 at once
    with running(data, settings=SETTINGS | SAMPLES) as server:
        yield server


def test_the_likely_way_is_started_before_its_calls(server):
    a, b, c, d, e = GRAPHS["one"]
    began = time.time()
    with watching(server, b, c, d, e) as seen:
        server.call(a, plan([a, b, d], after=AFTER_S))
    request = record_of(server, a, after=began)["request_id"]
    records = {name: record_of(server, name, after=began) for name in (b, d)}
    for name, record in records.items():
        assert seen.first[name] < record["timings"]["received"] - 0.1
        assert (record["start_type"], record["cause"]) == ("preloaded", request)
        assert start_s(record) < LOAD_S / 4
    # The whole way was within reach from the beginning; the other one was not likely enough.
    assert seen.first[d] < records[b]["timings"]["received"]
    assert not {c, e} & seen.first.keys()


def test_another_branch_closes_what_can_no_longer_be_called_and_starts_what_now_can(server):
    a, b, c, d, e = GRAPHS["two"]
    began = time.time()
    with ThreadPoolExecutor(1) as pool, watching(server, b, c, d, e) as seen:
        run = pool.submit(server.call, a, plan([a, c, e], after=AFTER_S))
        run.result(20)
    c_record, e_record = (record_of(server, name, after=began) for name in (c, e))
    assert {b, d} <= seen.first.keys()
    assert c not in seen.first
    # C was called: nothing leads to B and D any more, but E is next.
    called = c_record["timings"]["received"]
    for name in (b, d):
        assert seen.last[name] < called + 0.8
        assert not sandboxes_of(server, name)
    assert called < seen.first[e] < e_record["timings"]["received"] - 0.1
    request = record_of(server, a, after=began)["request_id"]
    assert (e_record["start_type"], e_record["cause"]) == ("preloaded", request)
    assert start_s(e_record) < LOAD_S / 4


def test_a_run_shows_how_likely_what_is(server):
    a, b, c, d, e = GRAPHS["three"]

    def shown():
        runs = server.platform("/forerun/foresight")["Running"]
        return {each["function"]: each for each in runs}

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(server.call, a, plan([a, b, d], after=AFTER_S))
        first = eventually(shown)[a]
        likely = {each["function"]: each["probability"] for each in first["ahead"]}
        assert set(likely) == {b, c, d, e}
        assert min(likely[b], likely[d]) > 0.7
        assert max(likely[c], likely[e]) < 0.2
        both = eventually(lambda: found if b in (found := shown()) else {})
        branches = {each["function"]: each for each in both[a]["branches"]}
        assert (branches[b]["seen"], branches[c]["excluded"]) == (1, True)
        assert both[b]["cause"] == both[b]["caller"] == first["request_id"]
        run.result(20)
    eventually(lambda: not shown())
