"""The clock changes of 2026 and 2027 in three zones: facts, beside what a schedule does on these days.

Where an hour is missing a calendar's local time within it is left out; where it comes twice it counts the first time. Rates
count hours of 60 minutes, whatever clocks do. Lord Howe changes by half an hour.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from forerun.scheduling import parse_schedule

# Zone, the day, the local time that is asked for, and the moments in UTC from the day before to the day behind.
CALENDARS = [
    ("Europe/Berlin", "2026-03-29", "2 30", ["03-28 01:30", "03-30 00:30"]),
    ("Europe/Berlin", "2026-03-29", "3 0", ["03-28 02:00", "03-29 01:00", "03-30 01:00"]),
    ("Europe/Berlin", "2026-10-25", "2 30", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
    ("Europe/Berlin", "2027-03-28", "2 30", ["03-27 01:30", "03-29 00:30"]),
    ("Europe/Berlin", "2027-10-31", "2 0", ["10-30 00:00", "10-31 00:00", "11-01 01:00"]),
    ("America/New_York", "2026-03-08", "2 30", ["03-07 07:30", "03-09 06:30"]),
    ("America/New_York", "2026-03-08", "1 59", ["03-07 06:59", "03-08 06:59", "03-09 05:59"]),
    ("America/New_York", "2026-11-01", "1 30", ["10-31 05:30", "11-01 05:30", "11-02 06:30"]),
    ("America/New_York", "2027-03-14", "2 0", ["03-13 07:00", "03-15 06:00"]),
    ("America/New_York", "2027-11-07", "1 0", ["11-06 05:00", "11-07 05:00", "11-08 06:00"]),
    ("Australia/Lord_Howe", "2026-04-05", "1 45", ["04-03 14:45", "04-04 14:45", "04-05 15:15"]),
    ("Australia/Lord_Howe", "2026-10-04", "2 15", ["10-02 15:45", "10-04 15:15"]),
    ("Australia/Lord_Howe", "2026-10-04", "2 30", ["10-02 16:00", "10-03 15:30", "10-04 15:30"]),
    ("Australia/Lord_Howe", "2027-04-04", "1 30", ["04-02 14:30", "04-03 14:30", "04-04 15:00"]),
]  # fmt: skip
ONCE = [
    ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29 01:30"),
    ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25 00:30"),
    ("America/New_York", "2026-03-08T02:30:00", "2026-03-08 07:30"),
    ("America/New_York", "2026-11-01T01:30:00", "2026-11-01 05:30"),
    ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03 15:45"),
    ("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04 14:45"),
]


@pytest.mark.parametrize(("zone", "day", "time", "expected"), CALENDARS)
def test_a_calendar_on_the_day_that_clocks_change(zone, day, time, expected):
    hour, minute = time.split()
    schedule = parse_schedule(f"cron({minute} {hour} * * ? *)", zone)
    change = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()
    found, at = [], schedule.next_after(change - 86_400 - 2 * 3600)
    while at is not None and at < change + 2 * 86_400 - 3600:
        local = datetime.fromtimestamp(at, ZoneInfo(zone))
        assert (local.hour, local.minute) == (int(hour), int(minute))
        found.append(f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%M}")
        at = schedule.next_after(at)
    assert found == expected


@pytest.mark.parametrize(("zone", "local", "expected"), ONCE)
def test_once_on_the_day_that_clocks_change(zone, local, expected):
    at = parse_schedule(f"at({local})", zone).next_after(0)
    assert at is not None
    assert f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_rate_of_a_day_is_24_hours_whatever_clocks_do(zone):
    begin = datetime(2026, 3, 1, 12, tzinfo=ZoneInfo(zone)).timestamp()
    schedule = parse_schedule("rate(1 day)", zone, since=begin)
    at = begin
    for _ in range(400):
        following = schedule.next_after(at)
        assert following == at + 86_400
        at = following
