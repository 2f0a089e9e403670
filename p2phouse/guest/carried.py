"""The rooms of nodes that are carried here, by the names under which guests come to them."""

from p2phouse.guest import tokens
from p2phouse.guest.capacity import Crowding
from p2phouse.guest.exchange import Reply, Request, said
from p2phouse.guest.facts import NodeRoom, SealedRoom
from p2phouse.vocabulary import Now


class Carried:
    """What is so now, and whom that keeps out."""

    def __init__(self) -> None:
        self._rooms: dict[str, tuple[NodeRoom | SealedRoom, int]] = {}
        self._crowding: dict[str, Crowding] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._rooms

    def put(self, name: str, facts: NodeRoom | SealedRoom, number: int) -> None:
        """number: by which media knows the room."""
        self._rooms[name] = facts, number

    def drop(self, name: str) -> None:
        self._rooms.pop(name, None)
        self._crowding.pop(name, None)

    def crowd(self, name: str, crowding: Crowding) -> None:
        if name in self._rooms:
            self._crowding[name] = crowding

    def crowding(self, name: str) -> Crowding | None:
        """None if nobody has said how full it is."""
        return self._crowding.get(name)

    def facts(self, name: str) -> NodeRoom | SealedRoom | None:
        """None if it is no room of nodes."""
        return self._rooms.get(name, (None, 0))[0]

    def number(self, name: str) -> int:
        """0 if it is no room of nodes, or none that guests may hear."""
        facts, number = self._rooms.get(name, (None, 0))
        return number if isinstance(facts, NodeRoom) else 0

    def refusal(self, name: str) -> Reply | None:
        """Why no guest has a place in the room."""
        # Security: whom the room's people do not let in hears nothing of it, nor speaks there.
        # Test: test_carried.py::test_a_sealed_room_answers_403_with_words_and_nothing_else
        if isinstance(self.facts(name), SealedRoom):
            return said(403, "this room is sealed: open it with p2phouse")
        return None

    def refusal_to_speak(self, now: Now, name: str, seed: bytes | None) -> Reply | None:
        """Why whoever shows this seed does not speak in the room. The room is not sealed."""
        facts = self.facts(name)
        assert isinstance(facts, NodeRoom)
        if seed is None:
            bearer = ("www-authenticate", "Bearer")
            return said(401, "who runs the room gives tokens: p2phouse guest-token", bearer)
        # Security: nobody speaks among nodes but whom the room's log names.
        # Test: test_carried.py::test_nobody_speaks_among_nodes_whom_the_room_does_not_name
        if tokens.person_of(seed, now) not in facts.voices:
            return said(403, "the room does not let whoever has this token speak")
        return None


def seed_in(request: Request) -> bytes | None:
    """That of the token which is shown; None if there is none."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    return tokens.read(text.strip()) if kind.lower() == "bearer" else None
