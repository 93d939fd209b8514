"""What is known of paths: it follows the newest samples, shrugs at single ones, and nothing that is told of it can break it."""

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forerun.host.channels import FORGET_S, Channels, Sample
from forerun.host.flows import Flows, samples_of_calls
from forerun.model import OutgoingCall
from forerun.sandbox import Connection, TcpInfo

SERVICE = "db.example:5432"
any_number = st.floats(allow_nan=True, allow_infinity=True)


def probed(channels: Channels, latency_ms: float, since: float, until: float) -> float:
    """A sample each five seconds, the last one's time."""
    now = since
    while now <= until:
        channels.add(Sample(SERVICE, latency_ms=latency_ms), now)
        now += 5
    return now - 5


def latency(channels: Channels, now: float) -> float:
    quality = channels.quality(SERVICE, now)
    assert quality is not None
    return quality.latency_ms


@given(st.floats(0.01, 200), st.floats(0.01, 200))
def test_a_path_that_changes_is_seen_within_forty_seconds(before: float, after: float) -> None:
    channels = Channels()
    at = probed(channels, before, 0, 300)
    assert math.isclose(latency(channels, at), before, abs_tol=0.01)
    at = probed(channels, after, at + 5, at + 40)
    assert abs(latency(channels, at) - after) <= 0.15 * abs(after - before) + 0.01


@given(st.integers(3, 50), st.floats(100, 60_000))
def test_one_outlier_changes_nothing_and_two_do(known: int, far_ms: float) -> None:
    channels = Channels()
    for number in range(known):
        channels.add(Sample(SERVICE, latency_ms=1.0), number)
    channels.add(Sample(SERVICE, latency_ms=far_ms), known)
    assert latency(channels, known) == 1.0
    channels.add(Sample(SERVICE, latency_ms=far_ms), known + 1)
    assert latency(channels, known + 1) > 10


def test_a_busy_past_does_not_outweigh_what_is_new() -> None:
    channels = Channels()
    for number in range(20_000):
        channels.add(Sample(SERVICE, latency_ms=1.0), number / 1000)
    at = probed(channels, 50.0, 25, 65)
    assert latency(channels, at) > 40


def test_failures_count_and_fade() -> None:
    channels = Channels()
    at = probed(channels, 1.0, 0, 100)
    for _ in range(12):
        at += 5
        channels.add(Sample(SERVICE, failed=True), at)
    broken = channels.quality(SERVICE, at)
    assert broken is not None
    assert broken.failures > 0.8
    assert broken.latency_ms == 1.0
    at = probed(channels, 1.0, at + 5, at + 120)
    healed = channels.quality(SERVICE, at)
    assert healed is not None
    assert healed.failures < 0.1
    assert healed.age_s == 0


samples = st.builds(
    Sample,
    st.sampled_from([SERVICE, "a:1", "b:2", ""]),
    latency_ms=st.none() | any_number,
    failed=st.booleans(),
    bytes_per_s=any_number,
    sent=st.integers(),
    resent=st.integers(),
    reported=st.booleans(),
)


@given(st.lists(st.tuples(samples, any_number), max_size=50), any_number)
def test_whatever_is_said_qualities_are_sound(
    said: list[tuple[Sample, float]], until: float
) -> None:
    channels = Channels()
    for sample, now in said:
        channels.add(sample, now)
    if math.isnan(until):
        return
    for quality in channels.told(until).values():
        numbers = msgspec.structs.astuple(quality)
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert quality.failures <= 1
        assert quality.retransmits <= 1
        assert quality.samples > 0


@given(st.lists(st.integers(0, 30), max_size=200))
def test_the_services_that_were_used_last_are_kept(used: list[int]) -> None:
    channels = Channels(most=7)
    for at, number in enumerate(used):
        channels.add(Sample(f"s{number}:1", latency_ms=1.0), at)
    last = list(dict.fromkeys(reversed(used)))[:7]
    assert set(channels.told(len(used))) == {f"s{number}:1" for number in last}


def test_what_functions_say_counts_where_the_host_does_not_know_better() -> None:
    channels = Channels(most=5)
    invented = Sample(SERVICE, latency_ms=0.01, reported=True)
    channels.add(invented, 0)
    assert latency(channels, 0) == 0.01
    at = probed(channels, 40.0, 1, 21)
    for _ in range(1000):
        channels.add(invented, at)
        channels.add(Sample(SERVICE, failed=True, reported=True), at)
    for number in range(1000):
        channels.add(Sample(f"invented{number}:1", latency_ms=1.0, reported=True), at)
    assert channels.told(at)[SERVICE].latency_ms == 40.0
    assert channels.told(at)[SERVICE].failures == 0
    assert len(channels) == 6
    channels.add(Sample(SERVICE, latency_ms=50.0, reported=True), at + 31)
    assert latency(channels, at + 31) == 50.0
    assert channels.told(at + 31)[SERVICE].latency_ms == 50.0
    channels.add(Sample(SERVICE, latency_ms=40.0), at + 32)
    assert channels.told(at + 32)[SERVICE].latency_ms == 40.0


def test_what_is_told_changes_when_it_is_worth_it_and_ends() -> None:
    channels = Channels()
    at = probed(channels, 10.0, 0, 100)
    told = channels.told(at)[SERVICE]
    channels.add(Sample(SERVICE, latency_ms=10.2), at + 1)
    assert channels.told(at + 1)[SERVICE] is told
    at = probed(channels, 15.0, at + 2, at + 40)
    assert channels.told(at)[SERVICE].latency_ms > 14
    assert channels.told(at + 61)[SERVICE].age_s == 60
    assert channels.told(at + FORGET_S + 1) == {}
    assert len(channels) == 0


def call(**members: object) -> OutgoingCall:
    given: dict[str, object] = {
        "span_id": "ab" * 8,
        "started": 100.0,
        "ended": 100.5,
        "host": SERVICE,
        "status": 200,
    }
    return OutgoingCall(**(given | members))  # type: ignore[arg-type]


def test_calls_tell_of_paths_not_of_what_services_answer() -> None:
    told = samples_of_calls(
        [
            call(rtt_ms=3.0),
            call(status=503, rtt_ms=4.0),
            call(received_bytes=500_000),
            call(status=0, error="ConnectionResetError"),
            call(status=0, error="CancelledError"),
            call(status=0, ended=0.0, kind="connection"),
            call(status=0, ended=0.0),
            call(status=0, kind="connection", rtt_ms=2.0),
            call(host="127.0.0.1:4566", rtt_ms=1.0),
            call(host="localhost:80", rtt_ms=1.0),
            call(host="unix:/tmp/socket"),
            call(host="example:0"),
        ]
    )
    assert list(told) == [
        Sample(SERVICE, latency_ms=3.0, reported=True),
        Sample(SERVICE, latency_ms=4.0, reported=True),
        Sample(SERVICE, bytes_per_s=1_000_000, reported=True),
        Sample(SERVICE, failed=True, reported=True),
        Sample(SERVICE, failed=True, reported=True),
        Sample(SERVICE, latency_ms=2.0, reported=True),
    ]


def test_connections_tell_what_is_new_since_the_last_look() -> None:
    flows = Flows()

    def look(**members: object) -> list[Sample]:
        told = {
            "state": 1,
            "timeouts": 0,
            "rtt_ms": 5.0,
            "resent": 0,
            "segments": 10,
            "delivery_bytes_per_s": 0.0,
        }
        info = TcpInfo(**(told | members))  # type: ignore[arg-type]
        return list(flows.samples(SERVICE, Connection((1, 7), "192.0.2.1", 5432, info)))

    assert look(state=2, segments=1) == []
    assert look(state=2, segments=2, timeouts=1) == [Sample(SERVICE, failed=True)]
    assert look() == [Sample(SERVICE, latency_ms=5.0, sent=10)]
    assert look() == []
    assert look(segments=30, resent=4) == [Sample(SERVICE, latency_ms=5.0, sent=20, resent=4)]
    assert look(segments=31, resent=5, timeouts=3) == [Sample(SERVICE, failed=True)]
    assert look(segments=100, resent=5, delivery_bytes_per_s=1e6) == [
        Sample(SERVICE, latency_ms=5.0, bytes_per_s=1e6, sent=69)
    ]
