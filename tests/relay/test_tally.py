"""Counting for many listeners at once gives what counting one by one would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2phouse_relay.crowd.tally import MARK_AHEAD, SEEN_PACKETS, Tally

ANA, BEN, CEM = 0, 1, 2
EVERYBODY = np.array([ANA, BEN, CEM])


def hear(tally: Tally, who: int, *seqs: int, voice: int = 0) -> list[int]:
    """Who got his first packet."""
    firsts: list[int] = []
    for seq in seqs:
        arrays = (np.array([each]) for each in (who, voice, seq % 65_536))
        firsts += tally.add(*arrays).tolist()
    return firsts


def begun(voices: int = 1, seq: int = 100) -> Tally:
    """Everybody has packet `seq` of each voice; those from `seq + MARK_AHEAD` on are counted."""
    tally = Tally(3, voices)
    for voice in range(voices):
        for who in EVERYBODY:
            hear(tally, int(who), seq, voice=voice)
    tally.mark(EVERYBODY)
    return tally


def test_who_gets_everything_lost_nothing():
    tally = begun()
    for who in (ANA, BEN, CEM):
        hear(tally, who, *range(101, 200))
    tally.close()
    counts = tally.counts()
    assert counts.expected == counts.received == 3 * (199 - 100 - MARK_AHEAD + 1)
    assert counts.lost == counts.duplicated == counts.reordered == counts.silent == 0


def test_who_is_at_another_process_is_sent_other_seqs_and_misses_nothing_by_that():
    tally = Tally(3, 1, 2)
    tally.place(CEM, 1)
    for who, seq in ((ANA, 100), (BEN, 100), (CEM, 40_000)):
        hear(tally, who, seq)
    tally.mark(EVERYBODY)
    for who, seqs in ((ANA, range(101, 200)), (BEN, range(101, 199)), (CEM, range(40_001, 40_050))):
        hear(tally, who, *seqs)
    tally.close()
    counts = tally.counts()
    assert counts.expected == 2 * (199 - 100 - MARK_AHEAD + 1) + 49 - MARK_AHEAD + 1
    assert counts.lost == 1


def test_gaps_the_end_and_silence_are_losses():
    tally = begun()
    hear(tally, ANA, *range(101, 200))
    hear(tally, BEN, *(each for each in range(101, 198) if each != 150))
    tally.close()
    counts = tally.counts()
    each = 199 - 100 - MARK_AHEAD + 1
    assert counts.lost == 1 + 2 + each
    assert counts.lost_worst == each
    assert counts.silent == 1


def test_what_comes_twice_or_late_is_told_apart():
    tally = begun()
    for who in (BEN, CEM):
        hear(tally, who, *range(101, 211))
    hear(tally, ANA, *range(101, 150), 151, 150, 152, 152, 150, *range(153, 211))
    tally.close()
    counts = tally.counts()
    assert (counts.lost, counts.duplicated, counts.reordered) == (0, 2, 1)


def test_what_is_of_no_use_any_more_is_lost():
    tally = begun()
    for who in (BEN, CEM):
        hear(tally, who, *range(101, 300))
    hear(tally, ANA, *(each for each in range(101, 300) if each != 200), 200)
    tally.close()
    counts = tally.counts()
    assert (counts.lost, counts.reordered) == (1, 1)


def test_seqs_wrap():
    tally = begun(seq=65_530)
    for who in (ANA, BEN, CEM):
        hear(tally, who, *range(65_531, 65_731))
    tally.close()
    assert tally.counts().lost == 0


def test_only_those_who_were_there_at_the_mark_are_counted():
    tally = Tally(3, 1)
    hear(tally, ANA, 100)
    tally.mark(np.array([ANA]))
    assert hear(tally, BEN, *range(105, 200)) == [BEN]
    assert hear(tally, ANA, *range(101, 200)) == []
    tally.close()
    counts = tally.counts()
    assert (counts.expected, counts.lost) == (95, 0)


def test_what_is_said_after_the_end_is_not_counted_and_what_was_on_its_way_is():
    tally = begun()
    for who in (ANA, BEN):
        hear(tally, who, *range(101, 200))
    tally.close()
    for who in (ANA, BEN, CEM):
        hear(tally, who, *range(101 if who == CEM else 200, 210))
    counts = tally.counts()
    assert (counts.expected, counts.lost) == (3 * 95, 0)


def test_each_voice_is_counted_by_itself():
    tally = begun(voices=2)
    for who in (ANA, BEN, CEM):
        hear(tally, who, *range(101, 200), voice=0)
        hear(tally, who, *(each for each in range(101, 120) if each != 110), voice=1)
    tally.close()
    assert tally.counts().lost == 3


@given(st.lists(st.integers(0, SEEN_PACKETS - 2), max_size=300), st.integers(0, 65_535))
def test_counted_in_any_order_as_one_by_one(moves, start):
    """Each next packet is the newest, or one so many behind it."""
    seqs = [start + MARK_AHEAD + 64]
    for back in moves:
        newest = max(seqs)
        seqs.append(newest + 1 if back == 0 else max(newest - back, seqs[0]))
    tally = Tally(2, 1)
    hear(tally, BEN, start)
    tally.mark(np.array([ANA]))
    hear(tally, ANA, *seqs)
    hear(tally, BEN, max(seqs))
    tally.close()
    counts = tally.counts()
    assert counts.received == len(set(seqs))
    assert counts.duplicated == len(seqs) - len(set(seqs))
    assert counts.lost == max(seqs) - min(seqs) + 1 - len(set(seqs))
