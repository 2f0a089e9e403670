"""Two people at their pages and a node without one: what each hears, sees and may do."""

import itertools
import json
from typing import NamedTuple

import numpy as np
import pytest

from p2phouse.hearing import measure
from tests.browser.chromium import chromium, chromiums
from tests.browser.people import gather, open_room, tab, unix_s, wait_live
from tests.e2e.nodes import Ear, read_sound, until, write_clip
from tests.voice.speech import librivox

pytestmark = [pytest.mark.browser]
GRANTED = "--use-fake-ui-for-media-stream"
SPOKEN_S = 6
UNDERSTOOD_MIN = (
    0.7  # the browser's echo, noise and gain control change a voice; other words: under .4
)


def microphone(tmp_path, name: str, speech: str) -> tuple[list[str], np.ndarray]:
    """The flags of a browser whose microphone says this once it opens, and what it says."""
    quiet = np.zeros(48_000, np.float32)
    sound = np.concatenate([quiet, librivox(speech)[: 48_000 * SPOKEN_S], quiet])
    file = write_clip(tmp_path / f"{name}.wav", sound, rate=48_000)
    return [GRANTED, f"--use-file-for-fake-audio-capture={file}%noloop"], read_sound(file)


class Clip(NamedTuple):
    """What was said, and when its first sample was."""

    sound: np.ndarray
    spoken_s: float


class Recording(NamedTuple):
    """What was heard, and when its first sample was."""

    sound: np.ndarray
    played_s: float


def understood(clip: Clip, heard: Recording) -> float:
    """How well the words are understood, 0 to 1; a browser may turn a wave upside down."""
    return max(
        measure(sent=clip.sound, spoken_s=clip.spoken_s, heard=wave, played_s=heard.played_s).stoi
        for wave in (heard.sound, -heard.sound)
    )


def shapes(sound: np.ndarray) -> np.ndarray:
    """Of each 20 ms 12 bands, 200 Hz to 4 kHz, in dB about their mean; zeros where it is quiet."""
    frames = sound[: len(sound) // 960 * 960].reshape(-1, 960) * np.hanning(960)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.geomspace(4, 80, 13).astype(int)  # lines of 50 Hz
    bands = np.stack([power[:, a:b].mean(1) for a, b in itertools.pairwise(edges)], 1)
    decibels = 10 * np.log10(bands + 1e-6)
    decibels -= decibels.mean(1, keepdims=True)
    loud = bands.sum(1) > 0.001 * np.percentile(bands.sum(1), 99)
    return np.asarray(decibels * loud[:, None])


def alike(said: np.ndarray, heard: np.ndarray) -> float:
    """How alike two voices are at best, -1 to 1, where both can be heard, whenever that came."""
    one, other = shapes(said), shapes(heard)
    other = np.pad(other, ((len(one), len(one)), (0, 0)))
    best = -1.0
    for late in range(len(other) - len(one)):
        piece = other[late : late + len(one)]
        both = piece.any(1) & one.any(1)
        if both.sum() >= 50:
            scale = np.linalg.norm(one[both]) * np.linalg.norm(piece[both])
            best = max(best, float((one[both] * piece[both]).sum() / scale))
    return best


def heard_by(page) -> Recording:
    text = page.evaluate("JSON.stringify(heard)")  # as a list it would take Playwright minutes
    samples = np.array(json.loads(text), np.float32) / np.float32(32_768)
    return Recording(samples, unix_s(page.evaluate("heardAt")))


def listen_anew(page) -> None:
    page.evaluate("heard = []; heardAt = null")
    page.wait_for_function("() => heardAt !== null")


@pytest.fixture
def talk(make, tmp_path) -> list[tuple[str, Clip, list[Recording]]]:
    """Ana and Ben at their pages and Zoe without one, each in turn: who, what, and each hearing."""
    ana, ben, zoe = make("ana", page=True), make("ben", page=True), make("zoe")
    ana_flags, ana_said = microphone(tmp_path, "ana", "0890")
    ben_flags, ben_said = microphone(tmp_path, "ben", "0930")
    zoe_said = write_clip(tmp_path / "zoe.wav", librivox("0870")[: 48_000 * SPOKEN_S], rate=48_000)
    said: list[tuple[str, Clip, list[Recording]]] = []
    with (
        chromiums(ana_flags, ben_flags) as (first, second),
        tab(first, ana) as at_ana,
        tab(second, ben) as at_ben,
    ):
        open_room(at_ana)
        gather(ana, ben, zoe)
        at_ben.wait_for_selector(".stage")
        at_ben.click("h1")  # a browser keeps a page quiet until it is touched
        turns = (("ana", at_ana, at_ben, ana_said), ("ben", at_ben, at_ana, ben_said))
        for name, page, other, sound in turns:
            ear = Ear(zoe, tmp_path / "heard.wav")
            listen_anew(other)
            page.click("#mic")
            wait_live(page, True)
            clip = Clip(sound, unix_s(page.evaluate("openedAt")))
            page.wait_for_timeout(1_000 * (SPOKEN_S + 3))
            page.click("#mic")
            wait_live(page, False)
            said.append((name, clip, [Recording(*ear.stop()), heard_by(other)]))
        for page in (at_ana, at_ben):
            listen_anew(page)
        began = zoe.asked("say", path=str(zoe_said))["began_mono_s"]
        at_ana.wait_for_timeout(1_000)
        said.append(
            ("zoe", Clip(read_sound(zoe_said), began), [heard_by(at_ana), heard_by(at_ben)])
        )
    return said


def test_two_pages_and_a_headless_node_each_hear_whoever_speaks(talk):
    """Whose words they are, even where a busy machine loses half of them."""
    for name, _, recordings in talk:
        for recording in recordings:
            found = {other: alike(clip.sound, recording.sound) for other, clip, _ in talk}
            assert max(found, key=found.__getitem__) == name, found


@pytest.mark.realtime
def test_two_pages_and_a_headless_node_understand_one_another(talk):
    for name, clip, recordings in talk:
        for recording in recordings:
            assert understood(clip, recording) >= UNDERSTOOD_MIN, name


def person_of(node, other):
    return next(each for each in node.asked("members")["members"] if each["name"] == other)


def test_a_hand_leads_to_the_stage_where_one_arrives_muted(make):
    zoe, lucie = make("zoe"), make("lucie", page=True)
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        zoe.asked("open", title="Tea", stage="invited")
        gather(zoe, lucie)
        page.wait_for_selector("#hand >> text=Raise hand")
        assert page.locator("#mic").count() == 0
        page.keyboard.press("h")
        page.get_by_label("What would you like to say?").fill("one song")
        page.keyboard.press("Enter")
        until(lambda: person_of(zoe, "lucie")["hand"] is not None, "the hand")
        assert person_of(zoe, "lucie")["hand"] == {"topic": "one song", "place": 1}
        page.wait_for_selector("#hand >> text=Lower hand · 1st")
        zoe.asked("invite", who="lucie")
        wait_live(page, False)  # on the stage, and nothing opened by itself
        assert page.evaluate("asked") == 0
        until(lambda: person_of(zoe, "lucie")["on_stage"], "the stage")
        page.click("#mic")
        wait_live(page, True)
        until(lambda: not person_of(zoe, "lucie")["muted"], "zoe seeing it")
        page.click("#act-stepDown")
        page.wait_for_selector("#hand >> text=Come up")
        until(lambda: not person_of(zoe, "lucie")["on_stage"], "the audience")


def test_who_is_muted_by_the_host_is_let_go_by_the_microphone_and_told_by_whom(make):
    zoe, lucie = make("zoe"), make("lucie", page=True)
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        zoe.asked("open", title="Tea")
        gather(zoe, lucie)
        page.click("#mic")
        wait_live(page, True)
        zoe.asked("role", who="lucie", role="muted")
        page.wait_for_selector("#mic >> text=Muted by zoe")
        page.wait_for_selector("[role=alert] >> text=zoe muted you.")
        until(lambda: lucie.me()["muted"], "muted")
        page.wait_for_function("tracks.every((each) => each.readyState === 'ended')")
        zoe.asked("unmute_all")
        wait_live(page, False)  # may speak again, by hand


def test_who_is_removed_is_out_silent_and_told_why(make):
    zoe, lucie = make("zoe"), make("lucie", page=True)
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        zoe.asked("open", title="Tea")
        gather(zoe, lucie)
        page.click("#mic")
        wait_live(page, True)
        zoe.asked("role", who="lucie", role="remove")
        page.wait_for_selector(".problem[role=alert]")
        assert page.locator(".stage, .roombar").count() == 0
        page.wait_for_function("tracks.every((each) => each.readyState === 'ended')")
        until(lambda: zoe.others() == {}, "zoe being alone")


def test_a_page_runs_a_room_from_the_face_of_a_person(make):
    lucie, ben = make("lucie", page=True), make("ben")
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        open_room(page)
        gather(lucie, ben)
        peer = ben.asked("id")["peer_id"]
        page.locator(f'[data-peer="{peer}"] button').click()
        page.get_by_role("button", name="Mute for everyone").click()
        page.locator(".confirm").get_by_role("button", name="Mute for everyone").click()
        until(lambda: ben.me()["role"] == "muted", "ben being muted")
        page.locator("dialog").get_by_role("button", name="Let them speak again").click()
        until(lambda: ben.me()["role"] == "speaker", "ben being heard again")
        page.locator("dialog").get_by_role("button", name="Move to audience").click()
        until(lambda: ben.me()["role"] == "listener", "ben listening")
        page.locator("dialog").get_by_role("button", name="Invite to stage").click()
        until(lambda: ben.me()["invited"], "ben being invited")
        page.keyboard.press("Escape")
        page.wait_for_selector(f'.audience [data-peer="{peer}"][data-state=invited]')
        ben.asked("accept")
        page.wait_for_selector(f'.stage [data-peer="{peer}"]')


def test_who_knocks_at_a_closed_room_waits_and_is_let_in_muted(make):
    lucie, ben = make("lucie", page=True), make("ben")
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        link = ben.asked("open", title="Tea", access="closed")["link"]
        page.get_by_role("button", name="Join by link").click()
        page.get_by_label("Link, room id").fill(link)
        page.get_by_role("button", name="Join, muted").click()
        page.wait_for_selector("text=Waiting at the door.")
        assert page.locator("#mic, .stage").count() == 0
        until(lambda: ben.asked("lobby")["people"], "the knock")
        ben.asked("admit", who="lucie")
        page.wait_for_selector(".chip >> text=Sealed: only people here can hear")
        until(lambda: lucie.is_connected_to(1), "a link")
        assert lucie.me()["muted"]
        assert page.evaluate("asked") == 0


def test_a_page_opens_a_closed_room_invites_and_lets_in_who_knocks(make):
    lucie, ben, zoe = make("lucie", page=True), make("ben"), make("zoe")
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        page.get_by_role("button", name="Open a room").first.click()
        page.get_by_label("What is it about?").fill("Tea")
        page.get_by_text("Only people you invite").click()
        page.get_by_text("People I invite").click()
        page.get_by_role("button", name="Open it, muted").click()
        page.wait_for_selector(".stage")
        assert lucie.asked("status")["access"] == "closed"
        assert lucie.asked("status")["stage"] == "invited"
        page.get_by_role("button", name="Share").click()
        page.locator("dialog svg.qr").wait_for()
        page.get_by_role("button", name="Make an invitation").click()
        page.wait_for_selector("text=Leads in whoever has it, until")
        ben.asked("join", room=page.inner_text("#invite"))
        page.keyboard.press("Escape")
        page.wait_for_selector(".audience >> text=ben")
        knock = iter(zoe.begin("join", room=lucie.asked("status")["link"]))
        assert next(knock)["event"] == "knocking"
        page.get_by_role("tab", name="Hands").click()
        page.get_by_role("button", name="Let zoe in").click()
        page.wait_for_selector(".audience >> text=zoe")
        assert list(knock) == []  # it waits no more


def test_two_people_write_to_one_another(make):
    lucie, ben = make("lucie", page=True), make("ben")
    with chromium(GRANTED) as browser, tab(browser, lucie) as page:
        open_room(page)
        gather(lucie, ben)
        page.get_by_label("Message the room").fill("Hello <b>ben</b>")
        page.keyboard.press("Enter")
        until(lambda: ben.asked("messages")["messages"], "the words")
        assert ben.asked("messages")["messages"][0]["text"] == "Hello <b>ben</b>"
        ben.asked("chat", text="<i>Hello</i> lucie")
        row = page.locator(".message", has_text="<i>Hello</i> lucie")
        row.get_by_role("button", name="What to do").click()
        row.get_by_role("button", name="Delete").click()
        until(lambda: ben.asked("messages")["messages"][1]["deleted"], "it being taken back")
