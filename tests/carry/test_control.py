import heapq
import itertools
import random
from contextlib import suppress
from itertools import count

import pytest

from p2phouse.carry.control import (
    KEEPALIVE_S,
    REPORT_S,
    VOICE_GAP_S,
    VOICE_S_MAX,
    LinkControl,
)
from p2phouse.carry.rtcp import (
    Block,
    ControlKind,
    Keepalive,
    Report,
    Request,
    SenderInfo,
    decode,
    encode_report,
)
from p2phouse.errors import PeerError
from p2phouse.vocabulary import FRAME_S, Ssrc
from p2phouse.voice.packet import PT_AUDIT
from tests.carry.packets import ANA, BEN, a_packet

THEM = Ssrc(0xDEADBEEF)
LONG_AGO = -1.0


def an_end(*, ssrc: int = 0xCAFEF00D, clock_zero: int = 0) -> LinkControl:
    chances = iter((ssrc.to_bytes(4), clock_zero.to_bytes(4)))
    return LinkControl(lambda size: next(chances))


def tick(end: LinkControl, now_s: float, *, quiet: bool = True) -> list[bytes]:
    datagrams = end.tick(now_s, quiet=quiet, epoch=7)
    assert end.deadline > now_s
    return datagrams


def report_of(end: LinkControl, now_s: float) -> Report:
    """What this end reports at that time."""
    for data in tick(end, now_s):
        match decode(data):
            case (Report() as report,):
                return report
    raise AssertionError("no report was due")


def blocks_of(end: LinkControl, now_s: float) -> dict[Ssrc, Block]:
    return {block.ssrc: block for block in report_of(end, now_s).blocks}


def said(end: LinkControl, until_s: float, *, quiet: bool = True, is_standby: bool = False):
    """Time and message of each keepalive, with tick() called at each deadline."""
    messages = []
    while (now := max(end.deadline, 0.0)) <= until_s:
        decoded = map(decode, end.tick(now, quiet=quiet, epoch=7, is_standby=is_standby))
        messages += [(round(now, 6), each) for each in decoded if isinstance(each, Keepalive)]
        assert end.deadline > now
    return messages


# ── keepalives ───────────────────────────────────────────────────────────────────────────────


def test_an_idle_link_says_at_once_and_each_200_ms_that_it_lives():
    quiet = Keepalive(quiet=True, epoch=7)
    assert said(an_end(), 0.7) == [(0.0, quiet), (0.2, quiet), (0.4, quiet), (0.6, quiet)]


def test_while_a_voice_flows_no_keepalive_is_sent():
    end = an_end()
    tick(end, LONG_AGO)
    for n in range(60):
        end.sent_voice(n * FRAME_S, a_packet(ANA, n))
        assert end.deadline >= min(n * FRAME_S + VOICE_GAP_S, LONG_AGO + REPORT_S)
        assert not any(isinstance(decode(data), Keepalive) for data in tick(end, n * FRAME_S))


def test_when_the_last_voice_falls_silent_a_keepalive_follows_within_20_ms():
    end = an_end()
    tick(end, LONG_AGO)
    end.sent_voice(0.0, a_packet(ANA))
    end.sent_voice(0.010, a_packet(BEN))
    times = [time for time, _ in said(end, 0.5)]
    falls_silent = 0.010 + FRAME_S
    assert falls_silent < times[0] <= falls_silent + 0.020
    assert times == [0.04, 0.24, 0.44]


def test_a_late_tick_is_not_made_up_for():
    end = an_end()
    tick(end, 0.0)
    assert len(tick(end, 5.0)) == 2
    assert end.deadline == 5.0 + KEEPALIVE_S


def test_a_standby_is_told_at_each_tick_though_ticks_come_a_little_early_or_late():
    end = an_end()
    for n, late_s in zip(range(60), itertools.cycle((0.0, 0.002, -0.002, 0.001)), strict=False):
        sent = end.tick(n * FRAME_S + late_s, quiet=True, epoch=7, is_standby=True)
        assert Keepalive(quiet=True, epoch=7) in map(decode, sent)


def test_who_says_that_somebody_talks_says_the_next_within_60_ms():
    """The other end takes 60 ms for a death then."""
    end = an_end()
    loud = said(end, 0.04, quiet=False)
    assert [each for _, each in loud] == [Keepalive(quiet=False, epoch=7)] * 3
    assert loud[-1][0] > 0.02
    assert len(tick(end, 0.05)) == 1  # quiet from here on, and it is said at once
    assert said(end, 0.3) == [(0.25, Keepalive(quiet=True, epoch=7))]


def test_requests_are_what_they_say():
    end = an_end()
    for kind in (ControlKind.PULL, ControlKind.PUSH, ControlKind.RELEASE):
        data = end.request(kind, 9)
        assert decode(data) == Request(kind, 9)
        assert an_end().receive(0.0, data) == Request(kind, 9)


def test_keepalives_are_handed_over_and_reports_kept():
    first, second = an_end(), an_end()
    received = [second.receive(0.0, data) for data in tick(first, 0.0)]
    assert received == [Keepalive(quiet=True, epoch=7), None]


# ── reports ──────────────────────────────────────────────────────────────────────────────────


def test_reports_come_at_once_and_then_each_second_and_count_what_was_sent():
    end = an_end()
    assert report_of(end, 0.0).sender == SenderInfo(1, 0, 0)  # a clock that never says 0
    for n in range(3):
        end.sent_voice(0.1 * n, a_packet(ANA, n, payload=b"x" * 80))
    assert [decode(data) for data in tick(end, 0.999)] == [Keepalive(quiet=True, epoch=7)]
    assert report_of(end, 1.0) == Report(Ssrc(0xCAFEF00D), SenderInfo(0x10000, 3, 240), ())


def test_the_clock_in_reports_is_not_the_machines():
    end = an_end(clock_zero=0xFFFF_FFFF)
    sender = report_of(end, 1_000.0).sender
    assert sender is not None
    assert sender.clock == (1_000 << 16) - 1


def test_round_trip_time_is_that_of_the_rfcs_example():
    """RFC 3550 §6.4.1, figure 2: SR at 46853.125 s, report at 46864.5 s, 5.25 s in between."""
    end = an_end()
    report = report_of(end, 46_853.125)
    assert report.sender is not None
    assert report.sender.clock == 0xB705_2000
    answer = Report(THEM, None, (Block(report.ssrc, lsr=0xB705_2000, dlsr=0x0005_4000),))
    end.receive(46_864.5, encode_report(answer))
    assert end.rtt_us == 6_125_000


def test_the_other_end_answers_with_our_clock_and_how_long_it_kept_it():
    end = an_end()
    theirs = Report(THEM, SenderInfo(0xB705_2000, 0, 0), ())
    end.receive(0.5, encode_report(theirs))
    assert blocks_of(end, 5.75) == {THEM: Block(THEM, lsr=0xB705_2000, dlsr=0x0005_4000)}


def test_two_ends_measure_the_time_there_and_back_though_nobody_speaks():
    ends = an_end(ssrc=1, clock_zero=0xFFFF_0000), an_end(ssrc=2, clock_zero=5)
    order, queue = count(), list[tuple[float, int, int, bytes | None]]()
    for number in (0, 1):
        heapq.heappush(queue, (0.3 * number, next(order), number, None))
    while (step := heapq.heappop(queue))[0] < 4.0:
        now, _, number, data = step
        if data is not None:
            ends[number].receive(now, data)
            continue
        for sent in tick(ends[number], now):
            delay = (0.030, 0.015)[number]
            heapq.heappush(queue, (now + delay, next(order), 1 - number, sent))
        heapq.heappush(queue, (ends[number].deadline, next(order), number, None))
    for end in ends:
        assert end.rtt_us == pytest.approx(45_000, abs=50)  # three readings of 15 µs
        assert end.loss_permille == 0


def test_round_trip_time_is_measured_across_the_wrap_of_the_clock():
    end = an_end(clock_zero=0xFFFF_8000)
    report = report_of(end, 0.0)
    answer = Report(THEM, None, (Block(report.ssrc, lsr=0xFFFF_8000, dlsr=0x8000),))
    end.receive(1.0, encode_report(answer))
    assert end.rtt_us == 500_000


@pytest.mark.parametrize(
    ("lsr", "dlsr"),
    [(0, 0), (1, 5 << 16), (0, 3 << 16), (0x8000_0000, 0), ((1 << 32) - (8 << 16), 0)],
)
def test_a_round_trip_that_cannot_be_is_not_believed(lsr: int, dlsr: int):
    end = an_end(ssrc=1, clock_zero=(1 << 32) - (1 << 16))
    report_of(end, 1.0)
    answer = Report(THEM, None, (Block(Ssrc(1), lsr=lsr, dlsr=dlsr),))
    end.receive(4.0, encode_report(answer))
    assert end.rtt_us == 0


# ── what came ────────────────────────────────────────────────────────────────────────────────


def hear(end: LinkControl, seqs, *, ssrc: Ssrc = ANA, start_s: float = 0.0) -> None:
    for n, seq in enumerate(seqs):
        packet = a_packet(ssrc, seq, timestamp=960 * n)
        end.received_voice(start_s + n * FRAME_S, packet)


def test_loss_is_counted_by_seq_from_report_to_report():
    """RFC 3550 §A.3 by hand: 5 of 50 missing are 25/256, and then none of 50."""
    end = an_end()
    hear(end, [n for n in range(50) if n % 10 != 5])
    block = blocks_of(end, 1.0)[ANA]
    assert (block.fraction_lost, block.lost, block.highest_seq) == (5 * 256 // 50, 5, 49)
    hear(end, range(50, 100))
    block = blocks_of(end, 2.0)[ANA]
    assert (block.fraction_lost, block.lost, block.highest_seq) == (0, 5, 99)


def test_late_packets_and_duplicates_are_no_loss():
    end = an_end()
    hear(end, [0, 1, 3, 2, 4, 4, 4])
    block = blocks_of(end, 1.0)[ANA]
    assert (block.fraction_lost, block.lost) == (0, -2)
    hear(end, [5, 7])
    assert blocks_of(end, 2.0)[ANA].fraction_lost == 256 // 3
    hear(end, [6, 8])
    block = blocks_of(end, 3.0)[ANA]
    assert (block.fraction_lost, block.lost) == (0, -2)


def test_the_wraps_of_seq_stand_above_it():
    end = an_end()
    hear(end, [65_534, 65_535, 1, 0, 2])
    block = blocks_of(end, 1.0)[ANA]
    assert (block.highest_seq, block.lost) == (0x1_0002, 0)


def test_a_leap_in_seq_is_a_new_start_and_no_loss():
    end = an_end()
    hear(end, [0, 1, 2])
    assert blocks_of(end, 1.0)[ANA].lost == 0
    hear(end, [40_000, 40_001, 40_003])
    block = blocks_of(end, 2.0)[ANA]
    assert (block.fraction_lost, block.lost, block.highest_seq) == (64, 1, 40_003)
    hear(end, [40_003 + 2_999])
    assert blocks_of(end, 3.0)[ANA].lost == 1 + 2_998
    hear(end, [40_003 + 2_999 - 99])
    assert blocks_of(end, 4.0)[ANA].lost == 1 + 2_997
    hear(end, [40_003 + 2_999 - 100])
    block = blocks_of(end, 5.0)[ANA]
    assert (block.lost, block.highest_seq) == (0, 42_902)
    hear(end, [42_902 + 3_000])
    block = blocks_of(end, 6.0)[ANA]
    assert (block.lost, block.highest_seq) == (0, 45_902)


def test_jitter_is_smoothed_as_the_rfc_does():
    """RFC 3550 §A.8 by hand: 10 ms late are 480 units; 480/16 = 30, then (930 >> 4) = 58."""
    end = an_end()
    for arrival, timestamp in [(0.0, 0), (0.030, 960), (0.040, 1_920)]:
        end.received_voice(arrival, a_packet(ANA, timestamp // 960, timestamp=timestamp))
    assert blocks_of(end, 1.0)[ANA].jitter == 58
    assert end.jitter_us == 58 * 1_000_000 // 48_000


def test_neither_pauses_nor_audits_nor_the_wrap_of_the_timestamp_are_jitter():
    end, top = an_end(), (1 << 32) - 960
    end.received_voice(0.0, a_packet(ANA, 0, timestamp=top))
    end.received_voice(0.02, a_packet(ANA, 1, timestamp=0))
    end.received_voice(0.03, a_packet(ANA, 2, timestamp=0, kind=PT_AUDIT))
    end.received_voice(5.02, a_packet(ANA, 3, timestamp=5 * 48_000))
    block = blocks_of(end, 6.0)[ANA]
    assert block.jitter <= 1  # of rounding to 1/48,000 s
    assert block.lost == 0


def test_the_links_jitter_is_that_of_its_worst_voice():
    end = an_end()
    hear(end, range(10), ssrc=BEN)
    assert end.jitter_us < 21
    for n in range(10):
        arrival = n * FRAME_S + 0.010 * (n % 2)
        end.received_voice(arrival, a_packet(ANA, n, timestamp=960 * n))
    assert end.jitter_us > 4_000


def test_a_voice_that_did_not_speak_since_the_last_report_is_left_out():
    end = an_end()
    hear(end, [0, 1])
    hear(end, [0, 1], ssrc=BEN)
    assert blocks_of(end, 1.0).keys() == {ANA, BEN}
    hear(end, [2], ssrc=BEN, start_s=1.5)
    assert blocks_of(end, 2.0).keys() == {BEN}


def test_a_voice_is_counted_afresh_after_ten_seconds():
    end = an_end()
    hear(end, [0, 2])
    end.received_voice(0.06, a_packet(ANA, 3, timestamp=0))
    assert blocks_of(end, 1.0)[ANA].lost == 1
    assert end.jitter_us > 0
    blocks_of(end, 1.0 + VOICE_S_MAX)
    assert end.jitter_us == 0
    hear(end, [5], start_s=12.0)
    block = blocks_of(end, 13.0)[ANA]
    assert (block.lost, block.highest_seq) == (0, 5)


def test_a_report_has_space_for_thirty_voices_and_the_newest_count():
    end = an_end()
    end.receive(0.0, encode_report(Report(THEM, SenderInfo(1, 0, 0), ())))
    for n in range(40):
        hear(end, [n], ssrc=Ssrc(n), start_s=0.001 * n)
    assert blocks_of(end, 1.0).keys() == {THEM, *map(Ssrc, range(10, 40))}


def test_what_is_no_packet_is_not_counted():
    end = an_end()
    for data in (b"", b"\x90", bytes(100), a_packet(ANA)[:20]):
        end.received_voice(0.0, data)
    assert blocks_of(end, 1.0) == {}


# ── what the other end says of us ────────────────────────────────────────────────────────────


def tell_loss(end: LinkControl, *fractions: int) -> None:
    blocks = tuple(Block(Ssrc(n + 1), fraction) for n, fraction in enumerate(fractions))
    end.receive(0.0, encode_report(Report(THEM, None, blocks)))


def test_the_loss_that_the_other_end_reports_is_taken_over_some_seconds():
    end = an_end()
    assert end.loss_permille == 0
    tell_loss(end, 64)
    assert end.loss_permille == 250
    tell_loss(end, 0)
    assert end.loss_permille == round(250 * 3 / 4)
    for _ in range(40):
        tell_loss(end, 26)
    assert end.loss_permille == round(26 / 0.256)


def test_several_voices_of_a_link_share_its_loss():
    end = an_end()
    tell_loss(end, 0, 128)
    assert end.loss_permille == 250


def test_a_report_without_voices_says_nothing_of_loss():
    end = an_end()
    tell_loss(end, 64)
    end.receive(0.0, encode_report(Report(THEM, None, (Block(Ssrc(0xCAFEF00D)),))))
    tell_loss(end)
    assert end.loss_permille == 250


def test_loss_from_end_to_end():
    speaker, listener, rng = an_end(ssrc=1), an_end(ssrc=2), random.Random(5)
    for n in range(20 * 50):
        now = n * FRAME_S
        packet = a_packet(ANA, 65_000 + n, timestamp=960 * n)
        speaker.sent_voice(now, packet)
        if rng.random() >= 0.1:
            listener.received_voice(now + 0.01, packet)
        for data in tick(listener, now):
            speaker.receive(now, data)
    assert 50 < speaker.loss_permille < 150


# ── whatever comes ───────────────────────────────────────────────────────────────────────────


def test_no_datagram_and_no_packet_breaks_an_end():
    """Invariant: receive and received_voice raise PeerError alone, and reports can go on."""
    end, rng = an_end(), random.Random(6)
    reports = [
        encode_report(Report(THEM, SenderInfo(0xFFFF_FFFF, 1, 1), ())),
        encode_report(Report(THEM, None, (Block(Ssrc(0xCAFEF00D), 255, -1, 9, 9, 9, 9),))),
    ]
    now = 0.0
    for n in range(20_000):
        now += rng.choice([0.0, 0.001, 0.02, 1.0, 20.0])
        changed = bytearray(rng.choice(reports))
        for _ in range(rng.randrange(4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        with suppress(PeerError):
            end.receive(now, bytes(changed))
        ssrc, at = Ssrc(rng.randrange(60)), rng.randrange(1 << 32)
        end.received_voice(now, a_packet(ssrc, rng.randrange(1 << 16), timestamp=at))
        if n % 7 == 0:
            for data in tick(end, now):
                decode(data)
        assert 0 <= end.loss_permille <= 1_000
        assert 0 <= end.rtt_us <= 10_000_000
        assert end.jitter_us >= 0
