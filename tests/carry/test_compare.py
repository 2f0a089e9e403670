"""What a hub must bring because its standby has it. ONE is the hub, TWO stands by."""

from p2phouse.carry.compare import Compare
from p2phouse.carry.table import compile_table
from p2phouse.channel import TableRow
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc
from tests.carry.packets import ANA, BEN, CEM, ONE, THREE, TWO

SAMPLE_S = 1.28
DEA = Ssrc(0xD0D0D0D0)


class Here:
    def __init__(self, *voices: Ssrc) -> None:
        self.compare = Compare()
        self.voices = voices
        self.set_rows()
        self.now = 0.0
        self.seq = 0

    def set_rows(self, standby: LinkNumber = TWO) -> None:
        rows = [TableRow(ONE, ssrc, (standby,), (HERE,)) for ssrc in self.voices]
        self.compare.set_table(compile_table(1, rows))

    def talk(
        self,
        samples: int,
        *,
        drops: tuple[Ssrc, ...] = (),
        late_s: float = 0.01,
        written: bytes | None = None,
    ) -> frozenset[LinkNumber]:
        """Everybody talks, for so many samples; the hub does to them what is said."""
        failing: frozenset[LinkNumber] = frozenset()
        for _ in range(samples):
            self.seq += 64
            for ssrc in self.voices:
                self.compare.hear(self.now, TWO, ssrc, self.seq, b"%d" % self.seq)
            for tick in range(64):
                now = self.now + tick * 0.02
                if late_s <= tick * 0.02 < late_s + 0.02:
                    for ssrc in self.voices:
                        if ssrc not in drops:
                            data = written or b"%d" % self.seq
                            self.compare.hear(now, ONE, ssrc, self.seq, data)
                failing = self.compare.tick(now)
            self.now += SAMPLE_S
        return failing


def test_a_hub_that_brings_all_fails_nobody():
    assert Here(ANA, BEN).talk(50) == set()


def test_a_hub_that_leaves_out_one_speaker_is_found_out_by_the_third_sample():
    here = Here(ANA, BEN)
    assert here.talk(2, drops=(BEN,)) == set()
    assert here.talk(1, drops=(BEN,)) == {ONE}
    assert here.talk(1) == set()


def test_a_lost_sample_now_and_then_says_nothing():
    here = Here(ANA, BEN)
    for _ in range(20):
        assert here.talk(2, drops=(BEN,)) == set()
        assert here.talk(1) == set()


def test_a_hub_that_holds_packets_back_is_found_out():
    assert Here(ANA).talk(5, late_s=0.24) == set()
    assert Here(ANA).talk(3, late_s=0.28) == {ONE}


def test_a_hub_that_writes_into_packets_is_found_out():
    assert Here(ANA).talk(3, written=b"other") == {ONE}


def test_a_hub_that_brings_three_others_may_have_chosen_them():
    here = Here(ANA, BEN, CEM, DEA)
    assert here.talk(10, drops=(DEA,)) == set()
    assert here.talk(6, drops=(DEA, CEM)) == {ONE}


def test_what_comes_sooner_by_the_hub_counts_as_brought():
    here = Here(ANA)
    for n in range(1, 5):
        here.compare.hear(n * SAMPLE_S, ONE, ANA, 64 * n, b"%d" % n)
        here.compare.hear(n * SAMPLE_S + 0.3, TWO, ANA, 64 * n, b"%d" % n)
        assert here.compare.tick(n * SAMPLE_S + 0.6) == set()


def test_another_way_is_judged_anew_and_the_same_is_not():
    here = Here(ANA)
    here.talk(3, drops=(ANA,))
    here.set_rows()
    assert here.compare.tick(here.now) == {ONE}
    here.set_rows(standby=THREE)
    assert here.compare.tick(here.now) == set()


def test_samples_of_others_and_from_elsewhere_are_passed_over_and_few_are_kept():
    here = Here(ANA)
    for n in range(1_000):
        here.compare.hear(0.0, THREE, ANA, n, b"")
        here.compare.hear(0.0, TWO, BEN, n, b"")
        here.compare.hear(0.0, TWO, ANA, n, b"")
        here.compare.hear(0.0, ONE, ANA, n + 5_000, b"")
    assert here.compare.tick(10.0) == {ONE}  # four that nobody else brought
