"""Who is heard in which slot, and that what goes out there is one voice for whoever receives it."""

import os
import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.slots import HOLD_S, Slots
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, LinkNumber, Ssrc
from p2phouse.voice.level import SILENCE_DBOV
from p2phouse.voice.packet import SEQ_START_MAX, WRAP_PACKETS
from p2phouse.voice.plain import Plain

SSRCS = (Ssrc(11), Ssrc(12), Ssrc(13), Ssrc(14))
LOUD, SOFT = 20, 40


class Speaker:
    """One guest's voice: 50 packets a second from a seq and timestamp of its own."""

    def __init__(self, slots: Slots, number: int, *, level: int = LOUD, seq: int = 0) -> None:
        self.slots = slots
        self.link = LinkNumber(number)
        self.level = level
        self.seq = seq
        self.stamp = 1_000_000 * number

    def packet(self, back: int = 0) -> Plain:
        stamp = (self.stamp - back * FRAME_SAMPLES) % 2**32
        return Plain(
            99, False, (self.seq - back) % 65_536, stamp, Ssrc(self.link), self.level, b"opus"
        )

    def say(self, now_s: float) -> Plain | None:
        self.pause()
        return self.slots.place(now_s, self.link, self.packet())

    def pause(self) -> None:
        self.seq += 1
        self.stamp += FRAME_SAMPLES


def room(number: int, **levels: int) -> tuple[Slots, list[Speaker]]:
    slots = Slots(SSRCS[:number], os.urandom)
    speakers = [Speaker(slots, n, level=level) for n, level in enumerate(levels.values(), 1)]
    return slots, speakers


def run(
    speakers: list[Speaker], begin_s: float, seconds: float
) -> list[dict[LinkNumber, Plain | None]]:
    ticks = [begin_s + n * FRAME_S for n in range(round(seconds / FRAME_S))]
    return [{each.link: each.say(now_s) for each in speakers} for now_s in ticks]


def holders(ticks: list[dict[LinkNumber, Plain | None]], ssrc: Ssrc = SSRCS[0]) -> list[int]:
    """Who was in a slot, tick by tick, each change once."""
    found: list[int] = []
    for tick in ticks:
        for link, out in tick.items():
            if out is not None and out.ssrc == ssrc and found[-1:] != [link]:
                found.append(link)
    return found


def test_four_speakers_keep_a_slot_each_however_loud():
    _, speakers = room(4, ana=LOUD, ben=SOFT, cem=SILENCE_DBOV, dea=LOUD)
    ticks = run(speakers, 0.0, 20.0)
    assert [holders(ticks, ssrc) for ssrc in SSRCS] == [[1], [2], [3], [4]]
    assert all(out is not None for tick in ticks for out in tick.values())


def test_the_only_line_goes_to_the_loudest_and_stays_for_its_hold():
    _, (ana, ben) = room(1, ana=SOFT, ben=LOUD)
    first = run([ana], 0.0, 0.1)
    both = run([ana, ben], 0.1, 3.0)
    assert holders(first + both) == [1, 2]
    changed_s = next(n for n, tick in enumerate(both) if tick[ben.link] is not None) * FRAME_S
    assert HOLD_S - 0.11 <= changed_s <= HOLD_S + 0.2


def test_about_as_loud_people_take_no_turns():
    _, speakers = room(1, ana=LOUD, ben=LOUD - 3)
    assert holders(run(speakers, 0.0, 20.0)) == [1]


def test_a_pause_gives_the_slot_to_who_talks_but_a_breath_does_not():
    _, (ana, ben) = room(1, ana=LOUD, ben=SOFT)
    assert holders(run([ana, ben], 0.0, 2.0)) == [1]
    ana.level = SILENCE_DBOV
    breath = run([ana, ben], 2.0, HOLD_S - 0.1)
    ana.level = LOUD
    assert holders(breath) == [1]
    assert holders(run([ana, ben], 3.0, 1.0)) == [1]
    ana.level = SILENCE_DBOV
    assert holders(run([ana, ben], 4.0, 2.0)) == [1, 2]


def test_whoever_leaves_leaves_its_slot_at_once():
    slots, (ana, ben) = room(1, ana=LOUD, ben=LOUD)
    run([ana, ben], 0.0, 1.0)
    slots.leave(ana.link)
    slots.leave(ana.link)
    assert holders(run([ben], 1.0, 0.1)) == [2]


def test_seq_and_time_go_on_when_a_slot_changes_hands():
    slots, (ana, ben) = room(1, ana=LOUD, ben=LOUD)
    before = [out for tick in run([ana], 0.0, 1.0) for out in tick.values() if out is not None]
    slots.leave(ana.link)
    # Ben comes half a second later, so the slot was quiet for as long.
    after = [out for tick in run([ben], 1.5, 1.0) for out in tick.values() if out is not None]
    outs = before + after
    assert [(b.seq - a.seq) % 65_536 for a, b in pairwise(outs)] == [1] * 99
    gaps = [(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(outs)]
    assert gaps == [FRAME_SAMPLES] * 49 + [26 * FRAME_SAMPLES] + [FRAME_SAMPLES] * 49
    assert [out.marker for out in outs] == [True] + [False] * 49 + [True] + [False] * 49
    assert {out.ssrc for out in outs} == {SSRCS[0]}


def test_losses_and_reorder_stay_what_they_were():
    """A listener's jitter buffer must see them, to conceal the one and mend the other."""
    slots, (ana,) = room(1, ana=LOUD)
    first = ana.say(0.0)
    assert first is not None
    ana.pause()
    late = ana.packet()
    ana.pause()
    third, second = (slots.place(0.06, ana.link, each) for each in (ana.packet(), late))
    assert third is not None
    assert second is not None
    assert (third.seq - first.seq) % 65_536 == 2
    assert (second.seq - first.seq) % 65_536 == 1
    assert (second.timestamp - first.timestamp) % 2**32 == FRAME_SAMPLES
    assert slots.place(0.08, ana.link, late) is None  # once is enough


def test_what_comes_late_from_before_a_turn_is_left_out():
    slots, (ana, ben) = room(1, ana=LOUD, ben=LOUD)
    run([ana, ben], 0.0, 1.0)
    ana.pause()  # a packet of hers is lost
    ana.say(1.0)
    slots.leave(ana.link)
    old = ben.packet(back=1)
    assert ben.say(1.02) is not None
    for late in (old, ben.packet(back=1)):
        assert slots.place(1.03, ben.link, late) is None


def test_a_voice_that_begins_anew_goes_on_in_its_slot():
    _, (ana,) = room(1, ana=LOUD)
    last = run([ana], 0.0, 1.0)[-1][ana.link]
    ana.seq += 20_000
    ana.stamp += 10**9
    out = ana.say(1.0)
    assert last is not None
    assert out is not None
    assert (out.seq - last.seq) % 65_536 == 1
    assert out.marker


def test_a_slot_begins_far_from_its_wrap_and_says_when_it_is_near():
    slots = Slots(SSRCS[:1], lambda size: b"\xff" * size)
    ana = Speaker(slots, 1)
    first = ana.say(0.0)
    assert first is not None
    assert first.seq <= SEQ_START_MAX + 1
    told = []
    for n in range(65_536):
        out = ana.say(0.02 * n)
        assert out is not None
        told.append((out.seq, slots.may_begin(0.02 * n)))
    assert {seq for seq, may in told if not may} == set(range(65_536 - WRAP_PACKETS, 65_536))


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_whatever_comes_no_slot_repeats_a_seq(seed, number):
    rng = random.Random(seed)
    slots = Slots(SSRCS[:number], rng.randbytes)
    speakers = [Speaker(slots, n, seq=rng.randrange(65_536)) for n in range(1, 7)]
    outs: list[tuple[Ssrc, int]] = []
    now_s = 0.0
    for _ in range(400):
        now_s += rng.choice((0.0, 0.02, 0.02, 0.3))
        speaker = rng.choice(speakers)
        speaker.level = rng.choice((LOUD, SOFT, SILENCE_DBOV))
        chance = rng.random()
        if chance < 0.05:
            slots.leave(speaker.link)
        elif chance < 0.1:
            speaker.seq = rng.randrange(65_536)
        elif chance < 0.3:
            packet = speaker.packet(back=rng.randrange(100))
            out = slots.place(now_s, speaker.link, packet)
            if out is not None:
                outs.append((out.ssrc, out.seq))
        else:
            out = speaker.say(now_s)
            if out is not None:
                outs.append((out.ssrc, out.seq))
    assert len(set(outs)) == len(outs)
