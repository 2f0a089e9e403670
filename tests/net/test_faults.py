"""Bad input is counted, told once, and its sender banned at last."""

import logging

import pytest

from p2phouse.net.faults import (
    BAD_A_MINUTE_MAX,
    BAN_S,
    OFFENDERS_MAX,
    Faults,
    cause,
    is_worth_a_line,
    place,
)
from p2phouse.net.wire import FrameTooLong
from p2phouse.vocabulary import DeviceKey

ANA = DeviceKey(bytes(range(32)))
SECRET = "/ip4/192.168.7.7/tcp/4001/p2p/12D3KooWExample"


def dev(number):
    return DeviceKey(number.to_bytes(32, "big"))


def test_a_kind_is_logged_first_and_then_at_powers_of_ten(caplog):
    faults = Faults()
    for _ in range(1_000):
        faults.count("junk")
    assert faults.counters["junk"] == 1_000
    assert [record.getMessage().split("count=")[1].split()[0] for record in caplog.records] == [
        "1",
        "10",
        "100",
        "1000",
    ]
    assert is_worth_a_line(20_000)
    assert not is_worth_a_line(20_001)


def test_a_log_line_names_eight_characters_of_a_peer_and_no_text_of_a_librarys_error(caplog):
    Faults().count("junk", RuntimeError(SECRET), dev=ANA)
    text = caplog.text
    assert "peer=00010203 " in text
    assert ANA.hex() not in text
    assert SECRET not in text
    assert "RuntimeError" in text


def test_a_long_detail_is_cut(caplog):
    Faults().count("junk", "x" * 500)
    assert "x" * 120 in caplog.text
    assert "x" * 121 not in caplog.text


def test_a_hundredth_bad_thing_in_a_minute_bans_and_the_one_before_does_not():
    faults = Faults()
    assert [faults.blame(0.0, ANA) for _ in range(BAD_A_MINUTE_MAX - 1)] == [False] * (
        BAD_A_MINUTE_MAX - 1
    )
    assert not faults.is_banned(1.0, ANA)
    assert faults.blame(1.0, ANA)
    assert faults.is_banned(1.0, ANA)
    assert faults.is_banned(1.0 + BAN_S - 0.1, ANA)
    assert not faults.is_banned(1.0 + BAN_S, ANA)


def test_bad_things_far_apart_ban_nobody():
    faults = Faults()
    for number in range(3 * BAD_A_MINUTE_MAX):
        assert not faults.blame(number * 2.0, ANA)


def test_of_too_many_offenders_the_longest_silent_is_forgotten():
    faults = Faults()
    for _ in range(BAD_A_MINUTE_MAX - 1):
        faults.blame(0.0, ANA)
    for number in range(OFFENDERS_MAX):
        faults.blame(0.0, dev(1_000 + number))
    assert not faults.blame(0.0, ANA)


def test_of_too_many_bans_the_oldest_is_forgotten():
    faults = Faults()
    for number in range(OFFENDERS_MAX + 1):
        for _ in range(BAD_A_MINUTE_MAX):
            faults.blame(0.0, dev(number))
    assert not faults.is_banned(0.0, dev(0))
    assert faults.is_banned(0.0, dev(1))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, SECRET), "connection refused"),
        (KeyError(SECRET), "KeyError"),
        (FrameTooLong(size=9, limit=8), "A frame of 9 bytes came where 8 are allowed."),
        (ExceptionGroup("", [ValueError(SECRET)]), "ValueError"),
    ],
)
def test_the_cause_of_an_error_is_told_without_addresses(error, words):
    assert cause(error) == words


def test_the_innermost_cause_is_the_one_told():
    def refuse():
        try:
            raise ConnectionRefusedError(111, SECRET)
        except OSError as error:
            raise RuntimeError(SECRET) from error

    with pytest.raises(RuntimeError) as raised:
        refuse()
    assert cause(raised.value) == "connection refused"
    assert place(raised.value).startswith("test_faults.py:")


@pytest.fixture(autouse=True)
def _heed_warnings(caplog):
    caplog.set_level(logging.WARNING)
