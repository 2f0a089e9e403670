"""How the command line says who carries a room; and, with a real node, that it is asked at all."""

import pytest

from p2phouse.cli.carrying import carried
from tests.e2e.nodes import until
from tests.typed import said, told, two_nodes

ANA = {"peer_id": "a", "name": "Ana", "me": False}
BEN = {"peer_id": "b", "name": "Ben", "me": False}
ME = {"peer_id": "m", "name": "Zoe", "me": True}


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"people": 1}, []),
        ({"people": 2}, ["direct: each sends its voice to everybody"]),
        ({"people": 9, "hub": ANA}, ["carried by Ana"]),
        (
            {
                "people": 9,
                "hub": ANA,
                "standby": BEN,
                "carried_text": "now carried by Ana: nearest",
            },
            ["now carried by Ana: nearest", "Ben takes over at once if Ana stops"],
        ),
        (
            {"people": 9, "hub": ANA, "standby": ME},
            ["carried by Ana", "you take over at once if Ana stops"],
        ),
        (
            {"people": 9, "hub": ME, "standby": BEN, "carrying": {"people": 8, "kbps": 1_240}},
            [
                "carried by you",
                "Ben takes over at once if your node stops",
                "you carry this room: 8 people, 1.2 Mb/s (p2phouse carry never: no more)",
            ],
        ),
        (
            {"people": 9, "needs_relay": True},
            [
                "direct: each sends its voice to everybody",
                "This room needs a relay: nobody here can carry 9 people.",
                "Who has a good connection may: plug the machine in, then p2phouse carry auto",
            ],
        ),
    ],
)
def test_who_carries_a_room_and_why_is_said_in_lines(facts, lines):
    assert list(carried(facts)) == lines


@pytest.mark.slow
@pytest.mark.nightly
def test_the_switch_and_the_room_are_asked_of_a_node():
    with two_nodes() as (ana, ben):
        assert said(ana, "carry").startswith("You carry a room of yours that outgrows its links")
        assert said(ana, "carry", "never", "--cap", "1.5") == (
            "You never carry the voices of others.\n"
        )
        code, facts = told(ana, "carry", "auto", "--metered")
        assert (code, facts["cap_kbps"], facts["willing"]) == (0, 1_500, False)
        assert "not now: your network is metered." in said(ana, "carry")
        assert told(ana, "carry", "sometimes")[0] == 2
        assert told(ana, "carry", "--cap", "0")[0] == 2
        room = told(ana, "open", "Tea")[1]["room"]
        until(lambda: ben.sees(room), "seeing the room")
        said(ben, "join", room[:8])
        until(lambda: ana.is_connected_to(1), "a link")
        assert said(ana, "room").splitlines() == [
            "“Tea”",
            "open, 2 here, 2 on stage",
            "you: creator, muted",
            "direct: each sends its voice to everybody",
        ]
        assert said(ana, "members").splitlines()[-1] == "direct: each sends its voice to everybody"
