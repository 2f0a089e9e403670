"""To whom what we hear is passed on, so that in the end everybody has it.

Who writes something sends it to everybody linked. Passing on mends what such a link has lost: of
up to eight people each passes it on to all. Of more, that would be hundreds of copies, and each
passes it on to the hub, its standby and three others by a hash of the pair. Digests find the rest.
"""

from hashlib import sha256
from typing import Final

from p2phouse.record import limits
from p2phouse.room.state import Membership
from p2phouse.vocabulary import DeviceKey

OTHERS: Final = 3


def linked(membership: Membership) -> list[DeviceKey]:
    """Members whose room link is up."""
    return [dev for dev in membership.links if membership.is_up(dev)]


def stage(membership: Membership) -> list[DeviceKey]:
    """Those of them who are no listeners of ours."""
    return [dev for dev in linked(membership) if not membership.is_audience(dev)]


def audience(membership: Membership) -> list[DeviceKey]:
    """Our listeners, if we carry the room."""
    return [dev for dev in linked(membership) if membership.is_audience(dev)]


def onward(membership: Membership, own: DeviceKey) -> list[DeviceKey]:
    """Those of them to whom we pass on what others have told us."""
    if membership.is_listener:
        return []  # its hub and standby have told it
    devs = stage(membership)
    if membership.is_split and membership.is_carrier:
        return devs  # what listeners have said they hear from us alone
    if membership.count <= limits.MESH_MEMBERS_MAX:
        return devs

    def rank(dev: DeviceKey) -> bytes:
        return sha256(membership.room + min(own, dev) + max(own, dev)).digest()

    carriers = [dev for dev in devs if membership.carries(dev)]
    return carriers + sorted((dev for dev in devs if dev not in carriers), key=rank)[:OTHERS]
