"""The plain forwarder's tests, and what is the batch forwarder's own."""

from collections.abc import Callable, Sequence
from math import inf

from p2phouse.carry.batch import BatchForwarder, Traffic
from p2phouse.carry.forwarder import Forwarder, Send
from p2phouse.channel import TableRow
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc
from tests.carry.packets import ANA, BEN, FOUR, ONE, THREE, TWO, a_packet
from tests.carry.test_forwarder import ForwarderTests, Here


class Gathered:
    """How sends were made one, and how often that one was called."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.calls = 0

    def __call__(self, sends: Sequence[Send]) -> Send:
        self.sizes.append(len(sends))

        def send(packet: bytes) -> None:
            self.calls += 1
            for each in sends:
                each(packet)

        return send


class TestBatchForwarder(ForwarderTests):
    def make_forwarder(self, deliver: Callable[[Ssrc, bytes], None]) -> Forwarder:
        return BatchForwarder(deliver, Gathered())

    def batch(self) -> tuple[Here, BatchForwarder, Gathered]:
        gathered = Gathered()
        here = Here(lambda deliver: BatchForwarder(deliver, gathered))
        assert isinstance(here.forwarder, BatchForwarder)
        return here, here.forwarder, gathered

    def test_a_packet_is_one_call_whatever_the_crowd(self):
        here, forwarder, gathered = self.batch()
        crowd = [LinkNumber(n) for n in range(10, 510)]
        here.add(ONE, *crowd)
        here.set_rows(TableRow(ONE, ANA, (), tuple(crowd)))
        for seq in range(1, 51):
            forwarder.receive(ONE, a_packet(ANA, seq))
        assert gathered.calls == 50
        assert gathered.sizes == [500]
        assert all(len(here.sent[link]) == 50 for link in crowd)

    def test_nothing_is_gathered_for_whom_nothing_is_sent(self):
        here, forwarder, gathered = self.batch()
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (HERE,)), TableRow(ONE, BEN, (), (TWO,), warm=()))
        forwarder.receive(ONE, a_packet(ANA, 1))
        assert gathered.sizes == []

    def test_traffic_is_what_each_link_was_sent_and_when(self):
        here, forwarder, _ = self.batch()
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (TWO, THREE)), TableRow(ONE, BEN, (), (TWO,)))
        assert forwarder.traffic(TWO) == Traffic(0, 0, -inf)
        forwarder.now_s = 5.0
        forwarder.receive(ONE, a_packet(ANA, 1, payload=bytes(100)))
        forwarder.now_s = 5.02
        forwarder.receive(ONE, a_packet(BEN, 1, payload=bytes(50)))
        assert forwarder.traffic(TWO) == Traffic(2, 150, 5.02)
        assert forwarder.traffic(THREE) == Traffic(1, 100, 5.0)
        assert forwarder.traffic(FOUR) == Traffic()

    def test_traffic_is_the_same_however_often_and_in_whatever_order_it_is_added_up(self):
        here, forwarder, _ = self.batch()
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)), TableRow(ONE, BEN, (), (TWO,)))
        for now_s, ssrc, seq in ((1.0, ANA, 1), (1.01, BEN, 1), (1.02, ANA, 2)):
            forwarder.now_s = now_s
            forwarder.receive(ONE, a_packet(ssrc, seq, payload=bytes(10)))
        assert forwarder.traffic(TWO) == forwarder.traffic(TWO) == Traffic(3, 30, 1.02)
        forwarder.receive(ONE, a_packet(ANA, 3, payload=bytes(10)))
        assert forwarder.traffic(TWO) == Traffic(4, 40, 1.02)

    def test_traffic_is_kept_when_ways_change(self):
        here, forwarder, _ = self.batch()
        here.add(ONE, TWO, THREE)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        forwarder.receive(ONE, a_packet(ANA, 1))
        here.set_rows(TableRow(ONE, ANA, (), (TWO, THREE)))
        forwarder.receive(ONE, a_packet(ANA, 2))
        assert forwarder.traffic(TWO).packets == forwarder.counts(TWO).sent == 2
        assert forwarder.traffic(THREE).packets == 1

    def test_where_a_link_leads_is_looked_up_again_when_it_moved(self):
        here, forwarder, gathered = self.batch()
        here.add(ONE, TWO)
        here.set_rows(TableRow(ONE, ANA, (), (TWO,)))
        forwarder.receive(ONE, a_packet(ANA, 1))
        forwarder.moved(TWO)
        forwarder.receive(ONE, a_packet(ANA, 2))
        assert gathered.sizes == [1, 1]
        assert here.sent[TWO] == [a_packet(ANA, 1), a_packet(ANA, 2)]
