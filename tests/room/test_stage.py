"""The stage: who comes to it and when, who is asked, and what everybody refuses."""

import pytest

from p2phouse.channel import EndVoice, LinkStatus, NewVoice, OpenLink, SetInput, SetKeys, SetTable
from p2phouse.hall.card import make_card, make_genesis
from p2phouse.record import limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry, SoftKind
from p2phouse.room import messages, stage_view
from p2phouse.room.frames import FrameKind
from p2phouse.room.log import EntryLog, MayNot, NoSeat
from p2phouse.room.messages import Decide, EventKind, Output
from p2phouse.room.stage import NotInvited, NotOnStage, QueueFull, StageFull
from p2phouse.room.talk import InAudience
from p2phouse.vocabulary import RoomId, Ssrc, UserKey
from tests.room.table import ADDR, UNIX, Person, Table, down, frame_kinds, kinds, of
from tests.room.test_soft import facts, say, texts, told

SID = [bytes([number]) * 16 for number in range(20)]


def sid(number: int) -> bytes:
    return number.to_bytes(16)


class Hosted:
    """A room that ann opened and runs, with our node in it."""

    def __init__(self, *, invited: bool = True, speakers_max: int = 16, seed: int = 0) -> None:
        self.table = table = Table(seed=seed)
        self.host = table.person("ann")
        genesis = make_genesis(
            self.host.me,
            title="Tea",
            access=Access.OPEN,
            now=table.now,
            entropy=bytes,
            speakers_max=speakers_max,
        )
        self.host.genesis = genesis
        card = make_card(
            self.host.me,
            genesis,
            seq=1,
            speakers=1,
            listeners=0,
            addrs=(ADDR,),
            ttl_s=600,
            now=table.now,
        )
        table.tell(self.host.dev, messages.CardHeard(card.data))
        self.log = EntryLog(genesis)
        table.ask(messages.Join("Tea"))
        table.up(self.host, outbound=True)
        speaks = [self.host.speak(RoomId(genesis.id), 0)]
        greeting = self.host.greeting(table.here.room, genesis, speaks=speaks)
        (opened,) = down(OpenLink, table.frame(self.host, greeting))
        (offer,) = of(messages.SendOffer, table.describe(opened.link))
        answer = self.host.offer(table.me.dev, table.here.room, answer=offer.offer)
        table.tell(self.host.dev, messages.OfferAnswered(answer))
        table.link(opened.link, LinkStatus.CONNECTED)
        table.key_voice()
        if invited:
            self.decide(Act.ROLE, None, "listener")
            table.key_voice()

    @property
    def uid(self) -> UserKey:
        return self.table.me.uid

    def decide(
        self, act: Act, who: UserKey | None, value: str | None, by: Person | None = None
    ) -> list[Output]:
        by = by or self.host
        return self.tell_log(self.log.write(by.me, act, who, value))

    def tell_log(self, written: tuple[Signed[Entry], ...] = ()) -> list[Output]:
        """These entries, or all, in one frame of the host's."""
        written = written or tuple(self.log)
        proofs = [identity.data for identity in self.log.identities_of(written)]
        frame = [FrameKind.ENTRY, [entry.data for entry in written], proofs]
        return self.table.frame(self.host, frame)  # type: ignore[arg-type]

    def invite(self) -> list[Output]:
        return self.decide(Act.ROLE, self.uid, "speaker")

    def do(self, action: messages.VerbAction) -> list[Output]:
        before = len(self.table.said)
        assert self.table.answer(self.table.ask(action)).error is None
        return self.table.said[before:]

    def refused(self, action: messages.VerbAction) -> Exception | None:
        return self.table.answer(self.table.ask(action)).error

    @property
    def me(self) -> dict[str, object]:
        return facts(self.table, None)

    @property
    def signed(self) -> bool:
        return self.table.here.voice.speak is not None


def add(hosted: Hosted, slot: int | None, name: str = "bob") -> Person:
    """Somebody who comes, with a voice in that slot."""
    person = hosted.table.person(name)
    room = hosted.table.here.room
    hosted.table.let_in(person, speaks=[] if slot is None else [person.speak(room, slot)])
    hosted.table.connect(person)
    return person


def rows(table: Table) -> set[Ssrc]:
    """SSRCs of the others whose voices media plays, by the last that it was told."""
    table_, keys = down(SetTable, table.said)[-1], down(SetKeys, table.said)[-1]
    heard = {row.ssrc for row in table_.rows if row.ingress}
    assert heard == {row.ssrc for row in keys.keys}
    return heard


# ── who stands there ─────────────────────────────────────────────────────────────────────────


def test_who_comes_to_a_room_where_everybody_may_speak_is_on_stage_muted():
    hosted = Hosted(invited=False)
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.table.here.muted
    assert not [each for each in down(SetInput, hosted.table.said) if each.spec != "none"]


def test_who_comes_to_a_room_of_the_invited_has_no_voice_and_cannot_unmute():
    hosted = Hosted()
    assert not hosted.me["on_stage"]
    assert not hosted.me["invited"]
    assert not hosted.signed
    assert hosted.table.rooms.facts()["stage"] == "invited"
    assert hosted.refused(messages.SetMuted(muted=False)) is not None
    assert not frame_kinds(hosted.table.key_voice())


def test_the_one_who_opens_a_room_of_the_invited_is_on_stage_and_those_who_come_are_not():
    table = Table()
    table.ask(messages.Open("Tea", stage="invited"))
    table.key_voice()
    bob = table.person("bob")
    table.let_in(bob, speaks=[bob.speak(table.here.room, 3)])
    table.connect(bob)
    assert facts(table, None)["on_stage"]
    assert not facts(table, bob)["on_stage"]
    assert table.rooms.facts()["on_stage"] == 1
    assert not rows(table)


def test_an_invitation_waits_for_the_answer_and_opens_nothing():
    hosted = Hosted()
    outputs = hosted.invite()
    assert EventKind.INVITED in kinds(outputs)
    assert (SoftKind.ON_STAGE, None) in told(outputs)
    assert hosted.me["invited"]
    assert not hosted.signed
    assert isinstance(hosted.refused(messages.SetMuted(muted=False)), InAudience)
    assert isinstance(hosted.refused(messages.Say("file:x.wav")), InAudience)
    outputs = hosted.do(messages.Accept())
    assert hosted.me["on_stage"]
    assert not hosted.me["invited"]
    assert FrameKind.SPEAK in frame_kinds(outputs)
    assert (SoftKind.ON_STAGE, True) in told(outputs)
    assert hosted.table.here.muted
    assert not down(SetInput, outputs)


def test_a_hand_that_was_up_is_the_answer_and_goes_down():
    hosted = Hosted()
    hosted.do(messages.Hand("me"))
    outputs = hosted.invite()
    assert EventKind.INVITED not in kinds(outputs)
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.table.here.muted
    assert hosted.me["hand"] is None
    assert (SoftKind.HAND, False) in told(outputs)
    assert not down(SetInput, outputs)


def test_a_seat_brings_its_holder_on_stage_and_the_default_everybody():
    hosted = Hosted()
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    assert hosted.me["on_stage"]
    other = Hosted()
    other.decide(Act.ROLE, None, "speaker")
    assert other.me["on_stage"]
    assert other.table.here.muted


def test_who_declines_stays_in_the_audience_and_may_still_come():
    hosted = Hosted()
    hosted.invite()
    assert (SoftKind.ON_STAGE, False) in told(hosted.do(messages.Decline()))
    assert not hosted.me["invited"]
    assert not hosted.signed
    assert isinstance(hosted.refused(messages.Decline()), NotInvited)
    hosted.do(messages.Accept())
    assert hosted.me["on_stage"]


def test_who_steps_down_closes_the_microphone_first_and_comes_back_with_another_voice():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    old = hosted.table.here.voice.sid
    outputs = hosted.do(messages.StepDown())
    commands = [type(each) for each in down(object, outputs)]  # type: ignore[type-var]
    assert commands.index(SetInput) < commands.index(EndVoice)
    assert down(EndVoice, outputs) == [EndVoice(old)]
    assert down(SetInput, outputs) == [SetInput("none")]
    assert (SoftKind.ON_STAGE, False) in told(outputs)
    assert hosted.table.here.muted
    assert not hosted.signed
    assert not hosted.table.key_voice(), "the next voice waits for the stage"
    assert isinstance(hosted.refused(messages.StepDown()), NotOnStage)
    hosted.do(messages.Accept())
    assert hosted.signed
    assert hosted.table.here.voice.sid != old
    assert hosted.table.here.muted


def test_who_stepped_down_and_is_invited_anew_is_asked_again():
    hosted = Hosted()
    hosted.invite()
    hosted.do(messages.Accept())
    hosted.do(messages.StepDown())
    assert EventKind.INVITED in kinds(hosted.invite())


def test_nobody_accepts_what_was_not_offered():
    hosted = Hosted()
    assert isinstance(hosted.refused(messages.Accept()), NotInvited)
    assert isinstance(hosted.refused(messages.Decline()), NotInvited)


def test_to_the_audience_goes_the_voice_the_microphone_and_the_hand():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    hosted.do(messages.Hand("more"))
    old = hosted.table.here.voice.sid
    outputs = hosted.decide(Act.ROLE, hosted.uid, "listener")
    assert down(EndVoice, outputs) == [EndVoice(old)]
    assert len(down(NewVoice, outputs)) == 1
    assert down(SetInput, outputs)[0] == SetInput("none")
    assert hosted.table.here.muted
    assert not hosted.me["on_stage"]
    assert hosted.me["hand"] is None
    assert isinstance(hosted.refused(messages.Accept()), NotInvited)


def test_the_muted_keep_their_place_and_their_voice():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    outputs = hosted.decide(Act.ROLE, hosted.uid, "muted")
    assert not down(EndVoice, outputs)
    assert down(SetInput, outputs) == [SetInput("none")]
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.refused(messages.SetMuted(muted=False)) is not None
    outputs = hosted.decide(Act.ROLE, hosted.uid, "speaker")
    assert EventKind.INVITED not in kinds(outputs)
    assert hosted.table.here.muted
    hosted.do(messages.SetMuted(muted=False))


def test_media_that_dies_in_the_audience_signs_no_voice_and_on_stage_a_muted_one():
    hosted = Hosted()
    hosted.table.tell(hosted.table.me.dev, messages.MediaGone())
    assert not frame_kinds(hosted.table.key_voice())
    hosted.invite()
    hosted.do(messages.Accept())
    hosted.table.tell(hosted.table.me.dev, messages.MediaGone())
    assert frame_kinds(hosted.table.key_voice()) == [FrameKind.SPEAK]
    assert hosted.table.here.muted


def test_who_comes_back_with_the_role_is_on_stage_at_once_muted():
    hosted = Hosted()
    hosted.invite()
    hosted.do(messages.Accept())
    hosted.do(messages.Leave())
    hosted.table.ask(messages.Join("Tea"))
    hosted.table.up(hosted.host, outbound=True)
    hosted.table.frame(
        hosted.host, hosted.host.greeting(hosted.table.here.room, hosted.log.genesis)
    )
    hosted.table.key_voice()
    hosted.tell_log()
    assert hosted.me["on_stage"]
    assert hosted.signed
    assert hosted.table.here.muted


# ── as others see it ─────────────────────────────────────────────────────────────────────────


def test_a_member_who_says_that_it_stepped_down_has_no_voice_until_it_signs_another():
    hosted = Hosted(invited=False)
    bob = add(hosted, 3)
    assert facts(hosted.table, bob)["on_stage"]
    assert len(rows(hosted.table)) == 2
    assert EventKind.STAGE_CHANGED in kinds(say(hosted.table, bob, SoftKind.ON_STAGE, False))
    assert not facts(hosted.table, bob)["on_stage"]
    assert len(rows(hosted.table)) == 1
    hosted.table.frame(bob, bob.voice_frame(hosted.table.here.room, 3, SID[2]))
    assert len(rows(hosted.table)) == 2


def test_an_invited_member_is_seen_as_such_for_as_long_as_the_log_says_so():
    hosted = Hosted()
    bob = add(hosted, None)
    say(hosted.table, bob, SoftKind.ON_STAGE, None)
    assert not facts(hosted.table, bob)["invited"], "it was not: its own word is not enough"
    hosted.decide(Act.ROLE, bob.me.uid, "speaker")
    assert facts(hosted.table, bob)["invited"]


def test_a_voice_signed_in_the_audience_counts_nowhere():
    hosted = Hosted()
    bob = add(hosted, 3)
    assert not facts(hosted.table, bob)["on_stage"]
    assert hosted.table.rooms.facts()["on_stage"] == 1
    assert len(rows(hosted.table)) == 1


def test_a_voice_signed_in_the_audience_takes_nobody_s_slot_and_ends_no_voice():
    """Who may not speak could else interrupt each speaker as often as it signs."""
    hosted = Hosted()
    hosted.decide(Act.ROLE, hosted.table.me.uid, "speaker")
    hosted.do(messages.Accept())
    own = hosted.table.here.voice.speak
    assert own is not None
    bob = hosted.table.person("bob")
    hosted.table.let_in(bob)
    room, slot = hosted.table.here.room, own.record.slot
    lower = next(each for n in range(999) if (each := bob.speak(room, slot, sid(n))).id < own.id)
    outputs = hosted.table.frame(bob, [FrameKind.SPEAK, lower.data])
    assert not down(EndVoice, outputs)
    assert hosted.table.here.voice.speak is own
    outputs = hosted.decide(Act.ROLE, bob.me.uid, "speaker")
    assert down(EndVoice, outputs)  # from now on the slot is bob's, for everybody
    hosted.table.key_voice()
    assert hosted.me["on_stage"]
    assert facts(hosted.table, bob)["on_stage"]


# ── the limit on speakers ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_stage_has_so_many_slots_and_who_comes_next_sits_in_the_audience(most: int):
    hosted = Hosted(invited=False, speakers_max=most)
    if most > 1:
        assert hosted.me["on_stage"]
        hosted.do(messages.StepDown())
    for slot in range(1, most):
        add(hosted, slot, f"bob{slot}")
    assert hosted.table.rooms.facts()["on_stage"] == most
    assert hosted.table.rooms.facts()["speakers_max"] == most
    assert isinstance(hosted.refused(messages.Accept()), StageFull)
    assert not hosted.signed
    assert len(rows(hosted.table)) == most


def test_who_comes_to_a_full_stage_sits_in_the_audience_and_gets_the_place_that_is_left():
    hosted = Hosted(invited=False, speakers_max=1)
    assert not hosted.me["on_stage"]
    assert not hosted.signed
    say(hosted.table, hosted.host, SoftKind.ON_STAGE, False)
    hosted.do(messages.Accept())
    assert hosted.signed
    speak = hosted.table.here.voice.speak
    assert speak is not None
    assert speak.record.slot == 0


@pytest.mark.parametrize("how", ["step down", "leave", "audience"])
def test_a_place_that_becomes_free_can_be_taken(how: str):
    hosted = Hosted(invited=False, speakers_max=2)
    hosted.do(messages.StepDown())
    bob = add(hosted, 1)
    assert isinstance(hosted.refused(messages.Accept()), StageFull)
    if how == "step down":
        say(hosted.table, bob, SoftKind.ON_STAGE, False)
    elif how == "leave":
        hosted.table.frame(bob, [FrameKind.BYE, 0])
    else:
        hosted.decide(Act.ROLE, bob.me.uid, "listener")
    hosted.do(messages.Accept())
    assert hosted.me["on_stage"]


@pytest.mark.parametrize("most", [2, 16])
def test_a_voice_in_the_last_slot_is_heard_and_one_past_it_refused_by_everybody(most: int):
    hosted = Hosted(invited=False, speakers_max=most)
    hosted.do(messages.StepDown())
    last = add(hosted, most - 1, "last")
    assert facts(hosted.table, last)["on_stage"]
    if most < limits.SPEAKERS_MAX:  # the record itself holds no slot past 15
        past = add(hosted, most, "past")
        assert not facts(hosted.table, past)["on_stage"]
    assert len(rows(hosted.table)) == 2


def test_of_two_voices_in_one_slot_everybody_hears_the_lower_id():
    hosted = Hosted(invited=False)
    hosted.do(messages.StepDown())
    bob, cleo = add(hosted, 7, "bob"), add(hosted, 7, "cleo")
    room = hosted.table.here.room
    first = min((bob, cleo), key=lambda each: each.speak(room, 7).id)
    assert facts(hosted.table, first)["on_stage"]
    assert sum(bool(facts(hosted.table, each)["on_stage"]) for each in (bob, cleo)) == 1
    assert len(rows(hosted.table)) == 2


def test_of_two_who_take_the_last_place_at_once_the_higher_id_goes_back_and_may_try_again():
    for number in range(200):
        hosted = Hosted(invited=False, speakers_max=2, seed=number)
        own = hosted.table.here.voice.speak
        assert own is not None
        bob = hosted.table.person("bob")
        hosted.table.let_in(bob)
        theirs = bob.speak(hosted.table.here.room, 1)
        if theirs.id < own.id:
            break
    outputs = hosted.table.frame(bob, [FrameKind.SPEAK, theirs.data])
    assert (SoftKind.ON_STAGE, None) in told(outputs)
    assert not hosted.signed
    assert hosted.me["invited"]
    assert not frame_kinds(hosted.table.key_voice())
    say(hosted.table, bob, SoftKind.ON_STAGE, False)
    hosted.do(messages.Accept())
    assert hosted.me["on_stage"]


def test_nobody_is_invited_to_a_full_stage():
    table = Table()
    table.ask(messages.Open("Tea", stage="invited", speakers_max=1))
    table.key_voice()
    table.let_in(table.person("bob"))
    error = table.answer(table.ask(messages.Invite("bob"))).error
    assert isinstance(error, StageFull)
    assert "full (1)" in str(error)


# ── hands ────────────────────────────────────────────────────────────────────────────────────


def test_the_twenty_first_hand_stays_down(monkeypatch: pytest.MonkeyPatch):
    """A room of this version has eight people: the queue is made shorter instead."""
    monkeypatch.setattr(limits, "HANDS_MAX", 2)
    hosted = Hosted()
    say(hosted.table, hosted.host, SoftKind.HAND, "")
    hosted.do(messages.Hand())
    hosted.do(messages.LowerHand())
    say(hosted.table, add(hosted, None), SoftKind.HAND, "")
    assert isinstance(hosted.refused(messages.Hand()), QueueFull)


def test_a_moderator_lowers_a_hand_and_all_hands():
    hosted = Hosted()
    hosted.do(messages.Hand("a"))
    name = hosted.uid.hex()[:16]
    assert kinds(say(hosted.table, hosted.host, SoftKind.LOWER_HANDS, "0" * 16)) == []
    assert kinds(say(hosted.table, hosted.host, SoftKind.LOWER_HANDS, name)) == [
        EventKind.HAND_LOWERED
    ]
    hosted.do(messages.Hand("a"))
    assert kinds(say(hosted.table, hosted.host, SoftKind.LOWER_HANDS, None)) == [
        EventKind.HAND_LOWERED
    ]


def test_nobody_else_lowers_a_hand_or_mutes_anybody():
    hosted = Hosted(invited=False)
    bob = add(hosted, 3)
    hosted.do(messages.Hand("a"))
    hosted.do(messages.SetMuted(muted=False))
    for kind in (SoftKind.LOWER_HANDS, SoftKind.PLEASE_MUTE):
        assert not say(hosted.table, bob, kind, None)
    hosted.decide(Act.GRANT, hosted.uid, "host")
    hosted.decide(Act.GRANT, bob.me.uid, "moderator")
    for kind in (SoftKind.LOWER_HANDS, SoftKind.PLEASE_MUTE):
        assert not say(hosted.table, bob, kind, None), "a moderator has no say over a host"
    assert not hosted.table.here.muted


def guests(table: Table) -> list[dict[str, object]]:
    told = table.rooms.facts()["guests"]
    assert isinstance(told, list)
    return told


def test_only_a_relay_of_the_room_is_believed_how_many_guests_listen():
    """Security: nor is anybody in a sealed room, where there are none."""
    hosted = Hosted()
    table = hosted.table
    ben = table.person("ben")
    table.let_in(ben)
    assert EventKind.GUESTS_CHANGED not in kinds(say(table, ben, SoftKind.GUESTS, 12))
    assert guests(table) == []
    hosted.decide(Act.ROLE, ben.me.uid, "relay")
    outputs = say(table, ben, SoftKind.GUESTS, 13)
    assert texts(outputs, EventKind.GUESTS_CHANGED) == ["13"]
    (via,) = guests(table)
    assert (via["name"], via["count"]) == ("ben", 13)
    for nonsense in (True, "13", None):
        assert say(table, ben, SoftKind.GUESTS, nonsense) == []
    say(table, ben, SoftKind.GUESTS, 2**40)
    (via,) = guests(table)
    assert via["count"] == limits.GUESTS_TOLD_MAX
    say(table, ben, SoftKind.GUESTS, 0)
    assert guests(table) == []


def test_who_is_asked_to_mute_does_and_is_told_by_whom_and_may_unmute():
    hosted = Hosted(invited=False)
    hosted.do(messages.SetMuted(muted=False))
    outputs = say(hosted.table, hosted.host, SoftKind.PLEASE_MUTE, None)
    assert texts(outputs, EventKind.PLEASE_MUTE) == ["ann"]
    assert hosted.table.here.muted
    hosted.do(messages.SetMuted(muted=False))
    assert not hosted.table.here.muted


def test_only_who_runs_the_room_asks_others():
    hosted = Hosted(invited=False)
    actions: list[messages.VerbAction] = [
        messages.LowerHand("*"),
        messages.LowerHand("ann"),
        messages.MuteAll(),
        messages.MuteAll(lock=True),
        messages.UnmuteAll(),
    ]
    for action in actions:
        assert isinstance(hosted.refused(action), NoSeat)
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    assert isinstance(hosted.refused(messages.LowerHand("ann")), MayNot)
    assert (SoftKind.LOWER_HANDS, None) in told(hosted.do(messages.LowerHand("*")))


# ── everybody muted ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run() -> Table:
    """A room of our own, with a moderator and two others who speak."""
    table = Table()
    table.open()
    for slot, name in enumerate(("mod", "bob", "cleo")):
        person = table.person(name)
        free = [n for n in range(16) if n != table.here.voice.speak.record.slot]  # type: ignore[union-attr]
        table.let_in(person, speaks=[person.speak(table.here.room, free[slot])])
        table.connect(person)
    table.ask(Decide(Act.GRANT, "mod", "moderator"))
    return table


def roles(table: Table) -> dict[str, str]:
    state = table.here.log.state
    found = {m.name: state.role_of(m.uid) for m in table.here.members.values()}
    return {name: role.value for name, role in found.items() if role}


def test_mute_all_with_a_lock_mutes_everybody_below_and_who_comes_later_until_it_is_lifted(run):
    run.ask(Decide(Act.ROLE, "bob", "speaker"))
    run.ask(messages.MuteAll(lock=True))
    assert roles(run) == {"mod": "muted", "bob": "muted", "cleo": "muted"}
    late = run.person("late")
    run.let_in(late)
    assert roles(run)["late"] == "muted"
    assert not rows(run)
    assert run.here.may_speak(run.me.uid)
    run.ask(messages.UnmuteAll())
    assert set(roles(run).values()) == {"speaker"}
    assert len(rows(run)) == 3


def test_mute_all_leaves_the_audience_where_it_is(run):
    run.ask(Decide(Act.ROLE, "bob", "listener"))
    run.ask(messages.MuteAll(lock=True))
    assert roles(run)["bob"] == "listener"
    run.ask(messages.UnmuteAll())
    assert roles(run)["bob"] == "listener"


def test_a_request_to_mute_writes_nothing_and_reaches_all(run):
    before = len(run.here.log)
    ticket = run.ask(messages.MuteAll())
    assert run.answer(ticket).facts == {}
    assert len(run.here.log) == before
    assert told(run.said[-8:]).count((SoftKind.PLEASE_MUTE, None)) == 3


def test_a_moderator_mutes_neither_hosts_nor_equals():
    hosted = Hosted(invited=False)
    bob, cleo = add(hosted, 3, "bob"), add(hosted, 4, "cleo")
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    hosted.decide(Act.GRANT, bob.me.uid, "moderator")
    hosted.do(messages.MuteAll(lock=True))
    state = hosted.table.here.log.state
    assert [state.may_speak(each.me.uid) for each in (bob, cleo)] == [True, False]
    assert state.may_speak(hosted.host.me.uid)


# ── what one may do ──────────────────────────────────────────────────────────────────────────


def test_the_lists_of_what_one_may_do_follow_the_log():
    hosted = Hosted()
    bob = add(hosted, None)
    may = hosted.table.rooms.facts()["may"]
    assert {"hand", "react", "typing"} <= set(may)  # type: ignore[call-overload]
    running = {"title", "mute_all", "lower_hand", "accept", "step_down", "invite_link", "access"}
    assert not running & set(may)  # type: ignore[call-overload]
    assert facts(hosted.table, bob)["may"] == []
    hosted.invite()
    assert {"accept", "decline"} <= set(hosted.table.rooms.facts()["may"])  # type: ignore[call-overload]
    hosted.do(messages.Accept())
    assert {"step_down", "unmute"} <= set(hosted.table.rooms.facts()["may"])  # type: ignore[call-overload]
    hosted.decide(Act.GRANT, hosted.uid, "moderator")
    may = hosted.table.rooms.facts()["may"]
    assert {"title", "lock", "unlock", "mute_all", "unmute_all", "invite_link", "lobby"} <= set(may)  # type: ignore[call-overload]
    assert not {"end", "access"} & set(may)  # type: ignore[call-overload]
    say(hosted.table, bob, SoftKind.HAND, "")
    assert facts(hosted.table, bob)["may"] == ["ban", "invite", "lower_hand", "remove"]
    assert facts(hosted.table, hosted.host)["may"] == []
    hosted.decide(Act.ROLE, bob.me.uid, "speaker")
    assert {"audience", "mute"} <= set(facts(hosted.table, bob)["may"])  # type: ignore[call-overload]
    hosted.decide(Act.ROLE, bob.me.uid, "muted")
    assert "unmute" in facts(hosted.table, bob)["may"]  # type: ignore[operator]


def test_the_queue_is_the_same_for_whoever_asks():
    hosted = Hosted()
    bob = add(hosted, None)
    hosted.table.wait(1)
    hosted.do(messages.Hand())
    say(hosted.table, bob, SoftKind.HAND, "", ts=int(UNIX))
    assert stage_view.queue(hosted.table.here, hosted.table.me.dev) == {
        bob.dev: 1,
        hosted.table.me.dev: 2,
    }
