"""What guests and nodes of one room take together, and whether it has a place for one guest more.

A guest of a room of nodes counts as a listener of it, on the account of whoever had it carried.
"""

from collections.abc import Mapping
from typing import Final

from p2phouse.guest.capacity import Crowding
from p2phouse.guest.resources import Guests
from p2phouse.hall.invitation import room_text
from p2phouse.vocabulary import UserKey
from p2phouse_relay.carrying import Carrying
from p2phouse_relay.quota import Place, Whose

VOICE_KBPS: Final = 58  # 80 bytes of Opus and 64 of RTP, SRTP, UDP and IP, fifty times a second


def share(carrying: Carrying, guests: Guests, pages: Mapping[UserKey, str]) -> None:
    """To be called about once a second. pages: other relays, by what a room's log calls them."""
    for stay in carrying.stays.values():
        name, membership = room_text(stay.room), stay.shell.rooms.membership
        here = guests.room(name)
        if here is None or membership is None or stay.room not in carrying.ledger.loads:
            continue
        voices = sum(map(bool, here.slots))
        kbps = here.listeners * voices * VOICE_KBPS
        carrying.ledger.visited(stay.room, guests=here.listeners, kbps=kbps)
        place = carrying.ledger.place_for(stay.room, Whose.NEW)
        named = membership.log.state.relays
        also_at = tuple(page for uid, page in pages.items() if uid in named)
        is_nearly, is_full = place is not Place.HERE, place is Place.NOWHERE
        guests.crowd(name, Crowding(is_nearly, is_full, also_at))
