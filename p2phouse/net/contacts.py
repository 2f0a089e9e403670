"""Where nodes of the distributed table can be dialled: proved, or told by others. Bounded."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from p2phouse.net.addresses import Address, IPNetwork, is_attached
from p2phouse.vocabulary import DeviceKey

CONTACTS_MAX: Final = 512
ADDRESSES_EACH_MAX: Final = 4

_Known = OrderedDict[DeviceKey, tuple[Address, ...]]


class Contacts:
    """Hearsay never displaces what was proved; whoever was named longest ago is forgotten first."""

    def __init__(self) -> None:
        self._proved: _Known = OrderedDict()
        self._told: _Known = OrderedDict()

    def prove(self, dev: DeviceKey, addresses: Sequence[Address]) -> None:
        """We reached it there, or it came from there and says that it listens."""
        _add(self._proved, dev, addresses)

    def tell(self, dev: DeviceKey, addresses: Sequence[Address]) -> None:
        """Somebody says so."""
        _add(self._told, dev, addresses)

    def proved(self, dev: DeviceKey) -> tuple[Address, ...]:
        return self._proved.get(dev, ())

    def all_proved(self) -> list[DeviceKey]:
        return list(self._proved)

    def addresses(self, dev: DeviceKey) -> list[Address]:
        """All that are known, proved ones first."""
        return list(dict.fromkeys((*self.proved(dev), *self._told.get(dev, ()))))


def _add(known: _Known, dev: DeviceKey, addresses: Sequence[Address]) -> None:
    if not addresses:
        return
    both = dict.fromkeys([*addresses, *known.pop(dev, ())])
    known[dev] = tuple(both)[:ADDRESSES_EACH_MAX]
    while len(known) > CONTACTS_MAX:
        known.popitem(last=False)


def reachable(
    addresses: Sequence[Address], networks: Sequence[IPNetwork], *, near: bool
) -> list[Address]:
    """Of these the ones of use to somebody near us, or to anybody.

    Security: whoever names peers chooses whom we dial. An address of a private network to which
    this machine is not attached leads nowhere, or to a neighbour of whoever routes it.
    """
    return [
        each
        for each in addresses
        if each.ip.is_global or (near and (each.ip.is_loopback or is_attached(each.ip, networks)))
    ]
