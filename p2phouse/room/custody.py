"""What this node keeps in mind of the keys of the room it is in. No behaviour here.

It lives as long as the membership: nothing of it is kept over a restart (docs/protocol.md §4).
"""

import math
from dataclasses import dataclass, field

from p2phouse.record.envelope import Signed
from p2phouse.record.types import Identity
from p2phouse.room.epochs import Epochs, Known, Live
from p2phouse.room.rules import RoomState
from p2phouse.vocabulary import DeviceKey, RecordId


@dataclass(slots=True)
class Custody:
    epochs: Epochs | None = None  # None in rooms whose key is public, until they are sealed
    told: tuple[Live | None, tuple[Live, ...]] | None = None  # as media knows it
    identities: dict[DeviceKey, Signed[Identity]] = field(default_factory=dict)  # of who runs it
    present: dict[DeviceKey, RecordId] = field(default_factory=dict)  # admitted, by their join

    best: Known | None = None  # as when we last looked
    left_at: float = math.inf  # when somebody left who holds it
    joined_at: float = math.inf  # when somebody came who shall not read what was before him
    was_open: bool = False  # the room was, since we came
    random_at: float = -math.inf  # when the last epoch of chance began
    lacking_at: float = math.inf  # since when we hold no epoch that covers, or not the greatest
    is_covered: bool = False  # whether any epoch covers, held or not
    stuck_at: float = math.inf  # since when somebody admitted may not be given the one there is
    not_before: float = -math.inf  # when we may make the next one
    give_at: float = -math.inf  # when some more may be given it
    ask_at: float = math.inf
    asked: int = 0  # how often, since we lack it
    ask_voice_at: float = -math.inf
    state: RoomState | None = None  # of the log, when its removals were looked for
    removed: frozenset[RecordId] = frozenset()
    deadline: float = math.inf
