"""What waits when sound comes faster than it can be passed on."""

from p2phouse.link.backlog import KEPT, LOOK_EACH_S, WAIT_S_MAX, Backlog
from p2phouse.link.peer import Peer
from p2phouse.vocabulary import LinkNumber


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
    assert backlog.dropped == 0
    assert backlog.take(2.0) is None


def test_of_what_is_late_the_newest_of_each_voice_go():
    backlog, ana, ben = Backlog(), peer(1, 7, 8), peer(2, 7)
    for seq in range(100):
        backlog.put(1.0, ana, packet(7, seq))
        backlog.put(1.0, ana, packet(8, seq))
        if seq < 3:
            backlog.put(1.0, ben, packet(7, 1_000 + seq))
    late = take_all(backlog, 1.0 + 2 * WAIT_S_MAX)
    assert [each for each in late if each[11] == 8] == [packet(8, seq) for seq in range(96, 100)]
    assert late[:3] == [packet(7, 1_000 + seq) for seq in range(3)]
    assert len(late) == 3 + 2 * KEPT
    assert backlog.dropped == 192


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
            seq, next_s = seq + 1, next_s + 0.020
        got = backlog.take(now_s)
        if got is not None:
            waits.append(now_s - came_s[got[1]])
        now_s += 0.040
    assert max(waits) < WAIT_S_MAX + 2 * 0.040 + LOOK_EACH_S
    assert len(waits) > 700
    assert len(backlog) < 10


def test_under_ever_new_names_one_keeps_no_more_places_than_a_voice():
    """What claims to be of voices that never opened is one voice here, and hers is kept."""
    backlog, ana, eve = Backlog(), peer(1, 7), peer(2)
    for n in range(2_000):
        backlog.put(1.0, eve, packet(n, 0))
        if n < 3:
            backlog.put(1.0, ana, packet(7, n))
    late = take_all(backlog, 2.0)
    assert [each for each in late if each[11] == 7][:3] == [packet(7, n) for n in range(3)]
    assert len(late) == KEPT + 3
