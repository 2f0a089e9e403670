"""What was sent in a month is added up, and nothing but the month's end takes it back."""

from datetime import UTC, datetime

import pytest

from p2phouse.vocabulary import Now
from p2phouse_relay import traffic
from p2phouse_relay.traffic import ACCOUNTS_MAX, BELIEVED_S, GB, Traffic, TrafficDamaged

ANA, BEN = b"a" * 32, b"b" * 32
NOVEMBER = datetime(2026, 11, 30, 23, 30, tzinfo=UTC).timestamp()
HOUR = 3_600.0


def counted(*, gb_max: int = 0, gb_each_max: int = 0) -> Traffic:
    made = Traffic(gb_max, gb_each_max)
    made.add(Now(0.0, NOVEMBER), 5 * GB)
    return made


def test_what_is_sent_is_added_up_in_all_and_on_whose_account():
    made = counted(gb_max=10, gb_each_max=3)
    made.add(Now(1.0, NOVEMBER + 1), 2 * GB, of=ANA)
    made.add(Now(2.0, NOVEMBER + 2), 1 * GB, of=BEN)
    made.add(Now(2.0, NOVEMBER + 2), 1 * GB)
    assert made.used() == (6 * GB, 10 * GB)
    assert made.used_of(ANA) == (2 * GB, 3 * GB)
    assert made.used_of(b"nobody") == (0, 3 * GB)


def test_whose_it_is_is_not_kept_where_nobody_is_limited():
    made = counted(gb_max=10)
    made.add(Now(1.0, NOVEMBER), GB, of=ANA)
    assert ANA.hex() not in made.written().decode()


def test_a_month_ends_an_hour_after_its_end_and_the_next_begins_at_nothing():
    made = counted(gb_each_max=1)
    made.add(Now(1.0, NOVEMBER), GB, of=ANA)
    for mono in (HOUR, 2 * HOUR - 1):  # the first half hour is November's
        made.add(Now(mono, NOVEMBER + mono), 1)
        assert made.month == "2026-11"
    made.add(Now(HOUR + BELIEVED_S, NOVEMBER + HOUR + BELIEVED_S), 7)
    assert (made.month, made.octets, made.used_of(ANA)[0]) == ("2026-12", 7, 0)


@pytest.mark.parametrize("leap", [HOUR, -HOUR, 40 * 86_400.0, -40 * 86_400.0, -NOVEMBER])
def test_a_clock_that_leaps_and_is_put_right_gives_nobody_a_month_anew(leap):
    made = counted()
    for second in range(60):
        made.add(Now(1.0 + second, NOVEMBER + leap + second), 1)
    made.add(Now(100.0, NOVEMBER + 100), 1)
    assert (made.month, made.octets) == ("2026-11", 5 * GB + 61)
    made.add(Now(1.0 + BELIEVED_S, NOVEMBER + leap), 1)
    assert made.octets > 5 * GB, "what it said before counts no more"


def test_a_clock_that_was_ahead_for_long_and_is_put_back_gives_nothing_back():
    made = Traffic()
    ahead = NOVEMBER + 400 * 86_400
    made.add(Now(0.0, ahead), 3 * GB)
    assert made.month == "2028-01"
    for mono in (1.0, 2.0 + BELIEVED_S):
        made.add(Now(mono, NOVEMBER - 5 * HOUR), 1)
    assert (made.month, made.octets) == ("2026-11", 3 * GB + 2)


def test_a_clock_that_was_behind_for_long_and_is_put_right_gives_no_month_anew(tmp_path):
    made = counted()
    for mono in (1.0, 2.0 + BELIEVED_S):
        made.add(Now(mono, NOVEMBER - 40 * 86_400), 1)
    assert made.month == "2026-10"
    traffic.write(tmp_path, made.written())
    again = traffic.read(tmp_path)
    for mono in (1.0, 2.0 + BELIEVED_S):
        again.add(Now(mono, NOVEMBER), 1)
    assert (again.month, again.octets) == ("2026-11", 5 * GB + 4)
    for mono in (1.0, 2.0 + BELIEVED_S):
        again.add(Now(mono, NOVEMBER + HOUR), 1)
    assert (again.month, again.octets) == ("2026-12", 1)


def test_a_restart_and_a_crash_find_what_was_written(tmp_path):
    made = counted(gb_max=10, gb_each_max=3)
    made.add(Now(1.0, NOVEMBER), GB, of=ANA)
    traffic.write(tmp_path, made.written())
    again = traffic.read(tmp_path)
    assert (again.month, again.octets, again.of) == (made.month, made.octets, made.of)
    again.add(Now(0.0, 0.0), 1)  # a machine without a battery, before it has asked the time
    assert (again.month, again.octets) == ("2026-11", 5 * GB + 1)


def test_a_file_that_is_damaged_is_no_month_at_zero(tmp_path):
    told = '{"month": "2026-11", "octets": %s, "of": {}}'
    wrong = [told % each for each in ('"x"', "-1", "Infinity", "NaN", "null")]
    wrong.append('{"month": "2026-11", "octets": 1, "of": {"aa": -1}}')
    for text in ("", "{}", "[]", "[" * 200_000, told % 1 + " " * 300_000, *wrong):
        (tmp_path / traffic.FILE_NAME).write_text(text)
        with pytest.raises(TrafficDamaged, match="remove it"):
            traffic.read(tmp_path)


def test_of_more_accounts_than_are_kept_the_least_are_forgotten(tmp_path):
    """Security: whoever makes up people fills no memory."""
    made = counted(gb_each_max=1)
    for number in range(ACCOUNTS_MAX + 50):
        made.add(Now(1.0, NOVEMBER), 1 + (number == 0), of=number.to_bytes(32))
    assert len(made.of) == ACCOUNTS_MAX
    assert made.of[bytes(32)] == 2
    traffic.write(tmp_path, made.written())
    assert len(traffic.read(tmp_path).of) == ACCOUNTS_MAX
