"""Silence is explained: each cause comes after its delay, once, and goes at once."""

import pytest

from p2phouse.channel import (
    AuditFailed,
    Level,
    Levels,
    LinkStatus,
    Stats,
    VoiceCondition,
    VoiceState,
    VoiceStats,
)
from p2phouse.channel import Silent as LinkSilent
from p2phouse.record.types import Act, SoftKind
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import EventKind
from p2phouse.room.silence import CAUSES, Cause
from p2phouse.room.sounding import SILENT_DBOV, TALKED_FRAMES
from p2phouse.vocabulary import Ssrc
from tests.room.table import Person, Table, of

OURS = Ssrc(0)


@pytest.fixture
def table() -> Table:
    table = Table(mouth="device")
    table.open()
    return table


def speaker(table: Table, name: str = "ann", slot: int = 1, *, connected: bool = True) -> Person:
    """Somebody on stage, unmuted, whose sound flows."""
    person = table.person(name)
    table.let_in(person, speaks=[person.speak(table.here.room, slot)])
    if connected:
        table.connect(person)
    unmute(table, person)
    return person


def unmute(table: Table, person: Person, *, muted: bool = False) -> None:
    table.frame(person, person.soft_frame(table.here.room, SoftKind.OWN_MUTE, muted))


class Media:
    """What the media process would report, second by second."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.played: dict[Ssrc, int] = {}
        self.flowing: set[Ssrc] = set()
        self.dbov = -1  # no input
        self.loud = 0
        self.ready = True
        for member in table.here.members.values():
            if member.ssrc is not None:
                self.played[member.ssrc] = 0
                self.flowing.add(member.ssrc)

    def pass_s(self, seconds: int) -> list[messages.Event]:
        told: list[messages.Output] = []
        for _ in range(seconds):
            told += self.table.wait(1.0)
            for ssrc in self.flowing:
                self.played[ssrc] += 3
            voices = tuple(
                VoiceStats(ssrc, count, 0, 0, 0, 0, 0, 0, 0) for ssrc, count in self.played.items()
            )
            age_us = 1_000_000 if self.dbov >= 0 else -1
            stats = Stats(age_us, 0, 0, voices, (), self.dbov, self.loud, self.ready)
            told += self.table.media(stats)
        return explained(told)


def explained(outputs: list[messages.Output]) -> list[messages.Event]:
    return [e for e in of(messages.Event, outputs) if e.kind is EventKind.SILENCE_EXPLAINED]


def causes(table: Table, person: Person | None = None) -> list[str]:
    dev = table.me.dev if person is None else person.dev
    return [each.cause.value for each in table.rooms.silence.of(dev)]


def do(table: Table, action: messages.VerbAction) -> None:
    assert table.answer(table.ask(action)).error is None


# ── our own microphone ───────────────────────────────────────────────────────────────────────


def test_a_microphone_that_gives_nothing_is_explained_after_three_seconds_and_no_sooner(table):
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    media.dbov = 127
    media.pass_s(1)
    assert media.pass_s(2) == []
    (told,) = media.pass_s(1)
    assert (told.dev, told.text) == (table.me.dev, "Your microphone gives no sound.")
    assert causes(table) == ["level_zero"]
    assert media.pass_s(20) == []  # once is enough
    media.dbov = 40
    (over,) = media.pass_s(1)
    assert over.text == ""
    assert causes(table) == []


def test_a_quiet_room_is_no_dead_microphone(table):
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    media.dbov = SILENT_DBOV
    assert media.pass_s(20) == []
    media.dbov = SILENT_DBOV + 1
    assert [event.text for event in media.pass_s(5)] == ["Your microphone gives no sound."]


def test_a_microphone_that_has_worked_must_give_nothing_at_all(table):
    """A browser that takes noise away leaves -85 dBov of a person who listens."""
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    media.dbov, media.loud = 20, 30
    media.pass_s(2)
    media.dbov, media.loud = 85, 0
    assert media.pass_s(20) == []
    media.dbov = 127  # its switch
    media.pass_s(4)
    assert causes(table) == ["level_zero"]


def test_one_quiet_second_after_the_other_does_not_flap(table):
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    told = []
    for n in range(60):
        media.dbov = 127 if n % 3 else 30
        told += media.pass_s(1)
    assert told == []


def test_a_silent_microphone_is_nobody_s_business_while_muted(table):
    media = Media(table)
    media.dbov = 127
    assert media.pass_s(10) == []


def test_a_lost_microphone_is_explained_at_once_until_there_is_one_again(table):
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    lost = "The microphone is gone. Plug it in again."
    told = explained(table.media(VoiceState(OURS, VoiceCondition.INPUT_FAILED, lost)))
    assert [event.text for event in told] == [lost]
    assert table.here.muted
    assert causes(table) == ["device_lost"]
    media.pass_s(5)
    assert causes(table) == ["device_lost"]
    do(table, messages.SetMuted(muted=False))
    table.media(VoiceState(OURS, VoiceCondition.INPUT_STARTED, ""))
    assert causes(table) == []


def test_a_file_that_cannot_be_spoken_is_no_lost_microphone(table):
    table.ask(messages.Say("file:none.wav"))
    table.media(VoiceState(OURS, VoiceCondition.INPUT_FAILED, "No such file."))
    assert causes(table) == []


def test_pauses_in_a_file_that_is_spoken_are_no_dead_microphone(table):
    media = Media(table)
    table.ask(messages.Say("file:x.wav"))
    media.dbov = 127
    assert media.pass_s(10) == []


def test_unmuted_without_a_microphone_is_explained():
    table = Table(mouth="none")
    table.open()
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    media.pass_s(3)
    assert causes(table) == ["no_microphone"]


def test_who_talks_while_muted_is_told_after_two_such_seconds(table):
    media = Media(table)
    media.dbov, media.loud = 20, TALKED_FRAMES
    assert media.pass_s(1) == []
    assert [event.text for event in media.pass_s(1)] == ["You are talking, and you are muted."]
    media.loud = 0
    media.pass_s(1)
    assert causes(table) == ["talking_while_muted"]  # a breath does not end it
    media.pass_s(3)
    assert causes(table) == []
    media.loud = TALKED_FRAMES
    media.pass_s(3)
    do(table, messages.SetMuted(muted=False))
    assert causes(table) == []


def test_a_cough_or_typing_is_not_talking(table):
    media = Media(table)
    media.dbov = 20
    for n in range(30):
        media.loud = TALKED_FRAMES - 1 if n % 4 else 50
        assert media.pass_s(1) == []


def test_what_our_microphone_hears_of_others_is_not_us(table):
    speaker(table)
    media = Media(table)
    (ssrc,) = media.flowing
    media.dbov, media.loud = 20, 50
    for _ in range(10):
        media.played[ssrc] += 40
        assert media.pass_s(1) == []


def test_a_mute_by_a_moderator_names_who_decided_it():
    host = Table(seed=3)
    host.open()
    ann = speaker(host, "ann")
    do(host, messages.Decide(Act.ROLE, "ann", "muted"))
    (each,) = host.rooms.silence.of(ann.dev)
    assert (each.cause, each.by) == (Cause.MUTED_BY, "me")
    assert each.text == "me has muted ann."
    do(host, messages.Decide(Act.ROLE, "ann", "speaker"))
    assert host.rooms.silence.of(ann.dev) == []


# ── our ear ──────────────────────────────────────────────────────────────────────────────────


def test_a_browser_that_holds_back_its_sound_is_explained_until_it_does_not():
    table = Table(ear="page")
    table.open()
    media = Media(table)
    do(table, messages.PageSound(blocked=True))
    assert causes(table) == ["output_blocked"]
    do(table, messages.PageSound(blocked=False))
    assert causes(table) == []
    do(table, messages.PageSound(blocked=True))
    media.ready = False
    media.pass_s(1)
    assert causes(table) == []  # that page is gone, and a new one may be loading
    media.pass_s(3)
    (each,) = table.rooms.silence.of(table.me.dev)
    assert "No page is open" in each.text
    media.ready = True
    media.pass_s(1)
    assert causes(table) == []


def test_a_loudspeaker_that_fails_is_explained(table):
    text = "The loudspeaker is gone."
    table.media(VoiceState(OURS, VoiceCondition.OUTPUT_FAILED, text))
    (each,) = table.rooms.silence.of(table.me.dev)
    assert (each.cause, each.text) == (Cause.OUTPUT_BLOCKED, text)
    table.media(VoiceState(OURS, VoiceCondition.OUTPUT_STARTED, ""))
    assert causes(table) == []


# ── others ───────────────────────────────────────────────────────────────────────────────────


def test_who_is_heard_or_quiet_or_muted_is_not_explained(table):
    ann = speaker(table)
    media = Media(table)
    assert media.pass_s(10) == []
    unmute(table, ann, muted=True)
    media.flowing.clear()
    assert media.pass_s(10) == []


def test_nothing_from_an_unmuted_member_is_explained_after_three_seconds(table):
    ann = speaker(table)
    media = Media(table)
    media.pass_s(2)
    media.flowing.clear()
    media.pass_s(1)
    assert media.pass_s(2) == []
    (told,) = media.pass_s(1)
    assert (told.dev, told.text) == (
        ann.dev,
        "ann is unmuted, but nothing comes of that voice.",
    )
    assert causes(table, ann) == ["no_packets"]
    media.flowing = set(media.played)
    media.pass_s(1)
    assert causes(table, ann) == []


def test_a_link_that_is_down_is_explained_for_whoever_is_behind_it(table):
    ann = speaker(table)
    speaker(table, "bob", 2)
    media = Media(table)
    link = table.here.members[ann.dev].link
    assert link is not None
    table.media(LinkSilent(link))
    assert media.pass_s(2) == []
    media.pass_s(1)
    assert causes(table, ann) == ["link_down"]
    assert causes(table) == []


def test_no_link_to_anybody_is_our_own_trouble_too(table):
    ann = speaker(table, connected=False)
    media = Media(table)
    assert explained(table.wait(2.9)) == []
    table.wait(0.2)  # nobody need report for it
    assert causes(table) == ["link_down"]
    assert causes(table, ann) == ["link_down"]
    link = table.connect(ann)
    assert causes(table) == causes(table, ann) == []
    table.link(link, LinkStatus.LOST)
    assert causes(table) == []
    media.flowing.clear()


def test_alone_in_a_room_nobody_misses_anybody(table):
    assert Media(table).pass_s(10) == []


def test_a_missing_key_is_explained_after_two_seconds(table):
    ann = speaker(table)
    ssrc = table.here.members[ann.dev].ssrc
    assert ssrc is not None
    media = Media(table)
    media.pass_s(1)
    table.media(VoiceState(ssrc, VoiceCondition.KEY_MISSING, ""))
    table.wait(1.9)
    assert causes(table, ann) == []
    table.wait(0.2)
    assert causes(table, ann) == ["key_missing"]
    table.media(VoiceState(ssrc, VoiceCondition.FLOWING, ""))
    assert causes(table, ann) == []


def test_a_voice_that_is_not_proved_is_explained_until_it_is(table):
    ann = speaker(table)
    ssrc = table.here.members[ann.dev].ssrc
    assert ssrc is not None
    Media(table).pass_s(1)
    table.media(VoiceState(ssrc, VoiceCondition.UNPROVED, ""))
    assert causes(table, ann) == ["unproved"]
    table.media(VoiceState(ssrc, VoiceCondition.FLOWING, ""))
    assert causes(table, ann) == []


def test_a_forged_voice_is_explained_at_once_and_hides_the_rest(table):
    ann = speaker(table)
    ssrc = table.here.members[ann.dev].ssrc
    assert ssrc is not None
    media = Media(table)
    media.flowing.clear()
    media.pass_s(5)
    table.media(AuditFailed(ssrc))
    assert causes(table, ann) == ["forged"]
    table.frame(ann, [int(FrameKind.SPEAK), ann.speak(table.here.room, 5).data])
    assert "forged" not in causes(table, ann)


def test_a_blocked_person_needs_no_explanation(table):
    ann = speaker(table)
    media = Media(table)
    media.flowing.clear()
    media.pass_s(5)
    do(table, messages.SetBlocked(table.here.members[ann.dev].uid, blocked=True))
    assert causes(table, ann) == []


# ── together ─────────────────────────────────────────────────────────────────────────────────


def test_what_is_told_is_forgotten_with_the_room(table):
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    media.dbov = 127
    media.pass_s(5)
    do(table, messages.Leave())
    assert causes(table) == []
    table.open()
    assert causes(table) == []


def test_a_check_tells_all_of_it_and_a_person_s_fact_the_worst(table):
    ann = speaker(table, connected=False)
    media = Media(table)
    do(table, messages.SetMuted(muted=False))
    media.dbov = 127
    media.pass_s(5)
    here = table.here
    checked = [
        (each["who"], each["you"], each["cause"]) for each in table.rooms.silence.check(here)
    ]
    assert checked == [
        ("me", True, "link_down"),
        ("me", True, "level_zero"),
        ("ann", False, "link_down"),
    ]
    fact = table.rooms.silence.fact(table.me.dev)
    assert fact is not None
    assert fact["cause"] == "link_down"
    assert table.rooms.facts()["silence"] == fact
    assert all(each["remedy"] for each in table.rooms.silence.check(here))
    assert table.rooms.silence.fact(ann.dev) is not None


def test_levels_alone_explain_nothing(table):
    table.media(Levels((Level(OURS, 127),)))
    assert causes(table) == []


def test_every_cause_is_ordered_once():
    assert len(set(CAUSES)) == len(Cause)
