"""Schedule expressions: what AWS documents of them, and equality with a search that tries every minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.scheduling import latest_due, parse_schedule

WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(at: float | None, zone: str = "UTC") -> str | None:
    return at and datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M")


def following(expression: str, since: str, count: int, zone: str = "UTC") -> list[str | None]:
    schedule = parse_schedule(expression, zone)
    at: float | None = moment(since, zone)
    found = []
    for _ in range(count):
        assert at is not None
        at = schedule.next_after(at)
        found.append(shown(at, zone))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0 10 * * ? *)", ["2026-11-21T10:00", "2026-11-22T10:00"]),
        ("cron(15 12 * * ? *)", ["2026-11-21T12:15", "2026-11-22T12:15"]),
        ("cron(0 18 ? * MON-FRI *)", ["2026-11-23T18:00", "2026-11-24T18:00"]),
        ("cron(0 8 1 * ? *)", ["2026-12-01T08:00", "2027-01-01T08:00"]),
        ("cron(0/10 * ? * MON-FRI *)", ["2026-11-23T00:00", "2026-11-23T00:10"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", ["2026-11-23T08:00", "2026-11-23T08:05"]),
        ("cron(15 10 ? * 6L 2026-2027)", ["2026-11-27T10:15", "2026-12-25T10:15"]),
        ("cron(0 9 ? * 2#1 *)", ["2026-12-07T09:00", "2027-01-04T09:00"]),
        ("cron(0 9 ? * TUE#5 *)", ["2026-12-29T09:00", "2027-03-30T09:00"]),
        ("cron(0 0 L * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-11-30T00:00", "2026-12-31T00:00"]),
        ("cron(0 0 3W * ? *)", ["2026-12-03T00:00", "2027-01-04T00:00"]),
        ("cron(0 0 1W 5,8 ? *)", ["2027-05-03T00:00", "2027-08-02T00:00"]),
        ("cron(0 0 31W * ? *)", ["2026-12-31T00:00", "2027-01-29T00:00"]),
        ("cron(0 0 ? * L *)", ["2026-11-28T00:00", "2026-12-05T00:00"]),
        ("cron(0 0 29 2 ? *)", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("cron(0 22-1 ? * FRI-MON *)", ["2026-11-21T22:00", "2026-11-21T23:00"]),
        ("cron(0 0 1,L jan ? *)", ["2027-01-01T00:00", "2027-01-31T00:00"]),
        ("cron(0 0 1 1 ? 2030/2)", ["2030-01-01T00:00", "2032-01-01T00:00"]),
    ],
)  # fmt: skip
def test_what_aws_documents(expression, expected):
    assert following(expression, "2026-11-21T09:30", 2) == expected


def test_rates_count_from_their_begin():
    schedule = parse_schedule("rate(5 minutes)", since=100.0)
    assert [schedule.next_after(at) for at in (0, 100, 399.9, 400, 1e6)] == [
        400, 400, 400, 700, 1_000_300,
    ]  # fmt: skip
    assert parse_schedule("rate(1 hour)").next_after(0) == 3600
    assert parse_schedule("rate(2 days)").next_after(0) == 2 * 86_400


def test_at_is_local_and_once():
    schedule = parse_schedule("at(2026-07-01T12:00:00)", "Europe/Berlin")
    noon = moment("2026-07-01T10:00:00")
    assert schedule.next_after(noon - 1) == noon
    assert schedule.next_after(noon) is None


def test_years_end():
    schedule = parse_schedule("cron(0 0 1 1 ? 2026)")
    assert schedule.next_after(moment("2026-01-01T00:00")) is None
    assert parse_schedule("cron(0 0 * * ? *)").next_after(moment("2199-12-31T00:00")) is None
    assert parse_schedule("cron(0 0 31 2 ? *)").next_after(0) is None


def test_local_times_that_do_not_exist_are_left_out():
    zone = "Europe/Berlin"  # 02:00 to 03:00 on 2026-03-29 does not exist
    found = following("cron(30 2 * * ? *)", "2026-03-28T00:00", 3, zone)
    assert found == ["2026-03-28T02:30", "2026-03-30T02:30", "2026-03-31T02:30"]
    at = parse_schedule("at(2026-03-29T02:30:00)", zone).next_after(0)
    assert shown(at, zone) == "2026-03-29T03:30"


def test_local_times_that_come_twice_count_once():
    zone = "Europe/Berlin"  # 02:00 to 03:00 on 2026-10-25 comes twice
    schedule = parse_schedule("cron(30 2 * * ? *)", zone)
    first = schedule.next_after(moment("2026-10-25T00:00", zone))
    assert first == moment("2026-10-25T00:30")
    assert shown(schedule.next_after(first), zone) == "2026-10-26T02:30"
    # From within the hour that comes again it goes on behind it.
    assert shown(schedule.next_after(first + 3600), zone) == "2026-10-26T02:30"


@pytest.mark.parametrize(
    "expression",
    [
        "", "cron()", "cron(* * * * *)", "cron(* * * * * *)", "cron(* * ? * ? *)",
        "cron(60 * * * ? *)", "cron(* 24 * * ? *)", "cron(* * 0 * ? *)", "cron(* * 32 * ? *)",
        "cron(* * * 13 ? *)", "cron(* * ? * 0 *)", "cron(* * ? * 8 *)", "cron(* * ? * MON#6 *)",
        "cron(* * ? * FOO#1 *)", "cron(* * 32W * ? *)", "cron(* * * * ? 1969)",
        "cron(* * * * ? 2200)", "cron(* * * * ? 2030-2029)", "cron(*/0 * * * ? *)",
        "cron(1- * * * ? *)", "cron(-1 * * * ? *)", "cron(1,,2 * * * ? *)", "cron(1/ * * * ? *)",
        "cron(٣ * * * ? *)", "cron(0 0 W * ? *)", "cron(99999999999 * * * ? *)",
        "rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(5 seconds)", "rate(-1 hour)",
        "rate(5minutes)", "rate(٣ minutes)", "at(2026-13-01T00:00:00)", "at(2026-01-01)",
        "at(2026-01-01T00:00:00Z)", "at(1900-01-01T00:00:00)", "at(٢٠٢٦-01-01T00:00:00)",
        "every day", "cron(0 0 * * ? *) ; rm", "cron(" + "1," * 200 + "1 * * * ? *)",
    ],
)  # fmt: skip
def test_what_is_no_schedule(expression):
    with pytest.raises(InvalidInput):
        parse_schedule(expression)


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "x" * 200, "Europe"]
)
def test_what_is_no_zone(zone):
    with pytest.raises(InvalidInput, match="time zone"):
        parse_schedule("rate(1 hour)", zone)


# An independent reading of single fields: which values they allow, by trying each.


def plain(low: int, high: int):
    numbers = st.integers(low, high)
    spans = st.tuples(numbers, numbers).map(sorted)
    return st.one_of(
        st.just(("*", lambda value: True)),
        numbers.map(lambda n: (str(n), lambda value: value == n)),
        spans.map(lambda s: (f"{s[0]}-{s[1]}", lambda value: s[0] <= value <= s[1])),
        st.lists(numbers, min_size=1, max_size=4).map(
            lambda many: (",".join(map(str, many)), lambda value: value in many)
        ),
        st.tuples(numbers, st.integers(1, high)).map(
            lambda s: (f"{s[0]}/{s[1]}", lambda value: value >= s[0] and (value - s[0]) % s[1] == 0)
        ),
    )


def nearest(day: datetime, wanted: int) -> bool:
    """Whether ``day`` is the weekday nearest to the wanted day of its month, by trying distances."""
    month = [day.replace(day=1) + timedelta(n) for n in range(31)]
    month = [each for each in month if each.month == day.month]
    if wanted > len(month):
        return False
    working = [each for each in month if each.weekday() < 5]
    # At equal distance the earlier one; a Saturday's Friday is nearer than its Monday anyway.
    return day == min(working, key=lambda each: (abs(each.day - wanted), each.day))


days = st.one_of(
    plain(1, 31).map(lambda f: (f[0], "?", lambda day: f[1](day.day))),
    st.just(("L", "?", lambda day: (day + timedelta(1)).month != day.month)),
    st.integers(1, 31).map(lambda n: (f"{n}W", "?", lambda day: nearest(day, n))),
    plain(1, 7).map(lambda f: ("?", f[0], lambda day: f[1](day.isoweekday() % 7 + 1))),
    st.integers(0, 6).map(
        lambda n: (
            "?",
            f"{n + 1}L",
            lambda day: day.isoweekday() % 7 == n and (day + timedelta(7)).month != day.month,
        )
    ),
    st.tuples(st.integers(0, 6), st.integers(1, 5)).map(
        lambda s: (
            "?",
            f"{WEEKDAYS[s[0]]}#{s[1]}",
            lambda day: day.isoweekday() % 7 == s[0] and (day.day - 1) // 7 + 1 == s[1],
        )
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    minute=plain(0, 59),
    hour=plain(0, 23),
    day=days,
    month=plain(1, 12),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    since=st.integers(int(moment("2026-01-01T00:00")), int(moment("2027-12-31T00:00"))),
)
@example(
    minute=("30", lambda v: v == 30),
    hour=("2", lambda v: v == 2),
    day=("*", "?", lambda day: True),
    month=("*", lambda v: True),
    zone="Europe/Berlin",
    since=int(moment("2026-10-24T23:00")),
)
def test_equals_a_search_that_tries_every_minute(minute, hour, day, month, zone, since):
    expression = f"cron({minute[0]} {hour[0]} {day[0]} {month[0]} {day[1]} *)"
    found = parse_schedule(expression, zone).next_after(since)
    place = ZoneInfo(zone)
    at = since // 60 * 60 + 60
    end = at + 40 * 86_400
    while at < end:
        local = datetime.fromtimestamp(at, place)
        today = datetime(local.year, local.month, local.day, tzinfo=UTC)
        if not (month[1](local.month) and day[2](today)):
            at += 60 * (60 - local.minute) if local.minute else 3600
            # Clocks change by half hours as well.
            at -= at % 1800
            continue
        again = local.fold and local.replace(fold=0).timestamp() != at
        if hour[1](local.hour) and minute[1](local.minute) and not again:
            break
        at += 60
    assert found == at if at < end else found is None or found >= end


@settings(max_examples=100, deadline=None)
@given(
    expression=st.sampled_from(
        ["rate(7 minutes)", "rate(1 day)", "cron(*/20 3 * * ? *)", "cron(0 0 1 * ? *)",
         "cron(0 0 29 2 ? *)", "at(2026-06-01T00:00:00)"]
    ),
    after=st.integers(int(moment("2026-01-01T00:00")), int(moment("2026-12-31T00:00"))),
    length=st.integers(0, 40 * 86_400),
)  # fmt: skip
def test_the_latest_due_is_the_last_of_all(expression, after, length):
    schedule = parse_schedule(expression)
    last, at = None, schedule.next_after(after)
    while at is not None and at <= after + length:
        last, at = at, schedule.next_after(at)
    assert latest_due(schedule, after, after + length) == last
