"""Claims and bids as they come over room links: what is taken, passed on and refused."""

import pytest

from p2phouse.channel import Heard, LinkStats, Pulls, SetTable, Silent, Stats
from p2phouse.errors import PeerError
from p2phouse.hall import invitation
from p2phouse.hall.invitation import Invitation
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Bid, BidFlag, Claim
from p2phouse.room import frames, messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import SendRoomFrame
from p2phouse.vocabulary import DeviceKey, LinkNumber, RoomId
from tests.room.company.people import fill
from tests.room.table import ADDR, Person, Table, down, of

CARRIES = int(BidFlag.CARRIES | BidFlag.MAINS)


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


def bid(
    person: Person,
    room: RoomId,
    *,
    seq: int = 1,
    flags: int = CARRIES,
) -> list[Value]:
    record = Bid(room, person.dev, seq, flags, 1, 90, 30, (), 0)
    return [int(FrameKind.BID), envelope.sign(record, person.me.device_key).data]


def claim(
    person: Person,
    room: RoomId,
    hub: DeviceKey | None,
    standby: DeviceKey | None = None,
    epoch: int = 1,
) -> list[Value]:
    record = Claim(room, person.dev, epoch, 200, hub, standby, 0)
    signed: Signed[Claim] = envelope.sign(record, person.me.device_key)
    return [int(FrameKind.CLAIM), signed.data]


def passed_on(outputs: list[messages.Output], kind: FrameKind) -> set[DeviceKey]:
    return {each.dev for each in of(SendRoomFrame, outputs) if each.frame[0] == kind}


def test_a_claim_makes_its_hub_ours_and_is_passed_on_to_the_others(table: Table):
    ann, ben, cem = fill(table, 3)
    said = table.frame(ann, claim(ann, table.here.room, ben.dev, cem.dev))
    assert (table.here.hub, table.here.standby) == (ben.dev, cem.dev)
    assert table.here.wanted == frozenset({ben.dev, cem.dev})
    assert passed_on(said, FrameKind.CLAIM) >= {ben.dev, cem.dev}
    assert down(SetTable, said), "media was not told"


def test_a_claim_heard_twice_does_nothing_more(table: Table):
    ann, ben = fill(table, 2)
    frame = claim(ann, table.here.room, ben.dev)
    table.frame(ann, frame)
    assert table.frame(ben, frame) == []


def test_a_smaller_claim_is_answered_with_the_one_we_hold(table: Table):
    ann, ben = fill(table, 2)
    table.frame(ann, claim(ann, table.here.room, ann.dev, epoch=2))
    table.wait(1.0)
    said = table.frame(ben, claim(ben, table.here.room, ben.dev))
    assert table.here.hub == ann.dev
    assert ben.dev in passed_on(said, FrameKind.CLAIM)


def test_a_claim_of_the_last_epoch_is_passed_over(table: Table):
    """Security: or nobody could follow it, and one liar would keep the room for ever."""
    ann, ben = fill(table, 2)
    table.frame(ann, claim(ann, table.here.room, ben.dev, epoch=65_535))
    assert table.here.hub is None


def test_nobody_is_made_a_hub_who_says_that_it_does_not_carry(table: Table):
    ann, ben, cem = fill(table, 3)
    table.frame(ben, bid(ben, table.here.room, flags=0))
    table.frame(ann, claim(ann, table.here.room, ben.dev))
    assert table.here.hub is None
    # Two who hold it all the same are more than a third: better one hub than two rooms.
    table.frame(cem, claim(ann, table.here.room, ben.dev))
    assert table.here.hub == ben.dev


def test_somebody_who_is_not_here_is_no_hub_once_we_know_everybody(table: Table):
    (ann,) = fill(table, 1)
    table.wait(13.0)
    table.frame(ann, claim(ann, table.here.room, table.person("gone").dev))
    assert table.here.hub is None


@pytest.mark.parametrize(
    "frame",
    [
        [int(FrameKind.CLAIM)],
        [int(FrameKind.CLAIM), 7],
        [int(FrameKind.CLAIM), b"no record"],
        [int(FrameKind.BID), b""],
        [int(FrameKind.BID), b"x", b"y"],
    ],
)
def test_what_is_no_claim_and_no_bid_ends_the_link(table: Table, frame: list[Value]):
    (ann,) = fill(table, 1)
    with pytest.raises(PeerError):
        table.frame(ann, frame)


def test_claims_and_bids_of_other_rooms_end_the_link(table: Table):
    (ann,) = fill(table, 1)
    other = RoomId(bytes(32))
    for frame in (claim(ann, other, ann.dev), bid(ann, other)):
        with pytest.raises(PeerError):
            table.frame(ann, frame)


def test_an_older_bid_does_not_replace_a_newer_one(table: Table):
    ann, ben = fill(table, 2)
    assert ben.dev in passed_on(table.frame(ann, bid(ann, table.here.room, seq=2)), FrameKind.BID)
    assert not passed_on(table.frame(ann, bid(ann, table.here.room, seq=1)), FrameKind.BID)


def test_a_crowd_of_made_up_devices_does_not_drive_out_the_bid_of_a_member(table: Table):
    """Security: 64 bids are kept, and a member's first of all."""
    ann, ben = fill(table, 2)
    table.frame(ann, bid(ann, table.here.room))
    for _ in range(70):
        table.wait(0.2)
        table.frame(ben, bid(table.person("nobody"), table.here.room))
    assert table.here.carried is not None
    assert len(table.here.carried.bids) == 64
    assert ann.dev in table.here.carried.bids


def test_a_flood_of_bids_is_not_passed_on(table: Table):
    """Security: of people nobody knows none, and of a member eight at once."""
    ann, ben, cleo = fill(table, 3)
    room = table.here.room

    def told_on(frame: list[Value]) -> set[DeviceKey]:
        sent = of(SendRoomFrame, table.frame(ann, frame))
        return {each.dev for each in sent if each.frame == frame}

    assert told_on(bid(table.person("nobody"), room)) == set()
    told = [told_on(bid(ben, room, seq=seq)) for seq in range(1, 10)]
    assert told == [{cleo.dev}] * 8 + [set()]


def test_four_say_nothing_of_carrying_and_five_do(table: Table):
    for person in fill(table, 3):
        table.connect(person)
    assert not passed_on(table.wait(10.0), FrameKind.BID)
    fill(table, 1)
    assert len(passed_on(table.said, FrameKind.BID)) == 4


def test_what_our_person_decides_is_told_as_soon_as_a_bid_may_be(table: Table):
    fill(table, 4)
    table.wait(31.0)
    willing = messages.Carry(willing=True, on_mains=True, metered=False, cap=30)
    assert len(passed_on(table.tell(table.me.dev, willing), FrameKind.BID)) == 4
    unwilling = messages.Carry(willing=False, on_mains=True, metered=False, cap=30)
    assert not passed_on(table.tell(table.me.dev, unwilling), FrameKind.BID)
    assert not passed_on(table.wait(4.9), FrameKind.BID)
    assert len(passed_on(table.wait(0.2), FrameKind.BID)) == 4


def stats_of(link: LinkNumber, rtt_ms: int) -> Stats:
    return Stats(-1, -1, 0, (), (LinkStats(link, 1, 1, 0, 0, rtt_ms * 1_000, 0, 0),))


def test_a_delay_that_has_changed_is_told_within_a_second(table: Table):
    link = table.connect(fill(table, 4)[0])
    table.wait(3.0)
    table.media(stats_of(link, 20))
    while not passed_on(table.wait(1.0), FrameKind.BID):
        pass
    assert not passed_on(table.wait(6.0), FrameKind.BID)
    said = table.media(stats_of(link, 20)) + table.media(stats_of(link, 200))
    said += table.media(stats_of(link, 200))
    assert not passed_on(said, FrameKind.BID), "each message is looked at for news"
    assert len(passed_on(table.wait(1.0), FrameKind.BID)) == 4


def test_who_cannot_keep_up_for_five_seconds_says_so_for_five_minutes(table: Table):
    people = fill(table, 4)
    skipped = 0

    def flags(ticks: int, seconds: int) -> set[bool]:
        """So many ticks are skipped each second; whether the bids of that time tell of strain."""
        nonlocal skipped
        told: list[messages.Output] = []
        for second in range(seconds):
            skipped += ticks
            told += table.media(Stats(-1, -1, skipped, (), ())) + table.wait(1.0)
            person = people[second % 4]
            told += table.frame(person, person.mute_frame(table.here.room, second % 8 < 4))
        bids = [each.frame for each in of(SendRoomFrame, told) if each.frame[0] == FrameKind.BID]
        found = [envelope.read(frame[1], Bid).record.flags for frame in bids]  # type: ignore[arg-type]
        return {bool(each & BidFlag.STRAINED) for each in found}

    assert flags(10, 4) | flags(0, 40) == {False}
    assert True in flags(10, 12)
    assert flags(0, 250) == {True}
    assert False in flags(0, 80)


def test_who_cannot_keep_up_says_so_though_they_are_few(table: Table):
    (ann, ben) = fill(table, 2)
    for person in (ann, ben):
        table.connect(person)
    table.wait(40.0)
    told: set[DeviceKey] = set()
    for second in range(1, 11):
        told |= passed_on(table.media(Stats(-1, -1, 10 * second, (), ())), FrameKind.BID)
        told |= passed_on(table.wait(1.0), FrameKind.BID)
        assert second >= 5 or not told
    assert told == {ann.dev, ben.dev}


def test_who_hears_neither_hub_nor_standby_says_so_at_once_and_when_it_does_again(table: Table):
    ann, ben, *_ = fill(table, 4)
    links = [table.connect(person) for person in (ann, ben)]
    table.frame(ann, claim(ann, table.here.room, ann.dev, ben.dev))
    table.wait(40.0)

    def flags(said: list[messages.Output]) -> set[int]:
        bids = [each.frame for each in of(SendRoomFrame, said) if each.frame[0] == FrameKind.BID]
        return {envelope.read(frame[1], Bid).record.flags for frame in bids}  # type: ignore[arg-type]

    plugged_in = messages.Carry(willing=False, on_mains=True, metered=False, cap=30)
    assert flags(table.tell(table.me.dev, plugged_in)), "so that another bid would wait for 5 s"
    for link in links:
        table.media(Silent(link))
    assert not flags(table.wait(0.9))
    (said,) = flags(table.wait(0.6))
    assert said & BidFlag.DESERTED
    heard = [output for link in links for output in table.media(Heard(link))]
    (said,) = flags(heard + table.wait(0.6))
    assert not said & BidFlag.DESERTED, "another who is deserted would count on it"


def test_two_who_cannot_meet_say_so_though_they_are_few(table: Table):
    (ann,) = fill(table, 1)
    assert not passed_on(table.wait(2.5), FrameKind.BID)
    assert passed_on(table.wait(2.0), FrameKind.BID) == {ann.dev}


def test_who_is_reached_again_is_said_to_be_at_once(table: Table):
    """A hub would make way for one who is back by then."""
    people = fill(table, 4)
    while not passed_on(table.wait(0.1), FrameKind.BID) or table.mono < table.here.since + 3.0:
        pass
    before = len(table.said)
    table.connect(people[0])
    table.wait(0.6)
    assert passed_on(table.said[before:], FrameKind.BID) == {each.dev for each in people}


def test_a_newcomer_is_told_the_claim_and_the_bids(table: Table):
    ann, ben = fill(table, 2)
    table.frame(ann, bid(ann, table.here.room))
    table.frame(ann, claim(ann, table.here.room, ann.dev, ben.dev))
    cem = table.person("cem")
    table.up(cem)
    said = table.greet(cem)
    assert cem.dev in passed_on(said, FrameKind.CLAIM)
    assert cem.dev in passed_on(said, FrameKind.BID)


def test_pulls_alone_make_no_standby_the_hub(table: Table):
    """Security (E9): it must miss the hub itself; or three liars could move the room at will."""
    table.tell(table.me.dev, messages.Carry(willing=True, on_mains=True, metered=False, cap=30))
    ann, ben = fill(table, 2)
    for person in (ann, ben):
        table.connect(person)
    table.frame(ann, claim(ann, table.here.room, ann.dev, table.me.dev))
    assert table.here.standby == table.me.dev
    table.media(Pulls(1, 1))
    table.wait(0.5)
    assert table.here.hub == ann.dev


@pytest.mark.parametrize("slept_s", [0.0, 600.0])
def test_a_hub_whose_machine_slept_claims_nothing_before_it_could_hear_of_others(
    table: Table, slept_s: float
):
    """Monotonic time stands still while a machine sleeps: only its clock tells."""
    ann, ben, cem = fill(table, 3)
    room = table.here.room
    table.tell(table.me.dev, messages.Carry(willing=True, on_mains=True, metered=False, cap=30))
    for person in (ann, ben, cem):
        table.connect(person)
        table.frame(person, bid(person, room))
    table.frame(ann, claim(ann, room, table.me.dev, ann.dev))
    table.wait(5)
    assert table.here.standby == ann.dev
    table.unix += slept_s
    table.frame(ann, frames.bye(frames.ByeReason.LEAVING))
    table.wait(3)
    assert (table.here.standby == ann.dev) is bool(slept_s)
    table.wait(3)
    assert table.here.standby in (ben.dev, cem.dev)


def test_a_relay_that_was_named_bids_once_it_may_claim_and_another_never():
    """From three seconds on; whoever hears a bid of it counts on it at once."""
    for is_named in (True, False):
        host = Table(seed=1)
        host.open()
        relay, room = Table(serves=True), host.here.room
        if is_named:
            host.ask(messages.NameRelay(relay.me.uid))
        relay.tell(relay.me.dev, messages.Carry(True, on_mains=True, metered=False, cap=30))
        relay.ask(messages.Join(invitation.write(Invitation(room, host.me.dev, (ADDR,)))))
        ana = Person(host.me)
        relay.up(ana, outbound=True)
        assert host.here.genesis is not None
        relay.frame(ana, ana.greeting(room, host.here.genesis))
        entries: list[Value] = [entry.data for entry in host.here.log]
        said = relay.frame(ana, [int(FrameKind.ENTRY), entries, [host.me.record.data]])
        assert not passed_on(said + relay.wait(2.9), FrameKind.BID)
        assert passed_on(relay.wait(40.0), FrameKind.BID) == ({ana.dev} if is_named else set())
