"""Who could not meet whom, by what both say, and when the two try again."""

from hypothesis import given
from hypothesis import strategies as st

from p2phouse.record.types import Bid, BidRow
from p2phouse.shape.measure import LOST_PERMILLE, View
from p2phouse.shape.pairs import PAIRS_MAX, RETRY_EACH_S, RETRY_S, Pairs, retry
from p2phouse.vocabulary import DeviceKey, RoomId

ROOM = RoomId(bytes(32))
ANA, BEN, CEM = (DeviceKey(bytes([n]) * 32) for n in (1, 2, 3))


def said(**losses: int) -> View:
    """A room of three; `ana_ben=1000` is Ana's word that she has no link with Ben."""
    names = {"ana": ANA, "ben": BEN, "cem": CEM}
    rows: dict[DeviceKey, list[BidRow]] = {}
    for pair, loss in losses.items():
        by, of = (names[name] for name in pair.split("_"))
        rows.setdefault(by, []).append(BidRow(of, 20, 20, loss, 0))
    bids = {by: Bid(ROOM, by, 1, 0, 1, 0, 0, tuple(each), 0) for by, each in rows.items()}
    return View(ROOM, frozenset(names.values()), bids)


def test_a_pair_that_both_say_has_failed_is_apart_until_both_say_that_it_meets():
    pairs = Pairs()
    pairs.see(said(ana_ben=LOST_PERMILLE))
    assert not pairs
    pairs.see(said(ana_ben=LOST_PERMILLE, ben_ana=LOST_PERMILLE))
    assert pairs.of(ANA) == {BEN}
    assert pairs.of(BEN) == {ANA}
    assert not pairs.of(CEM)
    for silent_or_alone in (said(), said(ana_ben=0), said(ana_ben=0, ben_ana=LOST_PERMILLE)):
        pairs.see(silent_or_alone)
        assert pairs.of(ANA) == {BEN}
    pairs.see(said(ana_ben=0, ben_ana=10))
    assert not pairs


def test_a_pair_of_whom_one_has_left_is_forgotten():
    pairs = Pairs()
    pairs.see(said(ana_ben=LOST_PERMILLE, ben_ana=LOST_PERMILLE))
    pairs.see(View(ROOM, frozenset([ANA, CEM])))
    assert not pairs


def test_of_however_many_who_say_so_few_are_kept():
    many = [DeviceKey(bytes([n]) * 32) for n in range(1, 31)]

    def bid(dev: DeviceKey) -> Bid:
        rows = tuple(BidRow(other, 0, 0, LOST_PERMILLE, 0) for other in many if other != dev)
        return Bid(ROOM, dev, 1, 0, 1, 0, 0, rows, 0)

    pairs = Pairs()
    pairs.see(View(ROOM, frozenset(many), {dev: bid(dev) for dev in many}))
    assert sum(len(pairs.of(dev)) for dev in many) == 2 * PAIRS_MAX


@given(st.floats(0, 1e7), st.floats(0, 1e5))
def test_two_try_for_twelve_seconds_of_each_minute_but_the_first(since, after):
    now = since + after
    is_time, changes_at = retry(now, since)
    assert changes_at > now
    assert changes_at - now <= (RETRY_S if is_time else RETRY_EACH_S) + 1e-6
    if after < RETRY_EACH_S - 1e-6:
        assert not is_time
