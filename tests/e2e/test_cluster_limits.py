"""A client's limit grows over the hosts of a ring while it is needed, up to its maximum, and shrinks when it is not."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.fleets import WAITS, Fleet, limits, running_fleet
from tests.servers import FORERUN, Server, clean_environment, eventually

from forerun.model import share_key
from forerun.scheduling import Ring

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(120)]

MOST, STEP = 40, 10
HOSTS = ("h1", "h2", "h3", "h4")
PERIOD_S = 3.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(
        tmp_path_factory.mktemp("limits"),
        planes=("a", "b"),
        hosts=HOSTS,
        FORERUN_LIMITS_ACCOUNT_CONCURRENCY=str(MOST),
        FORERUN_LIMITS_UNRESERVED_CONCURRENCY="1",
        FORERUN_CLUSTER_SHARE=str(STEP),
        FORERUN_CLUSTER_SHRINK_S=str(PERIOD_S),
        FORERUN_HOST_MEMORY_MB="6000",
        FORERUN_HOST_WAIT_S="2",
    ) as fleet:
        yield fleet


class Load:
    """Calls through both control planes that go on until it is over. ``there`` is how many have begun."""

    def __init__(self, fleet: Fleet, name: str, place: Path, pool: ThreadPoolExecutor) -> None:
        self._fleet, self._name, self._pool = fleet, name, pool
        self._there, self.until = place / "there", place / "until"
        self.calls: list[Future[object]] = []

    @property
    def payload(self) -> dict[str, str]:
        return {"there": str(self._there), "until": str(self.until)}

    def more(self, count: int) -> None:
        planes = self._fleet.planes
        for number in range(count):
            plane = planes[number % len(planes)]
            self.calls.append(self._pool.submit(plane.call, self._name, self.payload))

    @property
    def there(self) -> int:
        for call in self.calls:
            if call.done():
                call.result()
        return self._there.stat().st_size if self._there.exists() else 0


@contextmanager
def load(fleet: Fleet, name: str, place: Path) -> Iterator[Load]:
    with ThreadPoolExecutor(MOST) as pool:
        made = Load(fleet, name, place, pool)
        try:
            yield made
        finally:
            made.until.touch()
        for call in made.calls:
            assert call.result(30) == "whole"


def steps(plane: Server) -> dict[str, int]:
    """What each host may run of what the account shares."""
    shown = limits(plane).get("", {"Hosts": []})
    return {host["Name"]: host["Limit"] for host in shown["Hosts"] if host["Limit"]}


def test_a_limit_grows_by_steps_to_its_maximum_and_shrinks_again(
    fleet: Fleet, tmp_path: Path
) -> None:
    a, b = fleet.planes
    name = a.function(WAITS, Timeout=60)
    with load(fleet, name, tmp_path) as calls:
        calls.more(1)
        eventually(lambda: calls.there == 1, within=20, what="one runs")
        # What another test has used goes back first.
        eventually(
            lambda: sum(steps(a).values()) == STEP, within=20 * PERIOD_S, what="one step is enough"
        )
        # Nobody is refused on the way: all of them are there at once.
        calls.more(34)
        eventually(lambda: calls.there == 35, within=30, what="35 run at once")
        calls.more(5)
        eventually(lambda: calls.there == MOST, within=20, what="40 run at once")
        # What was measured before the load came may have made it smaller for a moment.
        eventually(
            lambda: steps(a) == dict.fromkeys(HOSTS, STEP) or print(steps(a)),
            within=20,
            what="all have it",
        )
        for plane in (a, b):
            with pytest.raises(ClientError) as refused:
                plane.lambda_.invoke(FunctionName=name, Payload=json.dumps(calls.payload))
            answer = refused.value.response
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
            assert answer["Error"]["Code"] == "TooManyRequestsException"
            assert answer["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert int(answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1
            assert f"its maximum {MOST}" in answer["Error"]["Message"]
        assert calls.there == MOST
        shown = eventually(
            lambda: (each := limits(a)[""])["Running"] == each["Current"] == MOST and each,
            what="beats tell of them",
        )
        assert shown["Maximum"] == MOST
    less = tmp_path / "less"
    less.mkdir()
    with load(fleet, name, less) as calls:
        calls.more(3)
        eventually(lambda: calls.there == 3, within=20, what="3 run")
        eventually(
            lambda: len(steps(a)) == 1 and sum(steps(a).values()) == STEP,
            within=20 * PERIOD_S,
            what="one step on one host is left",
        )
        # What runs goes on where it is, whoever may run more of it.
        assert calls.there == 3
    command = [FORERUN, "limits", "--data", a.data]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert f"One step is {STEP} concurrent calls on one host." in told.stderr
    assert str(MOST) in told.stdout


def test_limits_hold_while_many_want_more_at_once(fleet: Fleet, tmp_path: Path) -> None:
    """60 callers through both control planes: never more than the maximum, and the maximum is used."""
    ledger = tmp_path / "ledger"
    name = fleet.first.function(
        "import os, time\n"
        "def handler(event, context):\n"
        f"    out = os.open({str(ledger)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)\n"
        "    os.write(out, b'%f 1\\n' % time.monotonic())\n"
        "    time.sleep(0.3)\n"
        "    os.write(out, b'%f -1\\n' % time.monotonic())\n"
        "    os.close(out)\n",
        Timeout=20,
    )
    until = time.monotonic() + 8
    outcomes: Counter[int] = Counter()
    lock = threading.Lock()

    def call(number: int) -> None:
        plane = fleet.planes[number % 2]
        while time.monotonic() < until:
            try:
                plane.lambda_.invoke(FunctionName=name)
                status = 200
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                time.sleep(0.3)
            with lock:
                outcomes[status] += 1

    with ThreadPoolExecutor(60) as pool:
        list(pool.map(call, range(60)))
    running = most = 0
    moments = [line.split() for line in ledger.read_text().splitlines()]
    for _, change in sorted((float(at), int(change)) for at, change in moments):
        running += change
        most = max(most, running)
    assert set(outcomes) <= {200, 429}, outcomes
    assert MOST / 2 < most <= MOST, outcomes


def account_of(fleet: Fleet, number: int, home: Path) -> Server:
    """A further account, as a server of its own."""
    plane = fleet.first
    made = subprocess.run(
        [
            *(FORERUN, "account", "create", f"account-{number}", "--json"),
            *("--data", plane.data, "--database", fleet.database),
        ],
        capture_output=True,
        check=True,
        timeout=30,
        env=clean_environment(home),
    )
    told = json.loads(made.stdout)
    keys = {"access_key": told["access_key_id"], "secret_key": told["secret_access_key"]}
    owner = Server(plane.process, plane.data, plane.endpoint, plane.region, mode=plane.mode, **keys)

    def known() -> bool:
        signed = owner.signed("GET", "/forerun/limits", service="forerun")
        return owner.request("GET", "/forerun/limits", headers=signed).status == 200

    eventually(known, what="the new account's key is known")
    return owner


def test_accounts_have_hosts_of_their_own(fleet: Fleet, tmp_path: Path) -> None:
    """Each begins where the ring has it begin, and its calls stay there while that is enough."""
    ring = Ring(HOSTS)
    for number in range(4):
        owner = account_of(fleet, number, tmp_path)
        name = owner.function("def handler(event, context):\n    return event\n")
        for _ in range(4):
            assert owner.call(name, 1) == 1
            assert list(steps(owner)) == [next(ring.walk(share_key(owner.account, "")))]
