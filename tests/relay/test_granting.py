"""A relay grant as an operator makes it, from its text to the room that is carried by it."""

from typing import Any

import pytest

from p2phouse.drive import clock
from p2phouse.hall.relay_ask import Verdict
from p2phouse.record.types import GrantOf
from p2phouse.room import messages
from p2phouse.verbs.relays import GrantUnreadable, read_text
from p2phouse_relay.granting import NoSuchKey, WhoseGrant, make
from p2phouse_relay.policy import Charter
from tests.relay.test_carrying import at, people, relay
from tests.relay.test_policy import ME, NOW

USUAL: dict[str, Any] = {"listeners": 50, "kbps": 9_000, "days": 30, "any_relay": False}


def test_it_is_for_a_person_or_for_a_room_and_for_neither_both_nor_none():
    for person, room in (("", ""), ("ab" * 32, "cd" * 32)):
        with pytest.raises(WhoseGrant):
            make(ME, NOW, person=person, room=room, **USUAL)
    for wrong in ("zoe", "ab" * 31):
        with pytest.raises(NoSuchKey):
            make(ME, NOW, person=wrong, room="", **USUAL)


def test_what_was_cut_off_is_no_relay_grant():
    text = make(ME, NOW, person="ab" * 32, room="", **USUAL)
    with pytest.raises(GrantUnreadable):
        read_text(text[:-9])
    assert read_text("") is None


async def test_with_it_a_stranger_s_room_is_carried_by_a_relay_that_knows_only_its_list(tmp_path):
    async with relay(tmp_path, Charter()) as its, people(tmp_path, "ana") as (ana,):
        await ana.shell.act(messages.Open("Tea"))
        found = await ana.relays.find(at(its))
        assert (await ana.relays.give(found, None)).verdict is Verdict.NOT_LISTED
        text = make(its.me, clock(), person=ana.me.uid.hex(), room="", **USUAL)
        grant = read_text(text)
        assert grant is not None
        assert grant.record.of is GrantOf.PERSON
        said = await ana.relays.give(found, grant)
        assert (said.verdict, said.listeners, said.kbps) == (Verdict.CARRIED, 50, 9_000)
