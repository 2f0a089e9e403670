"""relay.toml: what `init` writes is understood, and what is not understood is an error by name."""

import os
import re
import stat

import pytest

from p2phouse_relay.home import make_home
from p2phouse_relay.settings import (
    FILE_NAME,
    NoSettings,
    SettingsThere,
    SettingsWrong,
    read_settings,
    understood,
)

GIVEN = {
    "name": "Radio “Libre”\\",
    "domain": "audio.example.org",
    "address": "203.0.113.5",
    "contact": "abuse@example.org",
}


@pytest.fixture
def home(tmp_path):
    make_home(str(tmp_path / "relay"), **GIVEN)
    return tmp_path / "relay"


def test_what_init_writes_is_understood_as_it_was_given(home):
    its = read_settings(home)
    assert (its.name, its.domain, its.addresses) == (
        GIVEN["name"],
        GIVEN["domain"],
        (GIVEN["address"],),
    )
    assert its.tls is not None
    assert its.page == "https://audio.example.org"
    assert its.terms.rooms is not None
    (room,) = its.terms.rooms.values()
    assert room.speak is not None
    assert room.speak in (home / FILE_NAME).read_text()
    assert room.listen is None
    assert "every" not in repr(its)
    assert room.speak not in repr(its)


def test_a_home_is_for_its_owner_alone_and_has_a_key(home):
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for each in home.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
    assert (home / "identity.cbor").exists()


def test_settings_that_are_there_stay_as_they_are(home):
    before = (home / FILE_NAME).read_bytes()
    with pytest.raises(SettingsThere):
        make_home(str(home), **GIVEN)
    assert (home / FILE_NAME).read_bytes() == before


def test_every_home_has_tokens_of_its_own(home, tmp_path):
    make_home(str(tmp_path / "other"), **GIVEN)
    assert (home / FILE_NAME).read_text() != (tmp_path / "other" / FILE_NAME).read_text()


def test_processes_with_sound_have_the_ports_that_follow_and_room_for_more_guests(home):
    text = (home / FILE_NAME).read_text()
    assert read_settings(home).udp_ports == range(8478, 8479)
    its = understood(home, text.replace("# processes = 1", "processes = 3"))
    assert its.udp_ports == range(8478, 8481)
    assert its.terms.guests_max == 3 * read_settings(home).terms.guests_max
    for wrong in ("processes = 0", "processes = 33", "proceses = 2", 'processes = "2"'):
        with pytest.raises(SettingsWrong, match=r"media\.proces"):
            understood(home, text.replace("# processes = 1", wrong))
    high = text.replace("udp_port = 8478", "udp_port = 65535")
    understood(home, high)
    with pytest.raises(SettingsWrong, match="udp_port"):
        understood(home, high.replace("# processes = 1", "processes = 2"))


def test_settings_that_others_may_read_are_refused(home):
    os.chmod(home / FILE_NAME, 0o640)
    with pytest.raises(SettingsWrong, match="chmod 600"):
        read_settings(home)


def test_a_home_without_settings_says_what_to_do(tmp_path):
    with pytest.raises(NoSettings, match="init"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("line", "instead", "word"),
    [
        (r"^name = .*", "", "name is missing"),
        (r"^name = .*", 'name = ""', "name has to be text"),
        (r"^name = .*", 'name = "a\\u0007"', "name has to be text"),
        (r"^domain = .*", 'domain = "no domain"', "domain has to be a name"),
        (r"^addresses = .*", "addresses = []", "addresses has to name"),
        (r"^addresses = .*", 'addresses = ["example.org"]', "example.org is no IP address"),
        (r"^addresses = .*", "addresses = [5]", "list of texts"),
        (r"^udp_port = .*", "udp_port = 70000", "udp_port has to be a number"),
        (r"^udp_port = .*", "udp_port = true", "udp_port has to be a number"),
        (r"^udp_port = .*", "udp_prot = 1", "udp_prot is no setting"),
        (r"^# guests = .*", "guest = 5", "limits.guest is no setting"),
        (r"^key = .*", "", "tls.key is missing"),
        (r"^key = .*", 'key = "x"\nproxy = true', "tls.certificate is no setting"),
        (r"^speak = .*", 'speak = "short"', "at least 16 characters"),
        (r"^speak = .*", "", "rooms.lobby.speak is missing"),
        (r"^\[rooms.lobby\]", '[rooms."two words"]', "a room's name has"),
        (r"^# also_at = .*", 'also_at = ["http://b.example"]', "rooms.lobby.also_at names relays"),
        (r"^\[limits\]", "[limits", "it is no TOML"),
    ],
)
def test_what_is_wrong_is_named(home, line, instead, word):
    text = (home / FILE_NAME).read_text()
    changed = re.sub(line, lambda _: instead, text, flags=re.MULTILINE)
    assert changed != text
    with pytest.raises(SettingsWrong, match=re.escape(word)):
        understood(home / FILE_NAME, changed)


def test_behind_a_proxy_there_is_no_certificate_and_another_port(home):
    text = (home / FILE_NAME).read_text()
    text = re.sub(r"^(certificate|key) = .*", "", text, flags=re.MULTILINE)
    its = understood(home / FILE_NAME, text.replace("# proxy = true", "proxy = true"))
    assert its.tls is None
    assert its.http_port == 8478
