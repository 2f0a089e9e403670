"""The verbs about who comes in and whom one follows, asked of a node with a real core."""

import pytest

from p2phouse.api import BadRequest
from p2phouse.hall import invitation
from p2phouse.identity.keys import key_tag, peer_id
from p2phouse.people.book import ListDamaged
from p2phouse.record.types import Access
from p2phouse.room import messages
from p2phouse.room.admission import NobodyWaits
from p2phouse.room.invites import NotSealed
from p2phouse.room.log import MayNot, NoSeat
from p2phouse.room.stay import NotInARoom
from p2phouse.verbs.following import NameNotPlain, NobodyKnown, NotFollowed, YouYourself
from tests.asked import TableNode
from tests.room.door.knocking import knock
from tests.room.table import Person, Table
from tests.room.test_stay import let_us_in, list_room


@pytest.fixture
def node(tmp_path) -> TableNode:
    table = Table()
    table.open(access=Access.CLOSED)
    return TableNode(table, tmp_path)


@pytest.fixture
def ann(node: TableNode) -> Person:
    person = node.table.person("ann")
    knock(node.table, person)
    return person


@pytest.mark.parametrize("verb", ["lobby", "invite_link", "admit", "refuse", "access"])
async def test_outside_a_room_nobody_waits(verb, tmp_path):
    arguments = {"admit": {"who": "ann"}, "refuse": {"who": "ann"}, "access": {"value": "open"}}
    with pytest.raises(NotInARoom):
        await TableNode(Table(), tmp_path).asked(verb, **arguments.get(verb, {}))


@pytest.mark.parametrize("access", ["open", "social", "closed", "lan"])
async def test_a_room_is_opened_for_whom_it_says(access, tmp_path):
    node = TableNode(Table(), tmp_path)
    facts = await node.asked("open", title="Tea", access=access)
    assert facts["access"] == access
    assert "network address" in facts["exposure"]
    assert facts["lobby_count"] == 0
    assert {"lobby", "admit", "refuse", "invite_link"} <= set(facts["may"])
    assert ("access" in facts["may"]) == (access != "lan")


async def test_lan_may_be_said_in_the_old_way_and_nonsense_in_none(tmp_path):
    node = TableNode(Table(), tmp_path)
    with pytest.raises(BadRequest):
        await node.asked("open", title="Tea", access="secret")
    assert (await node.asked("open", title="Tea", lan=True))["access"] == "lan"


async def test_who_waits_is_listed_with_a_face_and_let_in_by_any_of_three_names(node):
    for name in ("name", "tag", "peer"):
        ann = node.table.person(name)
        knock(node.table, ann)
        node.table.wait(3)
        (waiting,) = (await node.asked("lobby"))["people"]
        assert waiting == {
            "name": name,
            "uid": ann.me.uid.hex(),
            "key_tag": key_tag(ann.me.uid),
            "peer_id": peer_id(ann.dev),
            "waits_s": waiting["waits_s"],
            "invited": False,
            "followed": False,
        }
        by = {"name": name, "tag": waiting["key_tag"], "peer": waiting["peer_id"]}[name]
        assert len((await node.asked("admit", who=by))["entries"]) == 1
        assert (await node.asked("lobby"))["people"] == []
    assert (await node.asked("members"))["people"] == 4


async def test_who_is_refused_waits_no_more(node, ann):
    assert await node.asked("refuse", who="ann") == {}
    with pytest.raises(NobodyWaits):
        await node.asked("refuse", who="ann")


async def test_an_invite_is_a_link_with_an_end(node):
    facts = await node.asked("invite_link", hours=1, once=True)
    assert invitation.read(facts["link"]).invite
    assert facts["expires"] == int(node.table.unix) + 3_600
    assert facts["once"]
    for hours in (0, 25):
        with pytest.raises(BadRequest):
            await node.asked("invite_link", hours=hours)


async def test_access_changes_and_is_told(node):
    with pytest.raises(BadRequest):
        await node.asked("access", value="lan")
    await node.asked("access", value="open")
    assert (await node.asked("members"))["access"] == "open"
    with pytest.raises(NotSealed):
        await node.asked("invite_link")


async def test_only_who_hosts_says_who_may_come_in(tmp_path):
    table, host = Table(), Table(seed=3).person("host")
    list_room(table, host)
    node = TableNode(table, tmp_path)
    table.ask(messages.Join("tea"))
    let_us_in(table, host)
    with pytest.raises((NoSeat, MayNot)):
        await node.asked("access", value="closed")


async def test_a_code_is_a_square_of_its_size(node):
    facts = await node.asked("qr", text=(await node.asked("invite_link"))["link"])
    assert facts["size"] == len(facts["rows"]) == len(facts["rows"][0])
    with pytest.raises(BadRequest):
        await node.asked("qr", text="")


# ── following ────────────────────────────────────────────────────────────────────────────────


async def test_who_waits_or_is_here_is_followed_by_name_and_marked(node, ann):
    facts = await node.asked("follow", who="ann")
    assert facts == {"uid": ann.me.uid.hex(), "key_tag": key_tag(ann.me.uid), "name": "ann"}
    assert (await node.asked("following"))["people"] == [facts]
    assert (await node.asked("lobby"))["people"][0]["followed"]
    await node.asked("admit", who="ann")
    ours, hers = (await node.asked("members"))["members"]
    assert hers["followed"]
    assert "followed" not in ours
    await node.asked("follow", who=key_tag(ann.me.uid), name="Ann  of the\u00a0café")
    assert (await node.asked("following"))["people"][0]["name"] == "Ann of the café"
    assert (await node.asked("unfollow", who="ANN OF THE CAFÉ"))["uid"] == ann.me.uid.hex()
    assert (await node.asked("following"))["people"] == []
    assert not (await node.asked("members"))["members"][1]["followed"]


async def test_anybody_is_followed_by_a_whole_key_and_a_host_by_its_tag(tmp_path):
    table, host = Table(), Table(seed=3).person("host")
    list_room(table, host)
    node = TableNode(table, tmp_path)
    uid = (b"u" * 32).hex()
    assert (await node.asked("follow", who=uid.upper()))["uid"] == uid
    assert (await node.asked("follow", who=key_tag(host.me.uid)))["uid"] == host.me.uid.hex()


async def test_rooms_of_whom_one_follows_stand_first(tmp_path, monkeypatch):
    table = Table()
    monkeypatch.setattr("p2phouse.verbs.room.clock", lambda: table.now)
    people = [Table(seed=seed).person(f"p{seed}") for seed in (3, 4, 5)]
    for seq, person in enumerate(people, 1):
        list_room(table, person, seq=seq, title=f"Room {seq}")
    node = TableNode(table, tmp_path)
    monkeypatch.setattr("p2phouse.verbs.following.clock", lambda: table.now)
    rooms = (await node.asked("rooms"))["rooms"]
    assert [(each["title"], each["followed"]) for each in rooms] == [
        ("Room 3", False),
        ("Room 2", False),
        ("Room 1", False),
    ]
    await node.asked("follow", who=key_tag(people[0].me.uid))
    rooms = (await node.asked("rooms"))["rooms"]
    assert [(each["title"], each["followed"]) for each in rooms] == [
        ("Room 1", True),
        ("Room 3", False),
        ("Room 2", False),
    ]


async def test_nobody_unknown_and_not_oneself_is_followed(node):
    with pytest.raises(NobodyKnown):
        await node.asked("follow", who="ann")
    with pytest.raises(YouYourself):
        await node.asked("follow", who="me")
    with pytest.raises(YouYourself):
        await node.asked("follow", who=node.me.uid.hex())
    with pytest.raises(NotFollowed):
        await node.asked("unfollow", who="ann")


async def test_a_name_that_nobody_could_read_is_refused(node, ann):
    with pytest.raises(NameNotPlain):
        await node.asked("follow", who="ann", name="a\u202eb")
    with pytest.raises(BadRequest):
        await node.asked("follow", who="ann", name="n" * 41)


async def test_a_damaged_list_is_told_by_every_verb_and_stays(node, ann, tmp_path):
    path = tmp_path / "following.cbor"
    path.write_bytes(b"rubbish")
    path.chmod(0o600)
    for verb, who in (("follow", "ann"), ("unfollow", "ann"), ("following", None)):
        with pytest.raises(ListDamaged):
            await node.asked(verb, **({"who": who} if who else {}))
    assert path.read_bytes() == b"rubbish"
