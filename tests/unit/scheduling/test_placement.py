"""Which host runs a call: what excludes one, what outweighs what, and how it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import ChannelQuality, Likely
from forerun.scheduling import Ask, Candidate, Rule, could_ever, place, qualified

RULE = Rule()
ASK = Ask(key="k", runtime="python3.11", memory_mb=128, pools=("python3.11",), trees=("t",))
SERVICE = (Likely("s:80", 0.9, 1.0, 100),)


def host(name: str, **about) -> Candidate:
    """One that is ready for anything: the code is there, and so is an unassigned sandbox."""
    made = Candidate(name)
    usual = {
        "open": True,
        "runtimes": frozenset({"python3.11"}),
        "isolation": "jail",
        "memory_mb": 1024,
        "free_mb": 1024,
        "room_mb": 1024,
        "pools": {"python3.11": 1},
        "trees": {"t"},
    }
    for service, quality in about.pop("channels", {}).items():
        made.reaches(service, quality, RULE)
    for field, value in (usual | about).items():
        setattr(made, field, value)
    return made


def order(*hosts: Candidate, ask: Ask = ASK, **about) -> list[str]:
    placed = place(ask, hosts, RULE, **about)
    return placed.hosts if placed is not None else []


def far(ms: float, **about) -> dict[str, ChannelQuality]:
    return {"s:80": ChannelQuality(latency_ms=ms, samples=9, **about)}


@pytest.mark.parametrize(
    "about",
    [
        {"open": False},
        {"runtimes": frozenset({"nodejs20.x"})},
        {"memory_mb": 127},
        {"room_mb": 127, "free_mb": 0},
    ],
    ids=["closed", "without the runtime", "too small", "full"],
)
def test_what_a_host_cannot_do_excludes_it(about) -> None:
    assert order(host("bad", **about), host("good", load=50.0, trees=set(), pools={})) == ["good"]
    assert order(host("bad", **about)) == []


def test_isolation_zone_and_the_accounts_set_exclude() -> None:
    jail, other = host("jail", zone="a"), host("process", isolation="process", zone="b")
    with_isolation = Ask(key="k", runtime="python3.11", memory_mb=1, isolation="process")
    with_zone = Ask(key="k", runtime="python3.11", memory_mb=1, zone="a")
    assert order(jail, other, ask=with_isolation) == ["process"]
    assert order(jail, other, ask=with_zone) == ["jail"]
    assert order(jail, other, allowed={"process"}) == ["process"]
    assert order(jail, other, allowed=set()) == []


def test_a_full_host_still_serves_with_its_idle_sandbox() -> None:
    assert order(host("full", room_mb=0, free_mb=0, idle={"k": 1})) == ["full"]


def test_the_cheapest_start_goes_first() -> None:
    hosts = [
        host("cold", trees=set(), pools={}),
        host("fork", trees=set(), pools={"python3.11": 0}),
        host("evicting", free_mb=0, pools={}),
        host("pool", trees=set()),
        host("code", pools={"python3.11": 0}),
        host("code and pool"),
        host("preparing", preparing={"k": 1}),
        host("warm", idle={"k": 1}),
        host("queue", waiting=9),
    ]
    assert order(*hosts) == [
        "warm",
        "preparing",
        "code and pool",
        "code",
        "pool",
        "fork",
        "evicting",
        "cold",
        "queue",
    ]


def test_an_accounts_own_pool_counts() -> None:
    own = Ask(key="k", runtime="python3.11", memory_mb=1, pools=("python3.11@1", "python3.11"))
    assert order(host("a", pools={}), host("b", pools={"python3.11@1": 1}), ask=own)[0] == "b"


def test_load_outweighs_warmth_when_it_is_high() -> None:
    assert order(host("busy", idle={"k": 1}, load=2.0), host("free"))[0] == "busy"
    assert order(host("busy", idle={"k": 1}, load=9.0), host("free"))[0] == "free"


def test_of_two_that_are_drawn_the_less_loaded_is_taken() -> None:
    hosts = [host(f"h{number}", load=number / 10) for number in range(10)]
    taken = [order(*hosts, chance=draw / 500)[0] for draw in range(500)]
    # All but the most loaded are taken sometimes, those with little load most often.
    assert set(taken) == {f"h{number}" for number in range(9)}
    assert taken.count("h0") > taken.count("h4") > taken.count("h8")


def test_the_near_one_is_taken_and_ties_go_to_the_warm_one() -> None:
    near, away = host("near", channels=far(1)), host("away", channels=far(51))
    assert order(near, away, services=SERVICE)[0] == "near"
    warm = host("warm", channels=far(1.5), idle={"k": 1})
    assert order(near, warm, away, services=SERVICE)[0] == "warm"


def test_failures_and_retransmits_count() -> None:
    bad = host("bad", channels=far(1, failures=0.2))
    lossy = host("lossy", channels=far(1, retransmits=0.5))
    good = host("good", channels=far(60))
    assert order(bad, lossy, good, services=SERVICE) == ["good", "lossy", "bad"]


def test_a_warm_one_far_away_is_left_when_staying_has_cost_the_start() -> None:
    warm = host("warm", channels=far(51), idle={"k": 1})
    near = host("near", channels=far(1))
    placed = place(ASK, [warm, near], RULE, services=SERVICE)
    assert placed.hosts[0] == "warm"
    assert placed.extra_ms == pytest.approx(45)
    assert "warm here: 45.0 ms further to s:80" in placed.placement("warm").reason
    assert order(warm, near, services=SERVICE, owed_ms=100.0)[0] == "warm"
    assert order(warm, near, services=SERVICE, owed_ms=250.0)[0] == "near"


def test_staying_where_much_runs_pays_for_a_start_where_little_does() -> None:
    busy, spare = host("busy", load=3.0, idle={"k": 1}), host("spare")
    placed = place(ASK, [busy, spare], RULE)
    assert placed.hosts[0] == "busy"
    assert placed.extra_ms == pytest.approx(RULE.load * 4)
    assert order(busy, spare, owed_ms=250.0)[0] == "spare"
    # With as much to do on both there is nothing to be gained.
    assert place(ASK, [busy, host("spare", load=3.0)], RULE).extra_ms == 0
    assert order(host("swamped", load=9.0, idle={"k": 1}), spare)[0] == "spare"


def test_much_farther_is_worth_a_start_at_once() -> None:
    warm = host("warm", channels=far(501), idle={"k": 1})
    assert order(warm, host("near", channels=far(1)), services=SERVICE)[0] == "near"


@pytest.mark.parametrize(
    "channels",
    [{}, far(1, age_s=1e4), {"s:80": ChannelQuality(latency_ms=1)}],
    ids=["none", "old", "no samples"],
)
def test_without_a_measurement_it_is_between_the_others(channels) -> None:
    hosts = [host("far", channels=far(100)), host("near", channels=far(1))]
    assert order(*hosts, host("new", channels=channels), services=SERVICE) == ["near", "new", "far"]


def test_what_is_carried_counts_where_the_speed_is_known() -> None:
    large, small = ((Likely("s:80", 1.0, 2.0, 100, carried),) for carried in (1e6, 100.0))
    thin = host("thin", channels=far(1, bytes_per_s=1e6))
    wide = host("wide", channels=far(11, bytes_per_s=1e8))
    assert order(thin, wide, services=large) == ["wide", "thin"]
    assert order(thin, wide, services=small) == ["thin", "wide"]
    channels = {
        each.name: ms for _, _, ms, each in place(ASK, [thin, wide], RULE, services=large)[0]
    }
    assert channels == {"thin": pytest.approx(2 * 1001), "wide": pytest.approx(2 * 21)}


@pytest.mark.parametrize(
    "quality",
    [{}, {"age_s": 1e4, "bytes_per_s": 1e9}, {"bytes_per_s": -1.0}, {"bytes_per_s": float("nan")}],
    ids=["unknown", "old", "negative", "no number"],
)
def test_without_a_speed_it_is_between_the_others(quality) -> None:
    services = (Likely("s:80", 1.0, 1.0, 100, 1e6),)
    hosts = [
        host("thin", channels=far(1, bytes_per_s=1e6)),
        host("wide", channels=far(1, bytes_per_s=1e8)),
    ]
    assert order(*hosts, host("new", channels=far(1, **quality)), services=services) == [
        "wide",
        "new",
        "thin",
    ]


def test_no_number_that_is_said_makes_a_channel_endless() -> None:
    services = (Likely("s:80", 1.0, 1.0, 100, 1e300),)
    slow, other = host("slow", channels=far(1, bytes_per_s=1e-300)), host("other", channels=far(1))
    placed = place(ASK, [slow, other], RULE, services=services)
    assert all(ms <= 60_001 for _, _, ms, _ in placed.weighed)


def test_only_likely_services_with_evidence_count() -> None:
    likely = [
        Likely("often:1", 0.5, 1.0, 20),
        Likely("seldom:1", 0.49, 9.0, 1000),
        Likely("unsure:1", 1.0, 9.0, 19),
        Likely("always:1", 1.0, 1.0, 20),
    ]
    assert [each.service for each in qualified(likely, RULE)] == ["always:1", "often:1"]


def test_its_own_host_is_preferred_among_alike() -> None:
    hosts = [host(f"h{number}") for number in range(9)]
    own = Ask(key="k", runtime="python3.11", memory_mb=1, affinity="h7")
    assert {order(*hosts, ask=own, chance=draw / 50)[0] for draw in range(50)} == {"h7"}
    near = host("near", channels=far(1))
    hosts = [host("h7", channels=far(91)), near]
    assert order(*hosts, ask=own, services=SERVICE)[0] == "near"


def test_what_could_never_run_is_known() -> None:
    hosts = [host("a", memory_mb=100, open=False), host("b", memory_mb=300, room_mb=0)]
    assert could_ever(ASK, hosts) == (True, 300)
    assert could_ever(Ask(key="k", runtime="cobol", memory_mb=1), hosts) == (False, 0)


def test_the_record_says_who_refused() -> None:
    placed = place(ASK, [host("a", idle={"k": 1}), host("b")], RULE)
    assert placed.placement("a").reason == "warm"
    assert placed.placement("b").reason == "a refused; next best"
    assert list(placed.placement("b").scores) == ["a", "b"]


hosts = st.builds(
    host,
    st.sampled_from("abcdefgh"),
    open=st.booleans(),
    load=st.floats(0, 10),
    free_mb=st.integers(0, 300),
    room_mb=st.integers(0, 300),
    waiting=st.integers(0, 3),
    idle=st.dictionaries(st.just("k"), st.integers(1, 3)),
    channels=st.one_of(st.just({}), st.floats(0, 1000).map(far)),
    trees=st.sampled_from([set(), {"t"}]),
)


@given(
    st.lists(hosts, max_size=12, unique_by=lambda each: each.name),
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 1000),
)
def test_each_able_host_is_tried_once_and_the_best_first(candidates, likely, chance, owed) -> None:
    services = SERVICE if likely else ()
    able = {
        each.name
        for each in candidates
        if each.open and (each.room_mb >= ASK.memory_mb or each.idle.get("k"))
    }
    placed = place(ASK, candidates, RULE, services=services, chance=chance, owed_ms=owed)
    if placed is None:
        assert not able
        return
    assert sorted(placed.hosts) == sorted(able)
    totals = [each[0] for each in placed.weighed]
    assert totals[0] <= min(totals) + RULE.tie
    assert totals[1:] == sorted(totals[1:])
    assert placed.extra_ms >= 0
