"""How much a stranger may cost us a second: counted for all and for each network. Pure."""

import ipaddress


class Sparing:
    """So many a second in all, and so many for one network. It remembers a second, no longer."""

    def __init__(self, per_s: int, per_s_of_network: int) -> None:
        self._per_s = per_s
        self._per_s_of_network = per_s_of_network
        self._second = -1
        self._left = 0
        self._used: dict[int, int] = {}  # never more than per_s networks

    def allow(self, now_s: float, host: str) -> bool:
        """Whether one more is within bounds; it counts then."""
        if int(now_s) != self._second:
            self._second, self._left = int(now_s), self._per_s
            self._used.clear()
        if not self._left:
            return False
        network = network_of(host)
        used = self._used.get(network, 0)
        if used >= self._per_s_of_network:
            return False
        self._used[network] = used + 1
        self._left -= 1
        return True


def network_of(host: str) -> int:
    """The /24 of an IPv4 address, the /56 of an IPv6 one: about what a household or school has."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if ip.version == 4:
        return int(ip) >> 8
    return int(ip) >> 72 | 1 << 64
