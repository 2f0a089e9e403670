"""From a room link to a media link: who offers, whose offer counts, what happens if it fails."""

import itertools

import pytest

from p2phouse.channel import (
    CloseLink,
    ConnectLink,
    LinkRole,
    LinkStatus,
    OpenLink,
)
from p2phouse.errors import PeerError
from p2phouse.room import messages
from p2phouse.room.frames import FrameRefused
from p2phouse.room.messages import EventKind, SendAnswer, SendOffer
from p2phouse.vocabulary import RoomId
from tests.room.table import Person, Table, down, kinds, of


@pytest.fixture
def table() -> Table:
    table = Table()
    table.open()
    return table


def offered(table: Table, person: Person) -> SendOffer:
    """We opened the room link, so we offered; the offer that was sent."""
    table.ask_for(person)
    table.up(person, outbound=True)
    (opened,) = down(OpenLink, table.greet(person))
    assert opened.role is LinkRole.OFFERER
    (offer,) = of(SendOffer, table.describe(opened.link))
    return offer


def hear_offer(table: Table, person: Person, **what: object):
    data = person.offer(table.me.dev, table.here.room, **what)  # type: ignore[arg-type]
    return table.tell(person.dev, messages.OfferHeard(data))


def hear_answer(table: Table, person: Person, offer: bytes):
    data = person.offer(table.me.dev, table.here.room, answer=offer, n=b"a" * 16)
    return table.tell(person.dev, messages.OfferAnswered(data))


def test_who_opened_the_room_link_offers_and_connects_to_the_answer(table: Table):
    ann = table.person()
    offer = offered(table, ann)
    assert offer.dev == ann.dev
    (connect,) = down(ConnectLink, hear_answer(table, ann, offer.offer))
    assert (connect.ufrag, connect.pwd, connect.cands) == ("ufrag", "p" * 22, ("cand",))
    assert table.here.members[ann.dev].cands == ("cand",), "for the doctor"


def test_who_did_not_open_it_answers_the_offer_and_connects(table: Table):
    ann = table.person()
    table.let_in(ann)
    (opened,) = down(OpenLink, hear_offer(table, ann))
    assert opened.role is LinkRole.ANSWERER
    outputs = table.describe(opened.link)
    (answer,) = of(SendAnswer, outputs)
    assert (answer.dev, answer.offer) == (ann.dev, b"n" * 16)
    (connect,) = down(ConnectLink, outputs)
    assert connect.link == opened.link
    assert table.here.members[ann.dev].cands == ("cand",), "for the doctor"


def test_if_both_offered_the_lower_ids_offer_counts_and_the_other_gets_no_answer(table: Table):
    above = table.person(above=table.me.dev)
    offer = offered(table, above)
    assert not down(OpenLink, hear_offer(table, above))
    assert down(ConnectLink, hear_answer(table, above, offer.offer))


def test_if_both_offered_the_higher_id_drops_its_own_offer_and_answers(table: Table):
    below = table.person_below(table.me.dev)
    offer = offered(table, below)
    outputs = hear_offer(table, below)
    (closed,) = down(CloseLink, outputs)
    (opened,) = down(OpenLink, outputs)
    assert opened.link > closed.link
    assert of(SendAnswer, table.describe(opened.link))
    assert not down(ConnectLink, hear_answer(table, below, offer.offer))


def test_an_answer_to_another_offer_is_passed_over(table: Table):
    ann = table.person()
    offered(table, ann)
    assert not hear_answer(table, ann, b"x" * 16)


def test_an_answer_counts_once(table: Table):
    ann = table.person()
    offer = offered(table, ann)
    assert down(ConnectLink, hear_answer(table, ann, offer.offer))
    assert not hear_answer(table, ann, offer.offer)


def test_an_answer_after_the_link_was_closed_is_passed_over(table: Table):
    ann = table.person()
    offer = offered(table, ann)
    table.tell(ann.dev, messages.OfferFailed(offer.offer, "slow"))
    assert not down(ConnectLink, hear_answer(table, ann, offer.offer))


def test_an_offer_before_the_greeting_is_left_unanswered_and_nobody_is_blamed(table: Table):
    assert not down(OpenLink, hear_offer(table, table.person()))


def test_an_offer_heard_again_opens_a_new_link_and_closes_the_old(table: Table):
    ann = table.person()
    table.let_in(ann)
    (first,) = down(OpenLink, hear_offer(table, ann))
    outputs = hear_offer(table, ann)
    (second,) = down(OpenLink, outputs)
    assert down(CloseLink, outputs) == [CloseLink(first.link)]
    assert second.link > first.link
    assert not of(SendAnswer, table.describe(first.link))


def test_the_clock_in_an_offer_may_be_wrong(table: Table):
    ann = table.person()
    table.let_in(ann)
    assert down(OpenLink, hear_offer(table, ann, ts=table.unix - 3_600))


def test_offers_between_others_are_refused(table: Table):
    ann, bob = table.person(), table.person("bob")
    table.let_in(ann)
    room = table.here.room
    for data in (bob.offer(table.me.dev, room), ann.offer(bob.dev, room)):
        for message in (messages.OfferHeard(data), messages.OfferAnswered(data)):
            with pytest.raises(FrameRefused):
                table.tell(ann.dev, message)


def test_an_offer_or_an_answer_for_another_room_connects_nothing_and_nobody_is_blamed(table: Table):
    """It was on its way when both went from one room to the next."""
    ann, room = table.person(), RoomId(bytes(32))
    table.let_in(ann)
    said = table.tell(ann.dev, messages.OfferHeard(ann.offer(table.me.dev, room)))
    assert not down(OpenLink, said)
    bob = table.person("bob")
    answer = bob.offer(table.me.dev, room, answer=offered(table, bob).offer, n=b"a" * 16)
    assert not down(ConnectLink, table.tell(bob.dev, messages.OfferAnswered(answer)))


def test_an_answer_sent_as_an_offer_is_refused(table: Table):
    ann = table.person()
    table.let_in(ann)
    with pytest.raises(FrameRefused):
        hear_offer(table, ann, answer=b"n" * 16)


def test_a_damaged_offer_is_refused(table: Table):
    ann = table.person()
    table.let_in(ann)
    data = bytearray(ann.offer(table.me.dev, table.here.room))
    data[-1] ^= 1
    with pytest.raises(PeerError):
        table.tell(ann.dev, messages.OfferHeard(bytes(data)))


def test_offers_without_end_are_refused_and_an_honest_pace_is_not(table: Table):
    ann = table.person()
    table.let_in(ann)
    for _ in range(20):
        hear_offer(table, ann)
        table.wait(2.0)
    with pytest.raises(FrameRefused, match="offers without end"):
        [hear_offer(table, ann) for _ in range(100)]


def test_a_failed_link_is_offered_anew_with_growing_pauses(table: Table):
    ann = table.person()
    offer = offered(table, ann)
    pauses = []
    for _ in range(7):
        table.tell(ann.dev, messages.OfferFailed(offer.offer, "no answer"))
        began = table.mono
        opened: list[OpenLink] = []
        while not opened:
            opened = down(OpenLink, table.wait(0.05))
        pauses.append(table.mono - began)
        (offer,) = of(SendOffer, table.describe(opened[0].link))
    assert pauses[0] < 0.7
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:5]))
    assert max(pauses) < 10.0


@pytest.mark.parametrize("status", [LinkStatus.FAILED, LinkStatus.LOST])
def test_a_link_that_ends_is_closed_told_and_tried_again(table: Table, status: LinkStatus):
    ann = table.person()
    table.let_in(ann)
    link = table.connect(ann)
    outputs = table.link(link, status)
    assert CloseLink(link) in down(CloseLink, outputs)
    assert EventKind.LINK_FAILED in kinds(outputs)
    # The offerer tries first; the other only if it never hears of that.
    assert not down(OpenLink, table.wait(8.0))
    assert down(OpenLink, table.wait(5.0))


def test_a_link_that_came_up_begins_its_pauses_anew(table: Table):
    ann = table.person()
    offer = offered(table, ann)
    for _ in range(5):
        table.tell(ann.dev, messages.OfferFailed(offer.offer, "no answer"))
        (opened,) = down(OpenLink, table.wait(9.8))
        (offer,) = of(SendOffer, table.describe(opened.link))
    hear_answer(table, ann, offer.offer)
    table.link(opened.link, LinkStatus.CONNECTED)
    table.link(opened.link, LinkStatus.LOST)
    assert down(OpenLink, table.wait(0.7))


def test_news_of_a_link_that_is_no_more_changes_nothing(table: Table):
    ann = table.person()
    table.let_in(ann)
    first = table.connect(ann)
    second = table.connect(ann)
    for status in LinkStatus:
        outputs = table.link(first, status)
        assert not kinds(outputs)
        assert not down(CloseLink, outputs)
    assert table.here.members[ann.dev].link == second
    assert table.here.members[ann.dev].link_up


def test_if_the_opener_never_offers_the_other_does(table: Table):
    table.let_in(table.person())
    assert not down(OpenLink, table.wait(9.0))
    (opened,) = down(OpenLink, table.wait(2.0))
    assert opened.role is LinkRole.OFFERER


def test_a_link_that_media_forgot_is_tried_again(table: Table):
    offered(table, table.person())
    assert down(OpenLink, table.wait(50.0))


def test_nobody_offers_over_a_broken_room_link(table: Table):
    ann = table.person()
    table.let_in(ann)
    link = table.connect(ann)
    table.down(ann)
    table.link(link, LinkStatus.LOST)
    assert not down(OpenLink, table.wait(30.0))


def test_links_of_a_lan_room_stay_on_the_lan():
    table = Table()
    table.open(lan=True)
    ann = table.person()
    table.let_in(ann)
    (opened,) = down(OpenLink, hear_offer(table, ann))
    assert opened.local_only


def test_links_of_an_open_room_may_leave_it(table: Table):
    ann = table.person()
    table.let_in(ann)
    (opened,) = down(OpenLink, hear_offer(table, ann))
    assert not opened.local_only


def test_after_media_died_we_offer_to_everybody_whoever_offered_before(table: Table):
    ann, bob = table.person(), table.person("bob")
    for person in (ann, bob):
        table.let_in(person)
    links = [table.connect(ann), table.connect(bob)]
    outputs = table.tell(table.me.dev, messages.MediaGone())
    opened = down(OpenLink, outputs)
    assert [link.role for link in opened] == [LinkRole.OFFERER] * 2
    assert min(link.link for link in opened) > max(links)
    # The new process may know of them: what was said since the death of the old reached it.
    assert [closed.link for closed in down(CloseLink, outputs)] == links


def test_media_that_dies_amid_an_offer_leaves_no_old_offer_behind(table: Table):
    ann = table.person()
    offer = offered(table, ann)
    (opened,) = down(OpenLink, table.tell(table.me.dev, messages.MediaGone()))
    assert not down(ConnectLink, hear_answer(table, ann, offer.offer))
    (again,) = of(SendOffer, table.describe(opened.link))
    assert again.offer != offer.offer


def test_who_offered_offers_again_though_both_have_greeted_since(table: Table):
    ann = table.person()
    link = table.call(ann)
    table.greet(ann)
    table.link(link, LinkStatus.LOST)
    assert down(OpenLink, table.wait(0.7))


def test_who_opens_the_next_room_link_offers_the_next_link(table: Table):
    ann = table.person()
    link = table.call(ann)
    table.up(ann)
    table.greet(ann)
    table.link(link, LinkStatus.LOST)
    assert not down(OpenLink, table.wait(8))
    assert down(OpenLink, table.wait(2))


def test_a_greeting_amid_a_pause_does_not_lengthen_it(table: Table):
    ann = table.person()
    table.let_in(ann)
    table.wait(9)
    table.greet(ann)
    assert down(OpenLink, table.wait(2))


def test_an_offer_sent_as_an_answer_is_refused(table: Table):
    ann = table.person()
    table.let_in(ann)
    table.connect(ann)
    data = ann.offer(table.me.dev, table.here.room)
    with pytest.raises(FrameRefused, match="an offer where"):
        table.tell(ann.dev, messages.OfferAnswered(data))
