"""Leases of work: whatever the delays, pauses and clocks, a host never works on when the control plane thinks that it has ended."""

from hypothesis import given
from hypothesis import strategies as st

from forerun.cluster.lease import DRIFT, END_S, GrantedLease, WorkLease

LEASE_S = 6.0
seconds = st.floats(0, 20, allow_nan=False)
beats = st.lists(st.tuples(seconds, seconds, seconds, st.booleans()), max_size=12)


@given(
    beats,
    st.floats(1 - DRIFT / 2, 1 + DRIFT / 2),
    st.floats(1 - DRIFT / 2, 1 + DRIFT / 2),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_the_host_ends_before_the_control_plane_thinks_so(
    beats, host_rate, control_rate, host_zero, control_zero
) -> None:
    """Each beat waits before it is sent, on its way, and its answer on the way back; each clock has a rate and a zero of its own."""
    host, granted = WorkLease(LEASE_S), GrantedLease(LEASE_S)
    moment = 0.0

    def on_host(real: float) -> float:
        return host_zero + real * host_rate

    def on_control(real: float) -> float:
        return control_zero + real * control_rate

    renewed = False
    for pause, there, back, renews in beats:
        moment += pause
        sent, received, answered = moment, moment + there, moment + there + back
        if renews:
            granted.answer(on_control(received))
            host.renewed(on_host(sent), on_host(answered))
            renewed = True
    if not renewed:
        assert not host.holds(on_host(1e5))
        return
    # By real time.
    host_ends = (host.until - host_zero) / host_rate
    control_thinks = (granted.until - control_zero) / control_rate
    assert host_ends + END_S * 0.5 <= control_thinks + 1e-3
    assert not host.holds(on_host(control_thinks))
    now = on_control(moment)
    assert granted.over_in_s(now) == max(0.0, granted.until - now)


def test_without_an_answer_there_is_no_lease() -> None:
    lease = WorkLease(LEASE_S)
    assert not lease.holds(0.0)
    lease.renewed(10.0, 10.1)
    assert lease.holds(15.9)
    assert not lease.holds(16.0)


def test_an_older_answer_shortens_nothing_and_a_moment_to_come_gives_nothing() -> None:
    lease = WorkLease(LEASE_S)
    lease.renewed(10.0, 10.1)
    lease.renewed(5.0, 10.2)
    assert lease.until == 16.0
    lease.renewed(1e9, 10.3)
    lease.renewed(float("nan"), 10.3)
    assert lease.until == 16.0
