"""The verb `members` in a crowd: an answer has room for so many, and the page for their levels."""

import json
from dataclasses import replace

from p2phouse.room.soft import Hand
from p2phouse.verbs.members import LISTED_MAX, pulse
from p2phouse.vocabulary import DeviceKey
from tests.asked import TableNode
from tests.room.table import Table

ANSWER_BYTES_MAX = 256 * 1024


async def test_of_a_crowd_so_many_are_listed_and_who_wants_to_speak_is_among_them():
    table = Table()
    table.open()
    ann = table.person("ann")
    table.let_in(ann)
    membership = table.rooms.membership
    assert membership is not None
    known = membership.members[ann.dev]
    silent = replace(known, speak=None)
    for number in range(LISTED_MAX - 2):
        dev = DeviceKey(number.to_bytes(32, "big"))
        membership.members[dev] = replace(silent, dev=dev)
    node = TableNode(table)
    found = await node.asked("members")
    assert (len(found["members"]), found["people"]) == (LISTED_MAX, LISTED_MAX)
    for number in range(LISTED_MAX, 2 * LISTED_MAX):
        dev = DeviceKey(number.to_bytes(32, "big"))
        membership.members[dev] = replace(silent, dev=dev)
    membership.members[dev].soft = replace(silent.soft, hand=Hand("me", 1, 1.0))
    found = await node.asked("members")
    assert (len(found["members"]), found["people"]) == (LISTED_MAX, 2 * LISTED_MAX)
    assert found["members"][0]["you"]
    assert any(each.get("hand") for each in found["members"])
    assert len(json.dumps(found)) < ANSWER_BYTES_MAX
    assert len(pulse(node)["levels"]) <= 2, "of those who have no voice there is no level"
