"""A datagram wire between two engines on loopback that can lose what it is told to lose."""

import select
import socket
import threading
from collections.abc import Callable

from p2phouse import channel


class Wire:
    """Two sockets: what comes in at one goes out at the other. `drop` is asked about each."""

    def __init__(self) -> None:
        self.near, self.far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end in (self.near, self.far):
            end.bind(("127.0.0.1", 0))
        self.drop: Callable[[bytes], bool] = lambda datagram: False
        self.dropped = 0
        self._ends: dict[socket.socket, tuple[str, int]] = {}  # where each socket's engine is
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def near_of(self, end: channel.LocalDescription) -> tuple[str, ...]:
        """The candidates that lead to `end` by way of the wire's near side."""
        return self._led(end, self.near, self.far)

    def far_of(self, end: channel.LocalDescription) -> tuple[str, ...]:
        return self._led(end, self.far, self.near)

    def _led(
        self, end: channel.LocalDescription, shown: socket.socket, behind: socket.socket
    ) -> tuple[str, ...]:
        fields = end.cands[0].split()
        self._ends[behind] = (fields[4], int(fields[5]))
        fields[4], fields[5] = "127.0.0.1", str(shown.getsockname()[1])
        return (" ".join(fields),)

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self.near.close()
        self.far.close()

    def _run(self) -> None:
        other = {self.near: self.far, self.far: self.near}
        while not self._over:
            for end in select.select([self.near, self.far], [], [], 0.1)[0]:
                datagram = end.recv(2_048)
                if self.drop(datagram):
                    self.dropped += 1
                    continue
                out = other[end]
                if out in self._ends:
                    out.sendto(datagram, self._ends[out])
