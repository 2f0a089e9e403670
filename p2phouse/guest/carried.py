"""The rooms of nodes that are carried here, by the names under which guests come to them."""

from p2phouse.channel import GuestRole
from p2phouse.guest.capacity import Crowding
from p2phouse.guest.exchange import Reply, said
from p2phouse.guest.facts import NodeRoom, SealedRoom


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

    def refusal(self, name: str, role: GuestRole) -> Reply | None:
        """Why a guest has no place in the room at all."""
        # Security: whom the room's people do not let in hears nothing of it, nor speaks there.
        # Test: test_carried.py::test_a_sealed_room_answers_403_with_words_and_nothing_else
        if isinstance(self.facts(name), SealedRoom):
            return said(403, "this room is sealed: open it with p2phouse")
        if role is GuestRole.SPEAKER and name in self._rooms:
            return said(403, "people with p2phouse speak here; who has a browser listens")
        return None
