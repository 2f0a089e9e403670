"""What every forwarder keeps to. Another implementation inherits ForwarderTests and makes its own.

Sinks are lists: what a link was given, in order.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2phouse.carry import forwarder as plain
from p2phouse.carry.forwarder import Forwarder, LinkCounts
from p2phouse.carry.table import TableRefused, compile_table
from p2phouse.carry.window import WINDOW_PACKETS
from p2phouse.channel import TableRow
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_AUDIT, parse
from tests.carry.packets import ANA, BEN, CEM, FOUR, ONE, THREE, TWO, a_packet

LINKS = [HERE, ONE, TWO, THREE, FOUR]
VOICES = [ANA, BEN, CEM]
NEAR_WRAP = 65_536 - 20


def rows_among(links: st.SearchStrategy[LinkNumber]) -> st.SearchStrategy[TableRow]:
    return st.builds(
        TableRow,
        ingress=links,
        ssrc=st.sampled_from(VOICES),
        standbys=st.lists(links, max_size=3).map(tuple),
        sinks=st.lists(links, max_size=4).map(tuple),
        warm=st.lists(links, max_size=2).map(tuple),
    )


STEPS = st.one_of(
    st.tuples(
        st.just("packet"),
        st.sampled_from(LINKS),
        st.sampled_from(VOICES),
        st.integers(-2 * WINDOW_PACKETS, 2 * WINDOW_PACKETS),
    ),
    st.tuples(st.just("table"), st.lists(rows_among(st.sampled_from(LINKS)), max_size=3)),
    st.tuples(st.just("add"), st.sampled_from(LINKS[1:])),
    st.tuples(st.just("remove"), st.sampled_from(LINKS[1:])),
    st.tuples(st.just("steer"), *[st.frozensets(st.sampled_from(LINKS[1:]))] * 2),
    st.tuples(st.just("withhold"), st.frozensets(st.sampled_from(VOICES))),
)


class Here:
    """A forwarder with its links and its ear, and what each of them was given."""

    def __init__(self, make: Callable[[Callable[[Ssrc, bytes], None]], Forwarder]) -> None:
        self.heard: list[bytes] = []
        self.sent: dict[LinkNumber, list[bytes]] = {}
        self.epoch = 0
        self.forwarder = make(self._hear)

    def _hear(self, ssrc: Ssrc, packet: bytes) -> None:
        assert parse(packet).ssrc == ssrc
        self.heard.append(packet)

    def add(self, *links: LinkNumber) -> None:
        for link in links:
            self.sent[link] = []
            self.forwarder.add(link, self.sent[link].append)

    def set_rows(self, *rows: TableRow) -> None:
        self.epoch += 1
        assert self.forwarder.set_table(compile_table(self.epoch, rows))


class ForwarderTests:
    """The plain forwarder's tests, for every other to pass by inheriting them."""

    def make_forwarder(self, deliver: Callable[[Ssrc, bytes], None]) -> Forwarder:
        return Forwarder(deliver)

    @pytest.fixture
    def here(self) -> Here:
        return Here(self.make_forwarder)

    # ── ways ─────────────────────────────────────────────────────────────────────────────────

    def test_a_packet_goes_to_the_sinks_of_its_row_as_it_came(self, here: Here):
        here.add(ONE, TWO, THREE, FOUR)
        here.set_rows(TableRow(ONE, ANA, (), (TWO, HERE, FOUR)))
        packet = a_packet(ANA, 5, timestamp=960, payload=bytes(range(100)))
        assert here.forwarder.receive(ONE, packet)
        assert here.sent == {ONE: [], TWO: [packet], THREE: [], FOUR: [packet]}
        assert here.heard == [packet]

    def test_our_own_voice_goes_to_every_link_of_its_row(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(HERE, ANA, (), (ONE, TWO)), TableRow(ONE, BEN, (), (HERE,)))
        packets = [a_packet(ANA, seq) for seq in range(3)]
        assert [here.forwarder.receive(HERE, packet) for packet in packets] == [True] * 3
        assert here.sent == {ONE: packets, TWO: packets}
        assert here.heard == []

    def test_audits_go_the_way_of_their_voice(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        audit = a_packet(ANA, 5, kind=PT_AUDIT)
        assert here.forwarder.receive(ONE, audit)
        assert here.sent[TWO] == [audit]

    def test_next_hops_are_the_sinks_that_are_here(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE, HERE, FOUR)))
        assert here.forwarder.next_hops(ONE, ANA) == (HERE,)
        here.add(FOUR, THREE)
        assert here.forwarder.next_hops(ONE, ANA) == (THREE, HERE, FOUR)
        assert here.forwarder.next_hops(TWO, ANA) == (THREE, HERE, FOUR)
        here.forwarder.remove(THREE)
        assert here.forwarder.next_hops(ONE, ANA) == (HERE, FOUR)
        assert here.forwarder.next_hops(THREE, ANA) == here.forwarder.next_hops(ONE, BEN) == ()
        here.forwarder.remove(ONE)
        assert here.forwarder.next_hops(ONE, ANA) == ()

    def test_a_link_added_late_is_fed_from_then_on_and_one_removed_no_more(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO, THREE)))
        packets = [a_packet(ANA, seq) for seq in range(4)]
        here.forwarder.receive(ONE, packets[0])
        here.add(THREE)
        here.forwarder.receive(ONE, packets[1])
        here.forwarder.remove(TWO)
        here.forwarder.receive(ONE, packets[2])
        assert here.sent == {ONE: [], TWO: packets[:2], THREE: packets[1:3]}

    def test_a_removed_link_brings_nothing(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO, HERE)))
        here.forwarder.remove(ONE)
        here.forwarder.remove(ONE)
        assert not here.forwarder.receive(ONE, a_packet(ANA))
        assert here.sent[TWO] == here.heard == []

    def test_here_is_no_link_and_cannot_be_removed(self, here: Here):
        here.add(ONE)
        here.set_rows(TableRow(HERE, ANA, (), (ONE,)))
        here.forwarder.remove(HERE)
        assert here.forwarder.receive(HERE, a_packet(ANA))
        assert len(here.sent[ONE]) == 1

    # ── tables ───────────────────────────────────────────────────────────────────────────────

    def test_without_a_table_nothing_passes(self, here: Here):
        here.add(ONE)
        assert not here.forwarder.receive(ONE, a_packet(ANA))
        assert not here.forwarder.receive(HERE, a_packet(ANA))

    def test_a_new_table_replaces_all_rows_at_once(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)), TableRow(TWO, BEN, (), (ONE,)))
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        assert here.forwarder.receive(ONE, a_packet(ANA))
        assert not here.forwarder.receive(TWO, a_packet(BEN))
        assert here.sent == {ONE: [], TWO: [], THREE: [a_packet(ANA)]}

    def test_a_table_of_an_older_or_equal_epoch_is_refused(self, here: Here):
        here.add(ONE, TWO, THREE)
        assert here.forwarder.set_table(compile_table(5, [TableRow(ONE, ANA, (), (TWO,))]))
        for epoch in (5, 4, 0):
            other = compile_table(epoch, [TableRow(ONE, ANA, (), (THREE,))])
            assert not here.forwarder.set_table(other)
        here.forwarder.receive(ONE, a_packet(ANA))
        assert here.sent == {ONE: [], TWO: [a_packet(ANA)], THREE: []}

    def test_the_first_table_may_have_epoch_0(self, here: Here):
        assert here.forwarder.set_table(compile_table(0, []))

    # ── whose voice ──────────────────────────────────────────────────────────────────────────

    def test_a_link_cannot_bring_the_voice_of_another(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(
            TableRow(ONE, ANA, (), (HERE, THREE)),
            TableRow(TWO, BEN, (), (HERE, THREE)),
            TableRow(HERE, CEM, (), (ONE, TWO, THREE)),
        )
        assert not here.forwarder.receive(TWO, a_packet(ANA, 1))
        assert not here.forwarder.receive(ONE, a_packet(CEM, 1))
        assert not here.forwarder.receive(THREE, a_packet(BEN, 1))
        assert here.heard == []
        assert here.sent == {ONE: [], TWO: [], THREE: []}
        # What was refused blocks nothing either.
        assert here.forwarder.receive(ONE, a_packet(ANA, 1))
        assert here.sent[THREE] == [a_packet(ANA, 1)]

    def test_the_standby_may_bring_the_voice_as_well(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE,)))
        assert here.forwarder.receive(ONE, a_packet(ANA, 1))
        assert here.forwarder.receive(TWO, a_packet(ANA, 2))
        assert here.sent == {ONE: [], TWO: [], THREE: [a_packet(ANA, 1), a_packet(ANA, 2)]}

    # ── once ─────────────────────────────────────────────────────────────────────────────────

    def test_no_sink_is_sent_one_seq_twice(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE,)))
        assert here.forwarder.receive(ONE, a_packet(ANA, 1))
        assert here.forwarder.receive(ONE, a_packet(ANA, 1, payload=b"other"))
        assert here.forwarder.receive(TWO, a_packet(ANA, 1))
        assert here.sent[THREE] == [a_packet(ANA, 1)]

    def test_our_ear_gets_duplicates_because_it_opens_before_it_believes_a_seq(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)))
        forged, true = a_packet(ANA, 1, payload=b"forged"), a_packet(ANA, 1)
        here.forwarder.receive(TWO, forged)
        here.forwarder.receive(ONE, true)
        assert here.heard == [forged, true]

    def test_a_hub_forges_nothing_into_what_its_standby_sends(self, here: Here):
        """What a standby passes on has come from the speaker; the hub is heard there, and no more.
        A seq far ahead would make every true packet too old, for us and for SRTP behind us."""
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,), warm=(THREE,)))
        here.forwarder.steer(frozenset({THREE}), frozenset())
        forged = a_packet(ANA, 32_000, payload=b"forged")
        true = [a_packet(ANA, seq) for seq in range(1, 200)]
        for packet in true:
            assert here.forwarder.receive(TWO, forged)
            here.forwarder.receive(ONE, packet)
        assert here.sent[THREE] == true
        assert here.heard.count(forged) == len(true), "our ear opens it, or does not"
        here.forwarder.take_levels()
        here.forwarder.receive(TWO, forged)
        assert here.forwarder.take_levels() == {}, "nor does it choose who is loudest"

    def test_who_lends_a_voice_keeps_nothing_of_it_out_for_long(self, here: Here):
        """Security: while a speaker's own link is silent his voice comes from a standby, which may
        write into it what it likes, and with a seq far ahead would keep him out for minutes."""
        forwarder = here.forwarder
        here.add(ONE, TWO, THREE)
        forwarder.now_s = 10.0
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        assert forwarder.receive(ONE, a_packet(ANA, 0))
        forwarder.now_s = 11.0
        here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE,)))
        assert not forwarder.receive(TWO, a_packet(ANA, 32_000))
        forwarder.now_s = 1_000.0
        assert not forwarder.receive(TWO, a_packet(ANA, 32_000)), "however long it was silent"
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        forwarder.now_s = 11.0
        for tenths in range(100):
            forwarder.now_s = 11.0 + tenths / 10
            here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE,)))  # somebody else comes or goes
            for seq in range(0, 32_000, 50):
                forwarder.receive(TWO, a_packet(ANA, seq, payload=b"forged"))
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        here.sent[THREE].clear()
        for seq in range(500, 3_000):
            forwarder.receive(ONE, a_packet(ANA, seq))
        missed = 2_500 - len(here.sent[THREE])
        assert missed <= 150 + 10 * 120 - 500

    def test_who_lends_a_voice_brings_all_of_it_though_seconds_were_missed_before(self, here: Here):
        forwarder = here.forwarder
        here.add(ONE, TWO, THREE)
        forwarder.now_s = 10.0
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        assert forwarder.receive(ONE, a_packet(ANA, 65_500))
        forwarder.now_s = 13.0
        here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE,)))
        for frame in range(1_500):
            forwarder.now_s = 13.0 + frame * FRAME_S
            assert forwarder.receive(TWO, a_packet(ANA, 65_650 + frame))
        assert len(here.sent[THREE]) == 1_501

    def test_nor_does_he_on_whom_we_lean_for_a_voice_whose_own_link_is_gone(self, here: Here):
        """Security: the same, though he is the only one who brings it now."""
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        assert here.forwarder.receive(ONE, a_packet(ANA, 0))
        here.forwarder.remove(ONE)
        row = TableRow(TWO, ANA, (), (THREE,))
        assert here.forwarder.set_table(compile_table(2, [row], leaning=TWO))
        assert not here.forwarder.receive(TWO, a_packet(ANA, 32_000))
        assert here.forwarder.receive(TWO, a_packet(ANA, 40))
        assert here.forwarder.set_table(compile_table(3, [row]))
        assert here.forwarder.receive(TWO, a_packet(ANA, 32_000)), "its own voice, as it likes"

    def test_our_own_ear_takes_a_voice_from_a_standby_whatever_its_seq(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE,)))
        assert here.forwarder.receive(ONE, a_packet(ANA, 0))
        assert here.forwarder.receive(TWO, a_packet(ANA, 20_000))
        assert len(here.heard) == 2

    def test_a_voice_of_which_much_was_missed_before_it_is_lent_comes_after_some_seconds(
        self, here: Here
    ):
        forwarder = here.forwarder
        here.add(ONE, TWO, THREE)
        forwarder.now_s = 10.0
        here.set_rows(TableRow(ONE, ANA, (TWO,), (THREE,)))
        assert forwarder.receive(ONE, a_packet(ANA, 0))
        came = [
            forwarder.receive(TWO, a_packet(ANA, 500 + frame))
            for frame in range(1_000)
            for forwarder.now_s in [10.0 + frame * FRAME_S]
        ]
        assert came.index(True) * FRAME_S < 6.0
        assert all(came[came.index(True) :])

    def test_what_only_our_ear_was_given_keeps_nothing_from_a_link_that_is_fed_later(
        self, here: Here
    ):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(TWO, ANA, (), (HERE,)))
        here.forwarder.receive(TWO, a_packet(ANA, 32_000, payload=b"forged"))
        here.set_rows(TableRow(ONE, ANA, (), (HERE, THREE)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        assert here.sent[THREE] == [a_packet(ANA, 1)]

    def test_voices_share_no_window(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)), TableRow(ONE, BEN, (), (TWO,)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.forwarder.receive(ONE, a_packet(BEN, 1))
        assert here.sent[TWO] == [a_packet(ANA, 1), a_packet(BEN, 1)]

    def test_reordered_packets_all_go_on_and_a_seq_wraps(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        packets = [a_packet(ANA, NEAR_WRAP + n) for n in range(60)]
        random.Random(3).shuffle(packets)
        for packet in packets:
            here.forwarder.receive(ONE, packet)
            here.forwarder.receive(ONE, packet)
        assert here.sent[TWO] == packets

    def test_a_new_table_forgets_no_packet(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.set_rows(TableRow(TWO, ANA, (), (THREE,)))
        here.forwarder.receive(TWO, a_packet(ANA, 1))
        assert here.sent[THREE] == [a_packet(ANA, 1)]

    def test_a_voice_is_remembered_while_its_row_is_away(self, here: Here):
        here.add(ONE, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (THREE,)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.set_rows()
        here.add(FOUR)
        here.forwarder.remove(ONE)
        here.set_rows(TableRow(FOUR, ANA, (), (THREE,)))
        here.forwarder.receive(FOUR, a_packet(ANA, 1))
        assert here.sent[THREE] == [a_packet(ANA, 1)]

    def test_a_voice_is_remembered_while_its_row_stands_and_other_links_go(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (HERE, THREE)))
        here.forwarder.remove(TWO)
        here.add(THREE)
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.set_rows(TableRow(ONE, ANA, (), (HERE, THREE)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        assert here.sent[THREE] == [a_packet(ANA, 1)]

    # ── what is counted and told ─────────────────────────────────────────────────────────────

    def test_malformed_packets_go_nowhere_and_are_counted(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO, HERE)))
        good, rng = a_packet(ANA, 1), random.Random(4)
        bad = [good[:n] for n in range(20)] + [b"\x80" + good[1:], good + bytes(700)]
        bad += [rng.randbytes(rng.randrange(200)) for _ in range(1_000)]
        assert not any(here.forwarder.receive(ONE, data) for data in bad)
        assert here.sent[TWO] == here.heard == []
        assert here.forwarder.counts(ONE).malformed == len(bad)

    def test_each_link_has_its_counts(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (HERE, THREE)), TableRow(TWO, BEN, (), (ONE,)))
        for link, packet in [
            (ONE, a_packet(ANA, 1)),
            (ONE, a_packet(ANA, 2)),
            (TWO, a_packet(ANA, 2)),
            (TWO, a_packet(ANA, 3)),
            (TWO, a_packet(BEN, 1)),
            (ONE, a_packet(BEN, 2)),
            (ONE, b"noise"),
            (FOUR, a_packet(ANA, 9)),
        ]:
            here.forwarder.receive(link, packet)
        none = LinkCounts(sent=0, received=0, refused=0, malformed=0, duplicates=0)
        counts = here.forwarder.counts
        assert counts(ONE) == replace(none, sent=1, received=4, refused=1, malformed=1)
        assert counts(TWO) == replace(none, received=3, duplicates=1)
        assert counts(THREE) == replace(none, sent=3)
        assert counts(HERE) == replace(none, sent=4)  # with the duplicate
        assert counts(FOUR) == none

    def test_the_first_packet_of_a_link_under_a_table_is_told_once(self, here: Here):
        here.add(ONE, TWO, THREE)
        rows = (TableRow(ONE, ANA, (TWO,), (THREE,)), TableRow(HERE, CEM, (), (THREE,)))
        here.set_rows(*rows)
        here.forwarder.receive(ONE, a_packet(BEN, 1))
        assert here.forwarder.first_packets() == []
        here.forwarder.receive(HERE, a_packet(CEM, 1))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.forwarder.receive(ONE, a_packet(ANA, 2))
        assert here.forwarder.first_packets() == [(ONE, 1)]
        here.forwarder.receive(ONE, a_packet(ANA, 3))
        assert here.forwarder.first_packets() == []
        # The new way counts as heard though the old one was first with the packet.
        here.forwarder.receive(TWO, a_packet(ANA, 3))
        assert here.forwarder.first_packets() == [(TWO, 1)]
        here.set_rows(*rows)
        here.forwarder.receive(ONE, a_packet(ANA, 4))
        assert here.forwarder.first_packets() == [(ONE, 2)]

    def test_first_packets_of_an_older_table_are_told_no_more(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        assert here.forwarder.first_packets() == []

    # ── only while it is asked for ───────────────────────────────────────────────────────────

    def test_a_warm_link_is_fed_while_it_is_said_to_be_and_otherwise_given_one_packet_in_64(
        self, here: Here
    ):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,), warm=(THREE,)))
        packets = [a_packet(ANA, seq) for seq in range(400)]

        def bring(first: int, last: int) -> list[int]:
            before = len(here.sent[THREE])
            for packet in packets[first:last]:
                here.forwarder.receive(ONE, packet)
            return [seq_of(packet)[1] for packet in here.sent[THREE][before:]]

        assert bring(1, 200) == [64, 128, 192]
        here.forwarder.steer(frozenset({THREE}), frozenset())
        assert bring(200, 210) == [*range(200, 210)]
        assert here.forwarder.next_hops(ONE, ANA) == (TWO, THREE)
        here.forwarder.steer(frozenset(), frozenset())
        assert bring(210, 400) == [256, 320, 384]
        assert here.sent[TWO] == packets[1:]

    def test_a_standby_steps_in_for_a_crowd_within_a_tick(self, here: Here):
        crowd = tuple(LinkNumber(number) for number in range(10, 510))
        here.add(ONE, TWO, *crowd)
        voices = [Ssrc(number) for number in range(1, 5)]
        here.set_rows(*(TableRow(ONE, ssrc, (TWO,), (HERE,), warm=crowd) for ssrc in voices))
        began_s = time.process_time()
        here.forwarder.steer(frozenset(crowd), frozenset())
        assert time.process_time() - began_s < FRAME_S
        assert here.forwarder.served(frozenset({ONE})) == {HERE, *crowd}

    def test_a_packet_that_came_before_a_warm_link_was_fed_is_never_sent_there(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (TWO,), (), warm=(THREE,)))
        here.forwarder.receive(ONE, a_packet(ANA, 63))
        here.forwarder.receive(ONE, a_packet(ANA, 64))
        here.forwarder.steer(frozenset({THREE}), frozenset())
        for seq in (63, 64, 65):
            here.forwarder.receive(ONE, a_packet(ANA, seq))
        assert [seq_of(packet)[1] for packet in here.sent[THREE]] == [64, 65]

    def test_a_link_that_has_released_us_is_sent_samples_alone(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (TWO, THREE, HERE)))
        here.forwarder.steer(frozenset(), frozenset({THREE}))
        packets = [a_packet(ANA, seq) for seq in range(1, 66)]
        for packet in packets:
            here.forwarder.receive(ONE, packet)
        assert here.sent[TWO] == here.heard == packets
        assert here.sent[THREE] == [packets[63]]

    def test_a_link_that_comes_up_while_it_is_fed_is_fed(self, here: Here):
        here.add(ONE)
        here.forwarder.steer(frozenset({TWO}), frozenset())
        here.set_rows(TableRow(ONE, ANA, (), (), warm=(TWO,)))
        here.add(TWO)
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        assert here.sent[TWO] == [a_packet(ANA, 1)]

    def test_a_voice_that_is_withheld_goes_nowhere_but_for_one_packet_in_8192(self, here: Here):
        here.add(ONE, TWO, THREE)
        here.set_rows(
            TableRow(ONE, ANA, (), (TWO, HERE), warm=(THREE,)),
            TableRow(ONE, BEN, (), (TWO, HERE)),
        )
        here.forwarder.withhold(frozenset({ANA}))
        for seq in range(1, 8_200):
            assert here.forwarder.receive(ONE, a_packet(ANA, seq))
        assert here.sent[TWO] == here.sent[THREE] == [a_packet(ANA, 8_192)]
        here.forwarder.receive(ONE, a_packet(BEN, 1))
        assert here.heard == [a_packet(BEN, 1)]
        here.forwarder.withhold(frozenset())
        here.forwarder.receive(ONE, a_packet(ANA, 9_000))
        assert here.sent[TWO][-1] == here.heard[-1] == a_packet(ANA, 9_000)

    def test_levels_are_those_of_sealed_packets_since_they_were_last_taken(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)), TableRow(ONE, BEN, (), (TWO,)))
        here.forwarder.receive(ONE, a_packet(ANA, 1))
        here.forwarder.receive(ONE, a_packet(BEN, 1, kind=PT_AUDIT))
        assert here.forwarder.take_levels() == {ANA: 30}
        assert here.forwarder.take_levels() == {}

    def test_it_is_known_who_is_carried_and_who_is_sent_the_voices_of_whom(self, here: Here):
        here.add(ONE, TWO, THREE, FOUR)
        here.set_rows(
            TableRow(ONE, ANA, (), (TWO, HERE), warm=(FOUR,)),
            TableRow(HERE, BEN, (), (ONE, THREE)),
        )
        assert here.forwarder.carried - {HERE} == {ONE, TWO, THREE}
        assert here.forwarder.served(frozenset({ONE})) == {TWO, HERE}
        here.forwarder.steer(frozenset({FOUR}), frozenset({THREE}))
        assert here.forwarder.carried - {HERE} == {ONE, TWO, FOUR}
        assert here.forwarder.served(frozenset({HERE, FOUR})) == {ONE}

    def test_a_sample_is_no_first_packet(self, here: Here):
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        here.forwarder.receive(ONE, a_packet(ANA, 128))
        assert here.forwarder.first_packets() == []
        here.forwarder.receive(ONE, a_packet(ANA, 129))
        assert here.forwarder.first_packets() == [(ONE, 1)]

    # ── always ───────────────────────────────────────────────────────────────────────────────

    # differing_executors: it is meant that several classes run this one.
    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(st.lists(STEPS, max_size=80))
    def test_no_one_writes_anothers_voice_nothing_returns_nothing_goes_twice(self, steps):
        """Whatever tables come, whatever links bring whatever seqs, links come and go."""
        here = Here(self.make_forwarder)
        rows: dict[Ssrc, TableRow] = {}
        present = {HERE}
        newest = dict.fromkeys(VOICES, NEAR_WRAP)
        for number, step in enumerate(steps):
            match step:
                case ("add", link) if link not in present:
                    here.add(link)
                    present.add(link)
                case ("remove", link) if link in present:
                    here.forwarder.remove(link)
                    present.discard(link)
                    gone = here.sent.pop(link)
                    assert len(gone) == len(set(map(seq_of, gone)))
                case ("table", new):
                    try:
                        here.set_rows(*new)
                    except TableRefused:
                        continue
                    rows = {row.ssrc: row for row in new}
                case ("steer", fed, released):
                    here.forwarder.steer(fed, released)
                case ("withhold", ssrcs):
                    here.forwarder.withhold(ssrcs)
                case ("packet", ingress, ssrc, ahead):
                    seq = newest[ssrc] + ahead
                    newest[ssrc] = max(newest[ssrc], seq)
                    before = {link: len(sent) for link, sent in here.sent.items()}
                    heard = len(here.heard)
                    packet = a_packet(ssrc, seq, payload=b"%d" % number)
                    accepted = here.forwarder.receive(ingress, packet)
                    row = rows.get(ssrc)
                    allowed = row is not None and ingress in (row.ingress, *row.standbys)
                    assert accepted == (allowed and ingress in present)
                    given_to = {
                        link for link, sent in here.sent.items() if len(sent) > before[link]
                    }
                    if len(here.heard) > heard:
                        given_to.add(HERE)
                    assert ingress not in given_to
                    if row is None or not accepted:
                        assert not given_to
                    else:
                        assert given_to <= {*row.sinks, *row.warm}
        for sent in here.sent.values():
            assert len(sent) == len(set(map(seq_of, sent)))


def seq_of(packet: bytes) -> tuple[Ssrc, int]:
    parsed = parse(packet)
    return parsed.ssrc, parsed.seq


class TestPlainForwarder(ForwarderTests):
    def test_voices_are_remembered_up_to_a_bound_and_then_carried_no_more(self):
        """A hostile member may begin voice after voice; memory must end before it does."""
        here = Here(self.make_forwarder)
        here.add(ONE, TWO)
        here.set_rows(*(TableRow(ONE, Ssrc(n), (), (TWO,)) for n in range(plain.VOICES_MAX)))
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)), TableRow(ONE, Ssrc(0), (), (TWO,)))
        assert not here.forwarder.receive(ONE, a_packet(ANA))
        assert here.forwarder.receive(ONE, a_packet(Ssrc(0)))
        assert here.forwarder.counts(ONE).refused == 1
        # Once no link is left that they went to, they are forgotten.
        here.forwarder.remove(TWO)
        here.forwarder.remove(ONE)
        here.add(THREE, FOUR)
        here.set_rows(TableRow(THREE, ANA, (), (FOUR,)))
        assert here.forwarder.receive(THREE, a_packet(ANA))
        assert here.sent[FOUR] == [a_packet(ANA)]
