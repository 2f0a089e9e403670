"""What waits when sound comes faster than it can be passed on."""

from p2phouse.link.backlog import WAIT_S_MAX, Backlog
from p2phouse.link.peer import Peer
from p2phouse.vocabulary import FRAME_S, LinkNumber


def peer(number: int, *ssrcs: int) -> Peer:
    peer = Peer(LinkNumber(number), ssrcs_max=4, payload_type=None, is_node=True)
    peer.ssrcs = {ssrc.to_bytes(4) for ssrc in ssrcs}
    return peer


def packet(ssrc: int, seq: int) -> bytes:
    return b"\x80\x6f" + seq.to_bytes(2) + bytes(4) + ssrc.to_bytes(4)


def take_all(backlog: Backlog, now_s: float) -> list[bytes]:
    taken = []
    while (got := backlog.take(now_s)) is not None:
        taken.append(got[1])
    return taken


def test_all_goes_in_its_order_as_long_as_nothing_is_late():
    backlog, ana = Backlog(), peer(1, 7)
    packets = [packet(7, seq) for seq in range(200)]
    for data in packets:
        backlog.put(1.0, ana, data)
    assert take_all(backlog, 1.0 + WAIT_S_MAX) == packets
    assert backlog.take(2.0) is None
    assert backlog.count() == (200, 0)
    assert backlog.count() == (0, 0)


def test_of_what_is_late_the_newest_of_each_voice_goes():
    """Whose packets wait for longest is the first."""
    backlog, ana, ben = Backlog(), peer(1, 7, 8), peer(2, 7)
    for seq in range(100):
        backlog.put(1.0, ana, packet(7, seq))
        if seq < 3:
            backlog.put(1.0, ben, packet(7, 1_000 + seq))
        backlog.put(1.0, ana, packet(8, seq))
    late = take_all(backlog, 1.0 + 2 * WAIT_S_MAX)
    assert late == [packet(7, 99), packet(7, 1_002), packet(8, 99)]
    assert backlog.count() == (3, 200)


def test_a_voice_is_behind_by_a_tenth_of_a_second_at_most():
    """Each packet takes twice as long as the next takes to come, for half a minute."""
    backlog, ana = Backlog(), peer(1, 7)
    now_s, next_s, seq = 1.0, 1.0, 0
    came_s: dict[bytes, float] = {}
    waits = []
    while now_s < 31.0:
        while next_s <= now_s:
            data = packet(7, seq)
            came_s[data] = next_s
            backlog.put(now_s, ana, data)
            seq, next_s = seq + 1, next_s + FRAME_S
        got = backlog.take(now_s)
        assert got is not None
        waits.append(now_s - came_s[got[1]])
        now_s += 2 * FRAME_S
    assert max(waits) < 0.1
    assert len(backlog) < 10


def test_of_many_voices_each_has_its_turn():
    """A hundred, of which two can be served in the time in which all have spoken again."""
    voices = range(1, 101)
    backlog, ana = Backlog(), peer(1, *voices)
    served = []
    for tick in range(200):
        now_s = 1.0 + tick * FRAME_S
        for ssrc in voices:
            backlog.put(now_s, ana, packet(ssrc, tick))
        for _ in range(2):
            got = backlog.take(now_s)
            assert got is not None
            served.append(got[1][11])
    assert all(served.count(ssrc) >= 2 for ssrc in voices)


def test_under_ever_new_names_one_keeps_one_place():
    """What claims to be of voices that never opened is one voice here, and hers is kept."""
    backlog, ana, eve = Backlog(), peer(1, 7), peer(2)
    for n in range(2_000):
        backlog.put(1.0, eve, packet(n, 0))
    backlog.put(1.0, ana, packet(7, 1))
    assert take_all(backlog, 2.0) == [packet(1_999, 0), packet(7, 1)]
