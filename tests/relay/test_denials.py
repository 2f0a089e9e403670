"""What an operator does not carry: denied at once, lifted, run out, accounted for, and kept."""

import json
import math
import os
import stat
import tarfile
from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.identity.keys import peer_id
from p2phouse.vocabulary import DeviceKey
from p2phouse_relay import denials, home
from p2phouse_relay.daemon import running
from p2phouse_relay.denials import (
    DENIALS_MAX,
    Account,
    Denial,
    DenialsDamaged,
    NotDenied,
    NoticeUnreadable,
    ReasonUnusable,
    account,
    denied,
    keys_of,
    lifted,
    standing,
)
from p2phouse_relay.settings import NoSettings, SettingsThere
from tests.relay.test_relay import LISTEN, PLAIN, asked
from tests.relay.test_settings import GIVEN


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "relay"
    home.make_home(str(folder), **GIVEN)
    return folder


def test_a_denial_stands_until_it_is_lifted_or_runs_out():
    these = denied([], Denial("tea", "why", 100))
    these = denied(these, Denial("song", "for a day", 100, until=200))
    assert standing(these, 150) == {"tea": "why", "song": "for a day"}
    assert standing(these, 200) == {"tea": "why"}
    these = lifted(these, "tea", 300)
    assert standing(these, 300) == {}
    with pytest.raises(NotDenied):
        lifted(these, "tea", 301)
    these = denied(these, Denial("tea", "again", 400))
    assert standing(these, 400) == {"tea": "again"}


@pytest.mark.parametrize("reason", ["", "x" * 201, "two\nlines", "\u202eturned"])
def test_a_reason_is_one_line_that_can_be_read(reason):
    with pytest.raises(ReasonUnusable):
        denied([], Denial("tea", reason, 0))


def test_what_stands_is_never_forgotten_for_what_does_not():
    old = [Denial(f"room{n}", "why", 0, until=1) for n in range(DENIALS_MAX)]
    kept = denied([Denial("tea", "why", 0), *old], Denial("song", "why", 10))
    assert len(kept) == DENIALS_MAX
    assert standing(kept, 10) == {"tea": "why", "song": "why"}


def test_a_month_is_accounted_for():
    these = [
        Denial("a", "r", 5, notice="n"),
        Denial("b", "r", 15, notice="n"),
        Denial("c", "r", 15, lifted=18),
        Denial("d", "r", 15, until=19),
        Denial("e", "r", 25),
    ]
    assert account(these, 10, 20) == Account(denied=3, on_notice=1, lifted=1, standing=2)


@given(
    st.lists(
        st.builds(
            Denial,
            what=st.text(max_size=20),
            reason=st.text(max_size=20),
            since=st.floats(0, 1e9),
            until=st.floats(0, 1e9) | st.just(math.inf),
            notice=st.text(max_size=5),
            lifted=st.none() | st.floats(0, 1e9),
        ),
        max_size=5,
    )
)
def test_the_file_gives_back_what_was_written(tmp_path_factory, these):
    folder = tmp_path_factory.mktemp("home")
    denials.write(folder, these)
    assert denials.read(folder) == these


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"what": 1}]', "null"])
def test_a_damaged_file_is_named(tmp_path, text):
    row = {"what": "a", "reason": "b", "since": "x", "until": None, "notice": "", "lifted": None}
    for each in (text, json.dumps([row])):
        (tmp_path / denials.FILE_NAME).write_text(each)
        if each != "{}":
            with pytest.raises(DenialsDamaged):
                denials.read(tmp_path)


async def test_a_relay_that_runs_ends_a_room_that_is_denied_and_takes_it_again(made):
    async with running(replace(PLAIN, home=made)) as its:
        place = (await asked(its, "POST", "/whep/tea", LISTEN))[1]["location"]
        home.deny(str(made), "tea", reason="a notice of 3 May")
        with trio.fail_after(10):
            while (await asked(its, "GET", place))[0] != 404:  # noqa: ASYNC110 - nobody is told
                await trio.sleep(0.05)
        status, _, text = await asked(its, "POST", "/whep/tea", LISTEN)
        assert (status, "3 May" in text) == (403, True)
        assert (await asked(its, "GET", "/r/tea"))[0] == 404
        home.allow(str(made), "tea")
        with trio.fail_after(10):
            while (await asked(its, "GET", "/r/tea"))[0] != 200:  # noqa: ASYNC110 - nobody is told
                await trio.sleep(0.05)
    home.deny(str(made), "tea", reason="again", days=1)
    async with running(replace(PLAIN, home=made)) as its:
        assert (await asked(its, "POST", "/whep/tea", LISTEN))[0] == 403


def test_a_notice_is_kept_with_what_it_asked_for(made, tmp_path):
    notice = tmp_path / "letter.txt"
    notice.write_text("Please.")
    home.deny(str(made), "tea", reason="on notice", notice=notice)
    (one,) = denials.read(made)
    assert (made / "notices" / one.notice).read_text() == "Please."
    assert home.denials_now(str(made))[0]["until"] is None
    month = one.notice[:7]
    assert home.month_account(str(made), month)["on_notice"] == 1
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(NoticeUnreadable):
            home.deny(str(made), "song", reason="r", notice=wrong)
    with pytest.raises(home.BadMonth):
        home.month_account(str(made), "May")


def test_december_ends_with_the_year(made):
    assert home.month_account(str(made), "2026-12")["denied"] == 0


def test_keys_are_told_from_names_of_rooms():
    dev = DeviceKey(bytes(range(32)))
    uid = b"\x07" * 32
    assert keys_of(["tea", peer_id(dev), uid.hex(), "f" * 63, "g" * 64]) == {dev, uid}


# ── a copy of it all ─────────────────────────────────────────────────────────────────────────


def test_what_was_kept_makes_the_same_home_again_elsewhere(made, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("Please.")
    home.deny(str(made), "tea", reason="r", notice=letter)
    kept = tmp_path / "kept.tar.gz"
    home.backup(str(made), kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    other = tmp_path / "other"
    home.restore(str(other), kept)
    for path in made.rglob("*"):
        if path.is_file():
            again = other / path.relative_to(made)
            assert again.read_bytes() == path.read_bytes()
            assert stat.S_IMODE(again.stat().st_mode) == 0o600
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    with pytest.raises(SettingsThere):
        home.restore(str(other), kept)
    with pytest.raises(home.BackupFailed):
        home.backup(str(made), kept)


@pytest.mark.parametrize("name", ["../evil", "evil", "notices/../../evil", "/tmp/evil"])
def test_what_backup_would_not_write_is_not_restored(made, tmp_path, name):
    kept = tmp_path / "kept.tar.gz"
    with tarfile.open(kept, "w:gz") as archive:
        archive.add(made / "relay.toml", "relay.toml")
        archive.add(made / "relay.toml", name)
    with pytest.raises(home.BackupUnreadable):
        home.restore(str(tmp_path / "other"), kept)
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_backup_is_not_followed(made, tmp_path):
    kept = tmp_path / "kept.tar.gz"
    os.symlink("/etc/passwd", tmp_path / "link")
    with tarfile.open(kept, "w:gz") as archive:
        archive.add(made / "relay.toml", "relay.toml")
        archive.add(tmp_path / "link", "identity.cbor")
    with pytest.raises(home.BackupUnreadable):
        home.restore(str(tmp_path / "other"), kept)


def test_what_is_no_backup_and_a_home_that_is_none_are_named(tmp_path):
    (tmp_path / "rubbish").write_text("rubbish")
    with pytest.raises(home.BackupUnreadable):
        home.restore(str(tmp_path / "other"), tmp_path / "rubbish")
    with pytest.raises(NoSettings):
        home.deny(str(tmp_path / "none"), "tea", reason="r")
