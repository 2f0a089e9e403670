"""Links through a relay's HTTPS, over real TLS on 127.0.0.1.

The relay here is a stand-in; its own end is in tests/relay/test_tunnels.py.
"""

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from p2phouse.channel import LinkRole, LinkStatus
from p2phouse.link import ice, tunnel, websocket
from p2phouse.link.link import Description
from p2phouse.link.tunnel import Entrance
from p2phouse.link.websocket import NoTunnel, open_tunnel
from tests.guest.test_http import certificate
from tests.link.test_link import KEEPALIVE, packet, run

TOKEN = "0123456789abcdef" * 2
NOWHERE = "1 1 udp 1 127.0.0.1 9 typ host"


def anywhere(ip) -> bool:
    return True


class Relay:
    """The HTTPS of a relay whose sound is at another end's UDP port."""

    def __init__(self):
        self.to = 0  # UDP port
        self.port = 0
        self.tokens: list[str] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.status = 0  # to answer with, instead of letting anybody in
        self.read: list[bytes] = []
        self.connections: set[ServerConnection] = set()

    @property
    def entrance(self) -> str:
        return tunnel.write(Entrance("localhost", self.port, TOKEN))

    def admit(self, connection, request):
        self.tokens.append(request.headers["Authorization"])
        assert request.path == tunnel.PATH
        return connection.respond(self.status, "no\n") if self.status else None

    async def carry(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(("127.0.0.1", self.to or 9))
            back = asyncio.ensure_future(self._back(udp, connection))
            try:
                with suppress(ConnectionClosed):
                    while True:
                        await self.reads.wait()
                        data = await connection.recv()
                        assert isinstance(data, bytes)
                        self.read.append(data)
                        with suppress(OSError):
                            await loop.sock_sendall(udp, data)
            finally:
                back.cancel()
                await asyncio.wait([back])

    async def _back(self, udp: socket.socket, connection: ServerConnection) -> None:
        while True:
            with suppress(ConnectionRefusedError):
                await connection.send(await asyncio.get_running_loop().sock_recv(udp, 2_000))


@asynccontextmanager
async def relay(folder, monkeypatch, name="localhost"):
    serving, _ = certificate(folder, name=name)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    websocket.context.cache_clear()
    its = Relay()
    try:
        async with serve(
            its.carry,
            "127.0.0.1",
            0,
            ssl=serving,
            process_request=its.admit,
            max_queue=1,
            compression=None,
        ) as server:
            its.port = next(iter(server.sockets)).getsockname()[1]
            yield its
    finally:
        websocket.context.cache_clear()


async def met(make, its, *, is_relay=True, udp=False):
    """Two ends of which ben knows nothing of ana but her relay's HTTPS, or her UDP port as well."""
    ana, ben = make(1, LinkRole.OFFERER), make(2, LinkRole.ANSWERER)
    to_ana, to_ben = await ben.link.open(), await ana.link.open()
    its.to = int(to_ben.cands[0].split()[5])
    hidden = Description(to_ana.ufrag, to_ana.pwd, to_ana.fp, (NOWHERE,))
    cands = (*(to_ben.cands if udp else ()), its.entrance)
    relayed = Description(to_ben.ufrag, to_ben.pwd, to_ben.fp, cands)
    calling = asyncio.ensure_future(ana.link.connect(hidden))
    await ben.link.connect(relayed, is_relay=is_relay)
    if ben.link.is_connected:
        await calling
    else:
        calling.cancel()
        await asyncio.wait([calling])
    return ana, ben


def test_where_udp_is_blocked_a_link_goes_through_the_relays_https(tmp_path, monkeypatch):
    monkeypatch.setattr(ice, "UDP_FIRST_S", 0.1)

    async def test(make):
        async with relay(tmp_path, monkeypatch) as its:
            ana, ben = await met(make, its)
            assert (await ana.next())[0] is LinkStatus.CONNECTED
            assert (await ben.next())[0] is LinkStatus.CONNECTED
            assert ben.link.is_tunnelled
            assert its.tokens == [f"Bearer {TOKEN}"]
            for sender, receiver in ((ana, ben), (ben, ana)):
                for seq in range(50):
                    sender.link.send(packet(seq))
                sender.link.send_control(KEEPALIVE)
                for seq in range(50):
                    assert await receiver.next() == ("packet", packet(seq))
                assert await receiver.next() == ("control", KEEPALIVE)
            await ben.link.close()
            assert await ana.next() == (LinkStatus.LOST, "closed by the other end")

    run(test)


def test_where_udp_works_no_tunnel_is_opened(tmp_path, monkeypatch):
    async def test(make):
        async with relay(tmp_path, monkeypatch) as its:
            _, ben = await met(make, its, udp=True)
            assert (await ben.next())[0] is LinkStatus.CONNECTED
            assert not ben.link.is_tunnelled
            assert not its.tokens

    run(test)


def test_nobody_but_a_relay_has_us_open_a_tunnel(tmp_path, monkeypatch):
    monkeypatch.setattr(ice, "UDP_FIRST_S", 0.0)

    async def test(make):
        async with relay(tmp_path, monkeypatch) as its:
            _, ben = await met(make, its, is_relay=False)
            assert (await ben.next())[0] is LinkStatus.FAILED
            assert not its.tokens

    run(test)


def test_a_link_whose_tunnel_ends_is_lost_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ice, "UDP_FIRST_S", 0.0)

    async def test(make):
        async with relay(tmp_path, monkeypatch) as its:
            _, ben = await met(make, its)
            assert (await ben.next())[0] is LinkStatus.CONNECTED
            for connection in its.connections:
                connection.transport.abort()
            assert (await ben.next(2))[0] is LinkStatus.LOST

    run(test)


def test_a_certificate_of_somebody_else_is_not_taken(tmp_path, monkeypatch):
    async def test():
        async with relay(tmp_path, monkeypatch, name="audio.example.net") as its:
            with pytest.raises(NoTunnel, match="ertificate"):
                await open_tunnel(Entrance("localhost", its.port, TOKEN), may_use=anywhere)
            assert not its.tokens

    asyncio.run(test())


def test_a_name_of_this_very_machine_is_not_knocked_at(tmp_path, monkeypatch):
    async def test():
        async with relay(tmp_path, monkeypatch) as its:
            entrance = Entrance("localhost", its.port, TOKEN)
            with pytest.raises(NoTunnel, match="may be used"):
                await open_tunnel(entrance, may_use=lambda ip: not ip.is_loopback)
            assert not its.tokens

    asyncio.run(test())


def test_a_relay_that_lets_nobody_in_says_so(tmp_path, monkeypatch):
    async def test():
        async with relay(tmp_path, monkeypatch) as its:
            its.status = 503
            with pytest.raises(NoTunnel, match="503"):
                await open_tunnel(Entrance("localhost", its.port, TOKEN), may_use=anywhere)
            with pytest.raises(NoTunnel):
                await open_tunnel(Entrance("nobody.invalid", its.port, TOKEN), may_use=anywhere)

    asyncio.run(test())


def test_what_tcp_does_not_take_in_time_is_lost_and_the_new_goes(tmp_path, monkeypatch):
    async def test():
        async with relay(tmp_path, monkeypatch) as its:
            its.reads.clear()
            one = await open_tunnel(Entrance("localhost", its.port, TOKEN), may_use=anywhere)
            said = 0
            while (
                one.dropped < 100
            ):  # the other end's buffers are full, and all the time more comes
                for _ in range(100):
                    said += 1
                    one.sendto(b"%06d" % said + bytes(1_200))
                await asyncio.sleep(0.01)
            its.reads.set()
            late = said
            while not (its.read and int(its.read[-1][:6]) > late):
                said += 1
                one.sendto(b"%06d" % said)
                await asyncio.sleep(0.01)
            came = [int(each[:6]) for each in its.read]
            assert came == sorted(came)
            assert len(came) < late
            one.close()

    asyncio.run(test())
