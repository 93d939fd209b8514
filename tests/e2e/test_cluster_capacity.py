"""Hosts that are not needed go when their calls are over, and what an account has for itself is there on whichever hosts it is."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.accounts import as_new_account
from tests.fleets import WAITS, Fleet, limits, running_fleet
from tests.servers import Server, eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(120)]

HOSTS = ("h1", "h2")


def phases(fleet: Fleet) -> dict[str, str]:
    return {each["Name"]: each["Phase"] for each in fleet.told("hosts")["Hosts"]}


def test_a_host_that_is_not_needed_goes_when_its_calls_are_over(tmp_path: Path) -> None:
    """One call runs on each of two hosts, which is little for both: one of them is told to go, and its call ends as any other."""
    there, until = tmp_path / "there", tmp_path / "until"
    payload = {"there": str(there), "until": str(until)}
    settings = {
        # A host runs one call of an account: two calls are on two hosts.
        "FORERUN_CLUSTER_SHARE": "1",
        "FORERUN_LIMITS_ACCOUNT_CONCURRENCY": "2",
        "FORERUN_LIMITS_UNRESERVED_CONCURRENCY": "1",
        "FORERUN_HOST_MEMORY_MB": "4000",
        "FORERUN_CLUSTER_SCALE_LOW": "0.5",
        "FORERUN_CLUSTER_SCALE_QUIET_S": "6",
        "FORERUN_SERVER_DRAIN_S": "60",
    }
    with running_fleet(tmp_path, hosts=HOSTS, **settings) as fleet:
        plane = fleet.first
        name = plane.function(WAITS, Timeout=100)
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(plane.call, name, payload) for _ in range(2)]
            try:
                eventually(lambda: there.exists() and there.stat().st_size == 2, within=20)
                eventually(
                    lambda: sorted(phases(fleet).values()) == ["active", "draining"],
                    within=40,
                    what="one is let go",
                )
                assert not any(call.done() for call in calls)
                [gone] = [host for host, phase in phases(fleet).items() if phase == "draining"]
                assert fleet.joined(gone).process.poll() is None
            finally:
                until.touch()
            assert [call.result(20) for call in calls] == ["whole", "whole"]
        assert fleet.joined(gone).process.wait(30) == 0
        [stays] = set(HOSTS) - {gone}
        eventually(lambda: fleet.alive() == {stays}, within=20, what="there are fewer")
        assert plane.call(name, payload) == "whole"
        ran_on = {each["host"] for each in eventually(lambda: whole(plane, name, 3))}
        assert ran_on == set(HOSTS)


def whole(plane: Server, name: str, count: int) -> list[dict[str, str]]:
    found = [each for each in plane.invocations(name) if each["status"] == "success"]
    return found if len(found) == count else []


OWNER, RESERVED, SANDBOXES = "222222222222", 2, 3


@pytest.fixture(params=["borrow", "throttle"])
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fleet(tmp_path: Path, policy: str) -> Iterator[Fleet]:
    """Two hosts with room for few sandboxes, some of which are one account's altogether."""
    settings = {
        "FORERUN_HOST_MAX_SANDBOXES": str(SANDBOXES),
        "FORERUN_HOST_ACCOUNT_POOLS": f"{OWNER}:python3.11:{RESERVED}:{policy}",
        "FORERUN_HOST_WAIT_S": "8",
        "FORERUN_CLUSTER_SHARE": "2",
    }
    with running_fleet(tmp_path, hosts=HOSTS, **settings) as fleet:
        yield fleet


def owner_of(fleet: Fleet) -> Server:
    """The same control plane, as the account that has sandboxes of its own sees it."""
    return as_new_account(fleet.first, OWNER, fleet.folder, FORERUN_CLUSTER_DATABASE=fleet.database)


def test_what_is_reserved_is_there_when_all_else_is_used_up_on_all_hosts(
    fleet: Fleet, policy: str, tmp_path: Path
) -> None:
    plane, owner, pool_name = fleet.first, owner_of(fleet), f"python3.11@{OWNER}"
    until, ours_until = tmp_path / "until", tmp_path / "ours-until"
    others_there, ours_there = tmp_path / "there", tmp_path / "ours-there"
    shared = len(HOSTS) * SANDBOXES - RESERVED
    theirs = [plane.function(WAITS, Timeout=60) for _ in range(shared)]
    ours = [owner.function(WAITS, Timeout=60) for _ in range(RESERVED + 1)]

    def waiting() -> int:
        return int(plane.platform("/forerun/status")["pool"].get(pool_name, 0))

    def begin(
        pool: ThreadPoolExecutor, who: Server, names: list[str], there: Path, end: Path
    ) -> list[Future[object]]:
        payload = {"there": str(there), "until": str(end)}
        return [pool.submit(who.call, name, payload) for name in names]

    def begun(there: Path) -> int:
        return there.stat().st_size if there.exists() else 0

    eventually(lambda: waiting() == RESERVED, within=20, what="the reserved ones wait")
    with ThreadPoolExecutor(16) as pool:
        try:
            running = begin(pool, plane, theirs, others_there, until)
            eventually(lambda: begun(others_there) == shared, within=20, what="all else is used")
            assert waiting() == RESERVED
            running += begin(pool, owner, ours[:RESERVED], ours_there, ours_until)
            eventually(lambda: begun(ours_there) == RESERVED, within=10, what="both run")
            third = begin(pool, owner, ours[RESERVED:], tmp_path / "third", ours_until)
            if policy == "throttle":
                with pytest.raises(ClientError, match=pool_name) as refused:
                    third[0].result(20)
                assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
            else:
                assert not third[0].done()
                until.touch()
                eventually(lambda: begun(tmp_path / "third") == 1, within=10, what="it borrows")
                running += third
        finally:
            until.touch()
            ours_until.touch()
        assert [call.result(20) for call in running] == ["whole"] * len(running)
    for each in ours[:RESERVED]:
        [record] = eventually(lambda each=each: owner.invocations(each))
        assert record["start_type"] == "pool"


def test_what_may_wait_runs_when_the_hosts_are_less_busy(tmp_path: Path) -> None:
    """Events that both control planes accept wait while the memory of all hosts is in use, and run as soon as it is not."""
    settings = {"FORERUN_HOST_MEMORY_MB": "1024", "FORERUN_CLUSTER_SHARE": "1"}
    payload = {"there": str(tmp_path / "there"), "until": str(tmp_path / "until")}
    with (
        running_fleet(tmp_path, planes=("a", "b"), hosts=HOSTS, **settings) as fleet,
        ThreadPoolExecutor(2) as pool,
    ):
        plane = fleet.first
        busy = plane.function(WAITS, Timeout=100, MemorySize=640)
        report = plane.function(
            "def handler(event, context):\n    return event\n", Tags={"forerun:deferrable": "600"}
        )
        calls = [pool.submit(plane.call, busy, payload) for _ in HOSTS]
        try:
            for each in fleet.planes:
                eventually(
                    lambda each=each: limits(each).get("", {}).get("Running") == 2, within=20
                )
            for each in fleet.planes:
                eventually(lambda each=each: accepted(each, report), what="it is known there")
            eventually(lambda: held(fleet), within=30, what="they wait for memory")
            assert not plane.invocations(report)
            assert not any(call.done() for call in calls)
        finally:
            (tmp_path / "until").touch()
        assert [call.result(20) for call in calls] == ["whole"] * 2
        records = eventually(lambda: whole(plane, report, 2), within=30, what="they run")
        assert all(record["deferred_s"] > 0 for record in records)


def accepted(plane: Server, name: str) -> bool:
    """Whether it takes an event for this function, which may wait."""
    try:
        answer = plane.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    except ClientError:
        return False
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-forerun-deferred"] == "true"


def held(fleet: Fleet) -> bool:
    """Whether whoever has the duties holds them back because of memory."""
    told = [each.platform("/forerun/status")["deferrable"] for each in fleet.planes]
    return any("memory is booked" in each["held_by"] for each in told)
