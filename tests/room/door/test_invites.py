"""Invites: what they let in, for how long, and that one for one person lets in one person."""

from dataclasses import replace

import pytest

from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Invite
from p2phouse.room import lobby, messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.invites import MayNotLetIn, NotSealed, TooManyInvites
from p2phouse.room.lobby import LobbyState
from p2phouse.room.messages import KeepInvites, Output, SendRoomFrame
from tests.room.door.knocking import (
    give_log,
    join,
    knock,
    let_in,
    relayed,
    seat,
    states,
    to,
)
from tests.room.table import Person, Table, of

LOBBY = FrameKind.LOBBY


def make(table: Table, *, hours: int = 24, once: bool = False) -> Signed[Invite]:
    answer = table.answer(table.ask(messages.MakeInvite(hours, once)))
    assert answer.error is None, answer.error
    link = invitation.read(str(answer.facts["link"]))
    assert link.room == table.here.room
    invite = envelope.read(link.invite, Invite)
    assert answer.facts["expires"] == invite.record.exp
    assert answer.facts["once"] == invite.record.once == once
    return invite


def show(table: Table, person: Person, invite: Signed[Invite]) -> list[Output]:
    """The person knocks and shows the invite."""
    return knock(table, person) + table.frame(person, lobby.shown(invite.data))


def signed_by(person: Person, invite: Signed[Invite], **change: object) -> Signed[Invite]:
    return envelope.sign(replace(invite.record, **change), person.me.device_key)  # type: ignore[arg-type]


# ── for many ─────────────────────────────────────────────────────────────────────────────────


def test_whoever_shows_an_invite_is_in(table: Table, ann: Person):
    invite = make(table)
    show(table, ann, invite)
    bob = table.person("bob")
    show(table, bob, invite)
    assert set(table.here.members) == {ann.dev, bob.dev}


def test_an_invite_holds_until_its_hours_are_over(table: Table):
    invite = make(table, hours=1)
    assert invite.record.exp == int(table.unix) + 3_600
    ann, bob = table.person("ann"), table.person("bob")
    table.wait(3_600 + limits.CLOCK_SKEW_S_MAX)
    show(table, ann, invite)
    assert ann.dev in table.here.members
    table.wait(2)
    assert states(bob, show(table, bob, invite))[-1] == LobbyState.INVITE_EXPIRED
    assert not table.rooms.waiting


def test_no_invite_outlives_its_room(table: Table, ann: Person):
    table.wait(3_600)
    invite = make(table, hours=24)
    assert table.here.genesis is not None
    assert invite.record.exp == table.here.genesis.record.exp
    longer = signed_by(Person(table.me), invite, exp=invite.record.exp + 1)
    assert states(ann, show(table, ann, longer))[-1] == LobbyState.INVITE_FORGED


def test_an_invite_that_somebody_made_up_is_refused_with_its_reason(table: Table):
    invite = make(table)
    eve = table.person("eve")
    let_in(table, eve)
    forged = {
        "in the creator's name by eve": signed_by(eve, invite, dev=eve.dev),
        "for another room": signed_by(Person(table.me), invite, room=bytes(32)),
        "with an identity of eve's": signed_by(eve, invite, dev=eve.dev, idrec=eve.me.record.id),
    }
    for name, one in forged.items():
        ann = table.person(name)
        assert states(ann, show(table, ann, one))[-1] == LobbyState.INVITE_FORGED, name
        assert ann.dev not in table.here.members
    by_eve = signed_by(eve, invite, dev=eve.dev, uid=eve.me.uid, idrec=eve.me.record.id)
    ann = table.person()
    assert states(ann, show(table, ann, by_eve))[-1] == LobbyState.INVITE_VOID  # she runs nothing


@pytest.mark.parametrize("data", [b"", b"rubbish", bytes(512)])
def test_an_invite_that_cannot_be_read_is_refused(table: Table, ann: Person, data: bytes):
    knock(table, ann)
    outputs = table.frame(ann, [LOBBY, data])
    assert states(ann, outputs) == [LobbyState.INVITE_FORGED]


def test_a_changed_byte_of_an_invite_is_a_forgery(table: Table, ann: Person):
    data = bytearray(make(table).data)
    data[100] ^= 1
    knock(table, ann)
    assert states(ann, table.frame(ann, [LOBBY, bytes(data)])) == [LobbyState.INVITE_FORGED]


def test_the_invite_of_who_runs_the_room_no_more_is_void(table: Table):
    bob = table.person("bob")
    let_in(table, bob)
    seat(table, bob)
    invite = signed_by(bob, make(table), uid=bob.me.uid, dev=bob.dev, idrec=bob.me.record.id)
    ann, cleo = table.person("ann"), table.person("cleo")
    show(table, ann, invite)
    assert ann.dev in table.here.members  # as long as he does
    table.ask(messages.Decide(Act.REVOKE, "bob"))
    assert states(cleo, show(table, cleo, invite))[-1] == LobbyState.INVITE_VOID


def test_an_invite_brings_nobody_back_who_was_put_out(table: Table, ann: Person):
    invite = make(table)
    show(table, ann, invite)
    table.ask(messages.Decide(Act.ROLE, "ann", "remove"))
    table.down(ann)
    table.wait(61)
    assert states(ann, show(table, ann, invite))[-1] == LobbyState.WAITING
    assert ann.dev not in table.here.members


def test_only_who_runs_a_sealed_room_invites(ann: Person):
    table = Table(seed=1)
    table.open()
    answer = table.answer(table.ask(messages.MakeInvite(1, once=False)))
    assert isinstance(answer.error, NotSealed)
    host = Table(seed=5)
    host.open(access=Access.SOCIAL)
    table = Table(seed=2)
    let_in(host, Person(table.me))
    join(table, Person(host.me), host)
    answer = table.answer(table.ask(messages.MakeInvite(1, once=False)))
    assert isinstance(answer.error, MayNotLetIn)


def test_an_invite_shown_at_a_listener_s_door_is_taken_by_who_runs_the_room():
    host, table = two()
    invite = make(host)
    ann = table.person()
    outputs = show(table, ann, invite)
    knocks = [frame for frame in to(Person(host.me), outputs) if frame[0] == LOBBY]
    assert [frame[3] for frame in knocks] == [None, invite.data]  # told again, with it
    host.said.clear()
    host.frame(Person(table.me), knocks[1])
    (entry,) = [frame for frame in to(Person(table.me), host.said) if frame[0] == FrameKind.ENTRY]
    table.frame(Person(host.me), entry)
    assert ann.dev in table.here.members


def two() -> tuple[Table, Table]:
    """The creator's node, and that of somebody in the room."""
    host = Table(seed=5)
    host.open(access=Access.CLOSED)
    table = Table()
    let_in(host, Person(table.me))
    join(table, Person(host.me), host)
    give_log(table, host)
    return host, table


# ── for one ──────────────────────────────────────────────────────────────────────────────────


def test_a_single_use_invite_lets_one_person_in(table: Table, ann: Person):
    invite = make(table, once=True)
    show(table, ann, invite)
    assert ann.dev in table.here.members
    bob = table.person("bob")
    assert states(bob, show(table, bob, invite))[-1] == LobbyState.INVITE_USED
    assert bob.dev not in table.here.members


def test_that_it_was_used_is_kept_before_anybody_can_see_it(table: Table, ann: Person):
    invite = make(table, once=True)
    outputs = show(table, ann, invite)
    kept = next(at for at, each in enumerate(outputs) if isinstance(each, KeepInvites))
    entries = [
        at
        for at, each in enumerate(outputs)
        if isinstance(each, SendRoomFrame) and each.frame[0] == FrameKind.GREETING
    ]
    assert of(KeepInvites, outputs) == [KeepInvites([])]
    assert entries
    assert kept < min(entries)


def test_a_restart_forgets_neither_the_used_nor_the_unused(table: Table):
    ann, bob = table.person("ann"), table.person("bob")
    used, unused = make(table, once=True), make(table, once=True)
    show(table, ann, used)
    kept = of(KeepInvites, table.said)[-1].state
    remembered = of(messages.Remember, table.said)[-1].state
    assert remembered is not None
    table.restart()
    table.tell(table.me.dev, messages.Invites(kept))
    table.tell(table.me.dev, messages.Resume(remembered))
    assert states(bob, show(table, bob, used))[-1] == LobbyState.INVITE_USED
    table.down(bob)
    show(table, bob, unused)
    assert bob.dev in table.here.members


def test_invites_that_were_lost_let_nobody_in(table: Table, ann: Person):
    invite = make(table, once=True)
    remembered = of(messages.Remember, table.said)[-1].state
    assert remembered is not None
    table.restart()
    table.tell(table.me.dev, messages.Invites([["damaged"], 5, [b"n", b"r"]]))
    table.tell(table.me.dev, messages.Resume(remembered))
    assert states(ann, show(table, ann, invite))[-1] == LobbyState.INVITE_USED


def test_a_single_use_invite_waits_for_its_maker_and_no_other_takes_it():
    host, table = two()
    seat(host, Person(table.me), "host")
    give_log(table, host)
    invite = make(host, once=True)
    ann = table.person()
    outputs = show(table, ann, invite)
    assert ann.dev not in table.here.members  # though this node might let her in by hand
    assert states(ann, outputs)[-1] == LobbyState.WAITING  # the maker is there
    outputs = table.frame(Person(host.me), [FrameKind.BYE, 0])
    assert states(ann, outputs) == [LobbyState.ISSUER_AWAY]


def test_of_two_who_show_one_invite_at_two_doors_one_comes_in():
    host, table = two()
    invite = make(host, once=True)
    ann, bob = table.person("ann"), table.person("bob")
    outputs = show(table, ann, invite)
    show(host, bob, invite)
    assert bob.dev in host.here.members
    knocks = [frame for frame in to(Person(host.me), outputs) if frame[0] == LOBBY]
    outputs = host.frame(Person(table.me), knocks[-1])
    (used,) = [frame for frame in to(Person(table.me), outputs) if frame[0] == LOBBY]
    outputs = table.frame(Person(host.me), used)
    assert states(ann, outputs) == [LobbyState.INVITE_USED]
    assert ann.dev not in host.here.members


def test_256_single_use_invites_are_kept(table: Table):
    for _ in range(limits.INVITES_KEPT_MAX):
        make(table, once=True)
    answer = table.answer(table.ask(messages.MakeInvite(1, once=True)))
    assert isinstance(answer.error, TooManyInvites)
    make(table)  # one for many takes no place
    assert len(of(KeepInvites, table.said)[-1].state) == 256


def test_a_relayed_knock_whose_invite_is_bad_is_heard_as_one_without(table: Table, ann: Person):
    bob = table.person("bob")
    let_in(table, bob)
    invite = signed_by(bob, make(table), dev=bob.dev)
    frame = relayed(ann, table)
    frame[3] = invite.data
    table.frame(bob, frame)
    (waiting,) = table.rooms.waiting
    assert waiting.invite is None
    assert key_tag(waiting.uid) == key_tag(ann.me.uid)


# ── the joiner ───────────────────────────────────────────────────────────────────────────────


def test_who_joins_by_an_invite_shows_it_after_greeting(table: Table):
    answer = table.answer(table.ask(messages.MakeInvite(1, once=False)))
    guest = Table(seed=7)
    guest.ask(messages.Join(str(answer.facts["link"])))
    outputs = guest.up(Person(table.me), outbound=True)
    greeting, shown = to(Person(table.me), outputs)
    assert greeting[0] == FrameKind.GREETING
    table.up(Person(guest.me))
    table.frame(Person(guest.me), greeting)
    table.frame(Person(guest.me), shown)
    assert guest.me.dev in table.here.members
