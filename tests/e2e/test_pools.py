"""Sandboxes that wait for one account alone are there when all else is used up; afterwards its calls do as the operator said."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.accounts import as_new_account
from tests.servers import Server, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.root]

RESERVED = 2
SANDBOXES = 6
OWNERS = {"borrow": "222222222222", "throttle": "333333333333"}
LASTING = (
    "import time\ndef handler(event, context):\n    time.sleep(event['s'])\n    return event['s']\n"
)


@pytest.fixture(params=["borrow", "throttle"])
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(tmp_path: Path, policy: str) -> Iterator[Server]:
    """One with room for few sandboxes, some of which are one account's."""
    settings = {
        "FORERUN_HOST_MAX_SANDBOXES": str(SANDBOXES),
        "FORERUN_HOST_ACCOUNT_POOLS": f"{OWNERS[policy]}:python3.11:{RESERVED}:{policy}",
        "FORERUN_HOST_WAIT_S": "8",
    }
    with running(tmp_path / "data", settings=settings) as server:
        yield server


@pytest.fixture
def owner(server: Server, policy: str, tmp_path: Path) -> Server:
    """The same server, as the account that has sandboxes of its own sees it."""
    return as_new_account(server, OWNERS[policy], tmp_path)


def begin(
    pool: ThreadPoolExecutor, server: Server, names: list[str], seconds: float
) -> list[Future[Any]]:
    return [pool.submit(server.call, name, {"s": seconds}) for name in names]


def busy(server: Server) -> int:
    return int(server.platform("/forerun/status")["sandboxes"]["busy"])


def test_what_is_reserved_is_there_when_all_else_is_used_up(
    server: Server, owner: Server, policy: str
) -> None:
    name = f"python3.11@{OWNERS[policy]}"
    ours = [owner.function(LASTING, Timeout=30) for _ in range(RESERVED + 1)]
    others = [server.function(LASTING, Timeout=30) for _ in range(SANDBOXES - RESERVED + 1)]

    def waiting() -> int:
        status = server.platform("/forerun/status")
        assert status["pool_target"][name] >= RESERVED
        return int(status["pool"][name])

    eventually(lambda: waiting() == RESERVED, what="the reserved ones wait")
    with ThreadPoolExecutor(16) as pool:
        theirs = begin(pool, server, others[:-1], 6.0)
        eventually(lambda: busy(server) == SANDBOXES - RESERVED)
        one_more = begin(pool, server, others[-1:], 0.0)
        assert waiting() == RESERVED
        served = begin(pool, owner, ours[:RESERVED], 8.0)
        eventually(lambda: busy(server) == SANDBOXES)
        if policy == "throttle":
            with pytest.raises(ClientError, match=name) as refused:
                owner.call(ours[-1], {"s": 0})
            assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
        else:
            # It waits in line with all others, behind the one that came before.
            third = owner.call(ours[-1], {"s": 0})
            assert third == 0
        assert [call.result() for call in served] == [8.0] * RESERVED
        assert [call.result() for call in theirs] == [6.0] * len(theirs)
        assert one_more[0].result() == 0.0
    for each in ours[:RESERVED]:
        [record] = eventually(lambda each=each: owner.invocations(each))
        assert (record["start_type"], record["foresight"]) == ("pool", "miss")
    if policy == "borrow":
        [record] = eventually(lambda: owner.invocations(ours[-1]))
        assert record["placement"].endswith("after a wait for memory")


def test_a_pool_of_an_unknown_runtime_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"host\.account_pools: .* cobol"):
        Server.start(
            tmp_path / "data",
            settings={"FORERUN_HOST_ACCOUNT_POOLS": "222222222222:cobol:2:borrow"},
        )
