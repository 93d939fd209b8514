"""A limit over several hosts and two control planes: it grows in steps without a throttle, holds, shrinks, and survives a host."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from botocore.exceptions import ClientError
from tests.planes import running_cluster
from tests.servers import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

STEP, MOST = 3, 9
SETTINGS = {
    "FORERUN_LIMITS_ACCOUNT_CONCURRENCY": str(MOST),
    "FORERUN_LIMITS_UNRESERVED_CONCURRENCY": "1",
    "FORERUN_CLUSTER_SHARE": str(STEP),
    "FORERUN_CLUSTER_SHRINK_S": "3",
}
WAITS = """
import os, time
def handler(event, context):
    open(os.path.join(event["here"], context.aws_request_id), "w").close()
    while not os.path.exists(os.path.join(event["here"], "go")):
        time.sleep(0.05)
    return "went"
"""


@pytest.fixture
def cluster(tmp_path, postgres):
    url = postgres.fresh()
    with running_cluster(tmp_path, url, "a", "b", **SETTINGS) as cluster:
        for name in ("h1", "h2", "h3"):
            cluster.host(name)
        yield cluster
    postgres.give_back(url)


def shared(cluster):
    return cluster.told("limits")["Limits"][0]


def kill(joined):
    """At once, and nobody is there to start it again."""
    os.killpg(joined.process.pid, signal.SIGKILL)
    [file] = joined.data.rglob("agent.pid")
    os.kill(int(file.read_text().split()[0]), signal.SIGKILL)


def test_a_limit_grows_holds_shrinks_and_survives_a_host(cluster, tmp_path):
    a, b = cluster.planes
    name = a.function(WAITS, Timeout=60)
    here = tmp_path / "here"
    here.mkdir()
    with ThreadPoolExecutor(2 * MOST) as pool:
        try:
            calls = [
                pool.submit((a, b)[number % 2].call, name, {"here": str(here)})
                for number in range(MOST)
            ]
            eventually(lambda: len(os.listdir(here)) == MOST, within=60, what="all run")
            assert not [call for call in calls if call.done()], "none was throttled"
            eventually(lambda: shared(cluster)["Running"] == MOST)
            limit = shared(cluster)
            assert (limit["Current"], limit["Maximum"]) == (MOST, MOST)
            assert Counter(host["Limit"] for host in limit["Hosts"]) == {STEP: 3}
            assert all(host["Running"] <= host["Limit"] for host in limit["Hosts"])
            for plane in (a, b):
                with pytest.raises(ClientError, match=f"maximum {MOST}") as refused:
                    plane.call(name, {"here": str(here)})
                answer = refused.value.response
                assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
                assert answer["Reason"] == "ConcurrentInvocationLimitExceeded"
        finally:
            (here / "go").touch()
        wait(calls, 30)
        assert [call.result() for call in calls] == ["went"] * MOST
    eventually(lambda: shared(cluster)["Current"] == STEP, within=30, what="it shrinks to a step")
    [last] = [host["Name"] for host in shared(cluster)["Hosts"] if host["Limit"]]
    kill(next(host for host in cluster.hosts if host.name == last))
    others = {"h1", "h2", "h3"} - {last}

    def alive():
        return {host["Name"] for host in cluster.told("hosts")["Hosts"] if host["Alive"]}

    eventually(lambda: alive() == others, within=15, what="it is gone")
    with ThreadPoolExecutor(STEP) as pool:
        # They find the next host, whatever they were told of the first.
        assert (
            list(pool.map(lambda _: b.call(name, {"here": str(here)}), range(STEP)))
            == ["went"] * STEP
        )
