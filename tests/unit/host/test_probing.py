"""Probes: where they may go, how many there are, and what they find."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock

from forerun.host.channels import Sample
from forerun.host.probing import AT_ONCE, LEASE_S, MOST_WATCHED, Prober, Watched, may_probe

NAME = "service.example"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("198.51.100.7", True),
        ("10.1.2.3", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("100.96.0.6", False),
        ("100.111.255.1", False),
        ("no address", False),
        ("", False),
    ],
)
def test_probes_go_where_open_egress_leads_and_nowhere_else(address: str, allowed: bool) -> None:
    assert may_probe(address) is allowed


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50)), max_size=30))
def test_no_more_is_watched_than_may_be_and_nothing_for_longer(
    asked: list[tuple[int, int]],
) -> None:
    watched, now, until = Watched(), 0.0, {}
    for first, passed in asked:
        now += passed
        until = {service: end for service, end in until.items() if end > now}
        services = [f"s{number}:1" for number in range(first, first + 40)]
        watched.watch(["", "nonsense", "localhost:1", "a:0", "a:99999", *services], now)
        for service in services:
            if service in until or len(until) < MOST_WATCHED:
                until[service] = now + LEASE_S
        due = watched.due(now)
        assert set(due) == set(until)
        assert len(due) <= MOST_WATCHED


def test_what_was_probed_is_due_later_and_keeps_its_name() -> None:
    watched = Watched()
    watched.watch([f"{NAME}:80", "198.51.100.7:443"], 0.0)
    watched.next_at(f"{NAME}:80", 5.0)
    assert watched.due(1.0) == ["198.51.100.7:443"]
    assert watched.due(5.0) == ["198.51.100.7:443", f"{NAME}:80"]
    watched.found(f"{NAME}:80", ["198.51.100.8", "2001:db8::1"], 5.0)
    assert watched.addresses(f"{NAME}:80", 6.0) == (("198.51.100.8", "2001:db8::1"), False)
    assert watched.name_of("198.51.100.8", 80) == f"{NAME}:80"
    assert watched.name_of("2001:db8::1", 80) == f"{NAME}:80"
    assert watched.name_of("198.51.100.8", 81) == "198.51.100.8:81"
    assert watched.name_of("2001:db8::1", 81) == "[2001:db8::1]:81"
    watched.due(LEASE_S)
    assert watched.name_of("198.51.100.8", 80) == "198.51.100.8:80"
    assert watched.addresses(f"{NAME}:80", LEASE_S) == ((), True)


class Rig:
    """A prober that may probe this machine, whose names lead where the test says."""

    def __init__(self, *, local: bool = True, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        self.clock = FakeClock()
        self.told: list[Sample] = []
        self.looked_up: list[str] = []
        self.addresses = addresses
        self.prober = Prober(
            self.told.append, self.clock, every_s=5.0, local=local, look=self._look
        )

    def _look(self, host: str, _port: int) -> Sequence[str]:
        self.looked_up.append(host)
        if not self.addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return self.addresses

    async def turn(self, *services: str) -> list[Sample]:
        """What one turn finds."""
        self.prober.watched.watch(services, self.clock.monotonic())
        self.told.clear()
        await self.prober.turn()
        return list(self.told)


async def test_a_probe_opens_and_closes_a_connection_and_knows_the_round_trip() -> None:
    rig = Rig()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        service = f"{NAME}:{server.getsockname()[1]}"
        [found] = await rig.turn(service)
        assert found.service == service
        assert found.latency_ms is not None
        assert 0 < found.latency_ms < 1000
        assert not found.failed
        peer, _ = server.accept()
        with peer:
            assert peer.recv(1) == b""
        assert await rig.turn(service) == []
        rig.clock.jump(6.1)
        assert len(await rig.turn(service)) == 1
    rig.clock.jump(6.1)
    assert await rig.turn(service) == [Sample(service, failed=True)]
    assert rig.looked_up == [NAME]
    rig.prober.close()


async def test_nothing_is_sent_to_where_functions_cannot_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        rig = Rig(local=False, addresses=("127.0.0.1", "169.254.169.254"))
        assert await rig.turn(f"{NAME}:{server.getsockname()[1]}") == []
        with pytest.raises(TimeoutError):
            server.accept()
    rig.prober.close()


async def test_a_name_that_leads_nowhere_is_a_failure() -> None:
    rig = Rig(addresses=())
    assert await rig.turn(f"{NAME}:80") == [Sample(f"{NAME}:80", failed=True)]
    rig.prober.close()


async def test_while_names_cannot_be_looked_up_it_is_where_it_was() -> None:
    rig = Rig()
    with socket.create_server(("127.0.0.1", 0)) as server:
        service = f"{NAME}:{server.getsockname()[1]}"
        assert not (await rig.turn(service))[0].failed
        rig.addresses = ()
        for _ in range(3):
            rig.clock.jump(40.0)
            [found] = await rig.turn(service)
            assert not found.failed
    assert len(rig.looked_up) >= 3
    rig.prober.close()


async def test_few_probes_are_under_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    running, most = 0, 0

    async def connect(service: str, _address: str, _port: int) -> Sample:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Sample(service, latency_ms=1.0)

    monkeypatch.setattr("forerun.host.probing._connect", connect)
    services = [f"s{number}:80" for number in range(MOST_WATCHED)]
    found = await rig.turn(*services)
    assert {sample.service for sample in found} == set(services)
    assert len(found) == len(services)
    assert most == AT_ONCE
    rig.prober.close()
