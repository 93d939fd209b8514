"""The hazard of a wait, and what is made of it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Expectation, Reason
from forerun.prediction.ages import AgeClasses, octaves_beyond, overdue, relation, relations
from forerun.prediction.calendar import DAY, Calendar
from forerun.prediction.expectations import disjoint
from forerun.prediction.wait import CUT, FADING, HORIZON, Table, Wait
from forerun.prediction.waits import Waits

ages = st.integers(min_value=1, max_value=HORIZON)


def test_a_gap_beyond_the_horizon_is_kept_as_cut():
    waits = Waits(60.0)
    wait = waits.begin("f", "", 0)
    waits.observe(wait, 5)
    waits.observe(wait, 5 + 10 * HORIZON)
    assert list(wait.gaps) == [5, CUT]


@given(ages, ages, ages)
def test_relations_cover_every_age_with_its_own(gap, first, length):
    end = first + length
    told = [name for name, run in relations(gap, first, end) for _ in range(run)]
    assert told == [relation(age, gap) for age in range(first, end)]


@given(st.integers(min_value=0, max_value=HORIZON), ages, ages)
def test_octaves_cover_every_age_beyond_the_longest_gap(longest, first, length):
    end = first + length
    told = [octave for octave, run in octaves_beyond(longest, first, end) for _ in range(run)]
    beyond = range(max(first, longest + 2), end)
    assert told == [overdue(age, longest) for age in beyond]


@given(ages, ages)
def test_classes_cover_every_age_with_its_own(first, length):
    classes = AgeClasses(HORIZON)
    end = min(HORIZON + 1, first + length)
    told = [cls for cls, run in classes.runs(first, end) for _ in range(run)]
    assert told == [classes.of(age) for age in range(first, end)]


@given(
    st.lists(st.integers(min_value=1, max_value=300), min_size=1, max_size=80),
    st.lists(st.integers(min_value=1, max_value=300), max_size=40),
    st.floats(min_value=0.001, max_value=0.9),
    st.sampled_from([1.0, 60.0]),
    st.booleans(),
)
def test_chances_are_those_of_every_single_tick(gaps, others, bar, tick_s, with_calendar):
    waits = Waits(tick_s)
    tick = 28_000_000
    calendar = Calendar(tick - 3 * DAY)
    wait, other = waits.begin("f", "", tick), waits.begin("g", "", tick)
    for each, its in ((other, others), (wait, gaps)):
        at = tick
        for gap in its:
            waits.advance(at)
            at += gap
            waits.observe(each, at)
    for at in range(wait.last - 2000, wait.last, 61):
        calendar.note(at)
    known = calendar if with_calendar else None

    ready = {
        tick
        for chance in waits.chances(wait, wait.last + 1, bar, known, far=True)
        for tick in range(chance.first, chance.end)
    }
    one_by_one = {
        wait.last + age
        for age in range(1, HORIZON + 1)
        if waits.hazards(wait, age, known)[-1][1] >= bar
    }
    assert ready == one_by_one


def test_hazards_stay_between_nothing_and_certainty_and_silence_lowers_them():
    waits = Waits(60.0)
    stopped, going = waits.begin("stopped", "", 0), waits.begin("going", "", 0)
    for tick in range(10, 1000, 10):
        waits.advance(tick)
        waits.observe(going, tick)
        if tick <= 500:
            waits.observe(stopped, tick)
    for age in range(1, HORIZON + 1):
        for _, hazard in waits.hazards(going, age):
            assert 0.0 <= hazard <= 1.0
    assert waits.hazards(going, 10)[-1][1] > 0.8
    assert waits.hazards(stopped, 100)[-1][1] < 0.3


def test_an_open_wait_is_visited_when_it_has_doubled_and_then_sleeps():
    waits = Waits(1.0)
    waits.begin("f", "", 0)
    visits = [tick for tick in range(2000) if waits.advance(tick)]
    assert visits == [2, 3, 5, 9, 17, 33, 65, 129, 257]


def test_a_wait_goes_on_where_it_was_kept():
    waits, after = Waits(1.0), Waits(1.0)
    wait = waits.begin("f", "timer", 100)
    for tick in (103, 106, 109, 140):
        waits.advance(tick)
        waits.observe(wait, tick)
    again = Wait.unpack("f", tuple(wait.packed()))
    after.resume(again)
    assert again.packed() == wait.packed()
    assert after.advance(wait.due) == ["f"]


def test_what_was_learned_can_be_unlearned():
    table = Table()
    table.add("x", FADING, FADING)
    for _ in range(2 * FADING):
        table.add("x", 0, 1)
    hits, risk = table["x"]
    assert hits / risk < 0.4


minutes = st.lists(st.integers(min_value=0, max_value=40 * DAY), max_size=200).map(sorted)


@given(minutes, st.integers(min_value=0, max_value=45 * DAY))
def test_a_calendar_knows_minutes_of_the_last_four_weeks(noted, now):
    calendar = Calendar(noted[0] if noted else 0)
    for minute in noted:
        calendar.note(minute)
    now = max([now, *noted])
    told = calendar.between(now, now + 300)
    if calendar.closed:
        assert told == []
        return
    if (now + 299) // DAY > calendar.first:
        turned = calendar.day
        recent = {at % DAY for at in noted if turned - at // DAY <= 28}
        assert told == [at for at in range(now, now + 300) if at % DAY in recent]
    assert Calendar.unpack(tuple(calendar.packed())).shown() == calendar.shown()
    for minute in range(now + 1, now + 50):
        assert 0.0 <= calendar.hazard(minute, 0.5) <= 1.0


windows = st.lists(
    st.builds(
        lambda since, length, probability, count: Expectation(
            since=float(since),
            until=float(since + length),
            probability=probability,
            reason=Reason.HABIT,
            count=count,
        ),
        st.integers(0, 30),
        st.integers(0, 10),
        st.sampled_from([0.1, 0.5, 0.9]),
        st.integers(1, 4),
    ),
    max_size=8,
)


@given(windows)
def test_overlapping_expectations_become_a_sequence_with_the_most_wanted(given):
    made = disjoint(given)
    assert all(one.until <= two.since for one, two in pairwise(made))
    for moment in range(42):
        at = moment + 0.5
        wanted = max((each.count for each in given if each.since <= at < each.until), default=0)
        held = [each.count for each in made if each.since <= at < each.until]
        assert held == ([wanted] if wanted else [])
