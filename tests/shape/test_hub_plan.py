"""The rows of a room that a hub carries: each voice reaches everybody, by one way or by two."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.table import Way, compile_table
from p2phouse.shape.plan import LOUDEST, Neighbour, Part, Plan, Shape, Standpoint, Voice, plan
from p2phouse.vocabulary import HERE, LinkNumber, RecordId, Ssrc

HUB, STANDBY, MEMBER = Part.HUB, Part.STANDBY, Part.MEMBER


def voice(number: int, *, pinned: bool = False) -> Voice:
    return Voice(Ssrc(number + 1), RecordId((number + 1).to_bytes(32, "big")), pinned)


def link(other: int) -> LinkNumber:
    """Everybody's link to person `other`."""
    return LinkNumber(other + 1)


class Room:
    """Person 0 is hub, 1 standby; by `links` who is linked with whom; former: who was hub."""

    def __init__(self, count: int, *, former: int | None = None, overlap: bool = False) -> None:
        self.count, self.former, self.overlap = count, former, overlap
        self.links = {
            frozenset((a, b))
            for a in range(count)
            for b in range(a)
            if overlap or {a, b} & {0, 1, former}
        }

    def part(self, number: int) -> Part:
        return {0: HUB, 1: STANDBY}.get(number, MEMBER)

    def plan_of(self, me: int) -> Plan:
        near = [
            Neighbour(
                link(other) if frozenset((me, other)) in self.links else None,
                voice(other),
                self.part(other),
                yields=other == self.former,
            )
            for other in range(self.count)
            if other != me
        ]
        standpoint = Standpoint(
            Shape.HUB, self.part(me), yields=me == self.former, overlap=self.overlap
        )
        return plan(voice(me), near, standpoint)

    def ears(self, speaker: int, *, dead: int | None = None, warm: bool = False) -> set[int]:
        """Who hears the speaker if `dead` carries nothing; warm: everybody pulls."""
        tables = {n: compile_table(1, self.plan_of(n).rows) for n in range(self.count)}
        found: set[int] = set()
        todo, seen = [(speaker, HERE)], set()
        while todo:
            at, ingress = todo.pop()
            if (at, ingress) in seen or at == dead:
                continue
            seen.add((at, ingress))
            if tables[at].way(ingress, voice(speaker).ssrc) is None:
                continue
            row = next(row for row in tables[at].rows if row.ssrc == voice(speaker).ssrc)
            for sink in (*row.sinks, *(row.warm if warm else ())):
                if sink == HERE:
                    found.add(at)
                else:
                    todo.append((sink - 1, link(at)))
        return found


@given(st.integers(3, 12), st.data())
def test_everybody_hears_everybody_through_the_hub(count, data):
    room = Room(count)
    speaker = data.draw(st.integers(0, count - 1))
    assert room.ears(speaker) == set(range(count)) - {speaker}


@given(st.integers(3, 12), st.data())
def test_with_the_hub_dead_the_standby_brings_everything_to_whoever_pulls(count, data):
    room = Room(count)
    speaker = data.draw(st.integers(1, count - 1))
    assert room.ears(speaker, dead=0, warm=True) == set(range(1, count)) - {speaker}


@given(st.integers(4, 12), st.data())
def test_while_a_hub_is_followed_the_new_one_and_the_old_one_each_reach_everybody(count, data):
    """The former hub is person 2: whoever of the two stops, all is heard."""
    room = Room(count, former=2)
    speaker = data.draw(st.integers(3, count - 1))
    for dead in (0, 2):
        assert room.ears(speaker, dead=dead) >= set(range(count)) - {speaker, dead, 0, 1}
    assert room.ears(speaker) == set(range(count)) - {speaker}


def test_who_stands_by_from_now_on_still_takes_what_the_former_hub_brings():
    """Speaker and hub may hear of the change later, and send it nothing until then."""
    speaker = Neighbour(link(2), voice(2))
    hub, former = Neighbour(link(0), None, Part.HUB), Neighbour(link(3), None, yields=True)
    (row,) = plan(None, [speaker, hub, former], Standpoint(Shape.HUB, Part.STANDBY)).rows
    assert (row.ingress, *row.standbys) == (link(2), link(0), link(3))


@given(st.integers(3, 9), st.data())
def test_when_a_mesh_becomes_a_hub_room_each_voice_has_its_old_way_too(count, data):
    room = Room(count, overlap=True)
    speaker = data.draw(st.integers(2, count - 1))
    assert room.ears(speaker, dead=0) == set(range(1, count)) - {speaker}


@given(
    st.integers(1, 9),
    st.sampled_from(list(Part)),
    st.sampled_from(list(Shape)),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_the_forwarder_takes_every_plan_whatever_links_are_up(
    count, part, shape, yields, overlap, data
):
    rest = [other for other in Part if other is not part or part is MEMBER]
    near = []
    for number in range(1, count):
        is_up = data.draw(st.booleans())
        what = data.draw(st.sampled_from(rest))
        if what is not MEMBER:
            rest.remove(what)
        near.append(Neighbour(link(number) if is_up else None, voice(number), what))
    if near and not yields and data.draw(st.booleans()):
        near[0] = replace(near[0], yields=True)
    made = plan(voice(0), near, Standpoint(shape, part, yields, overlap))
    compile_table(1, made.rows, made.guarded, made.hurried, made.loudest, made.leaning)
    for row in made.rows:
        assert not set(row.warm) & {*row.sinks, row.ingress}
        assert row.ingress == HERE or HERE in row.sinks, "a voice that we carry and do not hear"


def test_media_of_hub_and_standby_know_of_each_other_and_choose_the_loudest():
    room = Room(9)
    hub, standby, member = (room.plan_of(number) for number in (0, 1, 2))
    assert (hub.hurried, hub.guarded, hub.loudest) == ((link(1),), None, LOUDEST)
    assert (standby.hurried, standby.guarded, standby.loudest) == ((), link(0), LOUDEST)
    assert (member.hurried, member.guarded, member.loudest) == ((), None, 0)


def test_a_member_takes_others_voices_from_hub_and_standby_alone():
    """Security: a member that sends another's voice is not believed."""
    room = Room(9, overlap=False)
    room.links.add(frozenset((2, 3)))
    for row in room.plan_of(2).rows:
        if row.ingress != HERE:
            assert {row.ingress, *row.standbys} == {link(0), link(1)}


def test_a_standby_passes_on_nothing_of_whom_it_hears_by_the_hub_alone():
    """Security: the hub could write into it what it likes, and they have the hub themselves."""
    room = Room(5)
    room.links -= {frozenset((1, 3))}
    rows = {row.ssrc: row for row in room.plan_of(1).rows}
    assert rows[voice(3).ssrc].ingress == link(0)
    assert rows[voice(3).ssrc].warm == ()
    assert rows[voice(4).ssrc].warm == (link(0), link(2))


def test_who_has_no_link_to_the_hub_leans_on_the_standby():
    room = Room(5)
    assert room.plan_of(3).leaning is None
    room.links -= {frozenset((0, 3))}
    assert room.plan_of(3).leaning == link(1)
    leaning = [room.plan_of(other).leaning for other in (0, 1, 2, 4)]
    assert leaning == [link(1), None, None, None], "the hub does so for all whom it carries to"
    room.links -= {frozenset((1, 3))}
    assert room.plan_of(3).leaning is None


def test_a_hub_takes_from_its_standby_the_voice_of_whom_it_hears_no_more():
    standby = Neighbour(link(1), voice(1), STANDBY)
    lost, other = Neighbour(link(2), voice(2), silent=True), Neighbour(link(3), voice(3))
    made = plan(voice(0), [standby, lost, other], Standpoint(Shape.HUB, HUB))
    rows = {row.ssrc: row for row in made.rows}
    row = rows[voice(2).ssrc]
    assert (row.ingress, *row.standbys) == (link(2), link(1)), "he may be back at any time"
    assert row.sinks == (HERE, link(3))
    assert rows[voice(3).ssrc].ingress == link(3)
    alone = plan(voice(0), [lost, other], Standpoint(Shape.HUB, HUB))
    assert {row.ingress for row in alone.rows} == {HERE, link(2), link(3)}


def test_who_has_the_former_hub_still_leans_on_nobody():
    room = Room(5, former=2)
    room.links -= {frozenset((0, 3))}
    assert room.plan_of(3).leaning is None
    room.links -= {frozenset((0, 2))}
    assert room.plan_of(2).leaning is None, "each voice comes to it from who speaks"


def test_a_former_hub_gives_the_present_one_what_that_one_hears_and_passes_on_to_nobody():
    """Its own link to a speaker may be younger than a packet that is on its way."""
    room = Room(5, former=2)
    former, hub = room.plan_of(2), compile_table(1, room.plan_of(0).rows)
    others = [voice(number).ssrc for number in (1, 3, 4)]
    assert {row.ssrc for row in former.rows if link(0) in row.sinks} == {voice(2).ssrc, *others}
    assert all(hub.way(link(2), ssrc) == Way((HERE,)) for ssrc in others)


def test_who_runs_the_room_is_heard_however_loud_others_are():
    near = [Neighbour(link(1), voice(1, pinned=True)), Neighbour(link(2), voice(2))]
    rows = plan(voice(0), near, Standpoint(Shape.HUB, HUB)).rows
    assert {row.ssrc: row.pinned for row in rows} == {1: False, 2: True, 3: False}
