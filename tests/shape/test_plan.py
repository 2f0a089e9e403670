"""A plan is a function of the set of members and links, and no two links write one voice."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from p2phouse.carry.table import compile_table
from p2phouse.channel import TableRow
from p2phouse.shape.plan import Neighbour, Voice, plan
from p2phouse.vocabulary import HERE, LinkNumber, RecordId, Ssrc

# Few SSRCs, so that they clash as good as always.
ssrcs = st.integers(1, 4).map(Ssrc)


@st.composite
def claims(draw: st.DrawFn) -> Voice:
    ssrc = draw(ssrcs)
    rest = draw(st.binary(min_size=4, max_size=4))
    return Voice(ssrc, RecordId(ssrc.to_bytes(4, "big") + rest))


@st.composite
def rooms(draw: st.DrawFn) -> tuple[Voice | None, list[Neighbour]]:
    """Our own voice and our neighbours, each with a link of its own or none."""
    count = draw(st.integers(0, 7))
    voices = draw(
        st.lists(st.none() | claims(), min_size=count + 1, max_size=count + 1).filter(distinct)
    )
    links = draw(st.permutations(range(1, count + 1)))
    near = [
        Neighbour(LinkNumber(link) if draw(st.booleans()) else None, voice)
        for link, voice in zip(links, voices[1:], strict=True)
    ]
    return voices[0], near


def distinct(voices: list[Voice | None]) -> bool:
    ids = [voice.id for voice in voices if voice is not None]
    return len(set(ids)) == len(ids)


def holder(ssrc: Ssrc, own: Voice | None, near: list[Neighbour]) -> Voice:
    voices = [own, *(member.voice for member in near)]
    return min((v for v in voices if v is not None and v.ssrc == ssrc), key=lambda v: v.id)


@given(rooms(), st.randoms(use_true_random=False))
def test_the_order_in_which_members_came_does_not_matter(room, rng):
    own, near = room
    shuffled = rng.sample(near, len(near))
    assert plan(own, shuffled) == plan(own, near)


@given(rooms())
def test_the_forwarder_takes_every_plan(room):
    compile_table(1, plan(*room).rows)


@given(rooms())
def test_no_voice_has_two_ways_in_and_none_goes_back_or_to_its_own_ear(room):
    rows = plan(*room).rows
    assert len({row.ssrc for row in rows}) == len(rows)
    for row in rows:
        assert row.ingress not in row.sinks
        assert not row.standbys


@given(rooms())
def test_our_own_voice_goes_to_every_connected_member_and_others_go_to_our_ear(room):
    own, near = room
    connected = tuple(sorted(member.link for member in near if member.link is not None))
    for row in plan(own, near).rows:
        assert row.sinks == (connected if row.ingress == HERE else (HERE,))


@given(rooms())
def test_a_voice_has_a_row_exactly_if_it_is_connected_and_holds_its_ssrc(room):
    own, near = room
    due = {
        (member.link, member.voice.ssrc)
        for member in near
        if member.link is not None
        and member.voice is not None
        and holder(member.voice.ssrc, own, near) == member.voice
    }
    if own is not None and holder(own.ssrc, own, near) == own:
        due |= {(HERE, own.ssrc) for member in near if member.link is not None}
    assert {(row.ingress, row.ssrc) for row in plan(own, near).rows} == due


@dataclass(frozen=True)
class Person:
    number: int
    voice: Voice | None


@given(
    st.lists(st.none() | claims(), min_size=2, max_size=6).filter(distinct),
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))),
)
def test_all_members_agree_whose_each_ssrc_is_and_who_hears_whom(voices, broken):
    """Each makes its own plan of the same people; links between them may be down."""
    people = [Person(number, voice) for number, voice in enumerate(voices)]

    def linked(a: Person, b: Person) -> bool:
        return tuple(sorted((a.number, b.number))) not in broken

    def plan_of(me: Person) -> tuple[TableRow, ...]:
        others = [
            Neighbour(LinkNumber(other.number + 1) if linked(me, other) else None, other.voice)
            for other in people
            if other is not me
        ]
        return plan(me.voice, others).rows

    plans = {person: plan_of(person) for person in people}
    for a in people:
        for b in people:
            if a is b or a.voice is None:
                continue
            sends = any(
                row.ingress == HERE and row.ssrc == a.voice.ssrc and b.number + 1 in row.sinks
                for row in plans[a]
            )
            takes = any(
                row.ingress == a.number + 1 and row.ssrc == a.voice.ssrc for row in plans[b]
            )
            assert sends == takes


def test_a_voice_that_two_links_claim_comes_from_the_first_alone():
    claim = Voice(Ssrc(1), RecordId(b"\0\0\0\1same"))
    near = [Neighbour(LinkNumber(link), claim) for link in (2, 1)]
    (row,) = plan(None, near).rows
    assert row == TableRow(LinkNumber(1), Ssrc(1), (), (HERE,))
