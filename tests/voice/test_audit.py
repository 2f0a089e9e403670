"""Who is speaking: forged speech is found out in three seconds, honest speech is never accused."""

import os
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from nacl.signing import SigningKey

from p2phouse.errors import PeerError
from p2phouse.record import envelope, limits
from p2phouse.record.types import Audit
from p2phouse.vocabulary import FRAME_S
from p2phouse.voice import audit
from p2phouse.voice.audit import AuditReader, AuditRefused, AuditWriter
from tests.voice.wire import HOTEL, STEADY, WEAK_4G, Conditions, Network

KEY = SigningKey(bytes(32))
LOSSY = Conditions(0.030, 0.005, loss=0.20)
BURSTS = Conditions(0.030, 0.005, loss=0.20, lost_in_a_row=4.0)
MINUTES_10 = 600.0


class Packet(NamedTuple):
    """What a speaker sends at some tick: a sealed frame, or an audit."""

    at_s: float
    counter: int | None  # None: an audit
    data: bytes


def talk(rng: random.Random, until_s: float, *, pauses: bool = True) -> list[Packet]:
    """Speech as people make it, in spurts of some seconds, and three seconds of silence."""
    writer, sent, counter = AuditWriter(KEY), list[Packet](), 0
    talking = True
    left = 0
    while counter * FRAME_S < until_s + 3.0:
        if counter * FRAME_S >= until_s:
            talking, left = False, 999
        if left <= 0:
            talking = not talking if pauses else True
            left = 1 + int(rng.expovariate(1 / (120 if talking else 40)))
        left -= 1
        at_s = counter * FRAME_S
        if talking:
            sframe = rng.randbytes(80)
            writer.sent(counter, sframe)
            sent.append(Packet(at_s, counter, sframe))
        signed = writer.next_audit(counter)
        if signed is not None:
            sent.append(Packet(at_s, None, signed))
        counter += 1
    return sent


def hear(
    packets: list[Packet], network: Network | None = None, reader: AuditReader | None = None
) -> tuple[AuditReader, float | None]:
    """The listener after all of it, and when the voice was found to be forged, or doubted."""
    reader = reader or AuditReader(bytes(KEY.verify_key))
    network = network or Network(STEADY)
    carried = [(network.carry(packet.at_s), packet) for packet in packets]
    now_s = 0.0
    for at_s, packet in carried:
        if at_s is None:
            continue
        while now_s < at_s:
            reader.tick(now_s)
            if reader.forged or reader.doubted:
                return reader, now_s
            now_s += FRAME_S
        if packet.counter is None:
            reader.receive(at_s, packet.data)
        else:
            reader.hear(at_s, packet.counter, packet.data)
        if reader.forged:
            return reader, at_s
    for _ in range(200):
        reader.tick(now_s)
        now_s += FRAME_S
    return reader, now_s if reader.forged else None


def forge(rng: random.Random, first: int, count: int) -> list[Packet]:
    """Frames that whoever holds the key of an open room seals in somebody's name."""
    return [Packet(n * FRAME_S, n, rng.randbytes(80)) for n in range(first, first + count)]


def merged(*parts: list[Packet]) -> list[Packet]:
    return sorted((packet for part in parts for packet in part), key=lambda packet: packet.at_s)


def audits_of(packets: list[Packet]) -> Iterator[Audit]:
    for packet in packets:
        if packet.counter is None:
            yield envelope.read(packet.data, Audit).record


# ── honest voices ────────────────────────────────────────────────────────────────────────────


def test_all_that_is_heard_of_an_undisturbed_voice_is_proved():
    packets = talk(random.Random(1), 60.0)
    reader, flagged_s = hear(packets)
    frames = sum(packet.counter is not None for packet in packets)
    assert flagged_s is None
    assert reader.unproved == 0
    assert reader.proved == frames


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "conditions", [LOSSY, BURSTS, HOTEL, WEAK_4G], ids=["20 %", "bursts", "hotel", "4g"]
)
def test_an_honest_voice_is_never_accused_in_ten_minutes_of_a_bad_network(conditions, seed):
    packets = talk(random.Random(seed), MINUTES_10)
    reader, flagged_s = hear(packets, Network(conditions, seed=seed))
    assert flagged_s is None
    assert reader.unproved / (reader.proved + reader.unproved) < audit.UNPROVED_SHARE_MAX / 2


def test_outages_of_seconds_accuse_nobody():
    """Nothing gets through for 1 to 5 s, again and again, and what was sent meanwhile is lost."""
    rng = random.Random(5)
    packets = talk(rng, MINUTES_10, pauses=False)
    outages = [(start, start + rng.uniform(1.0, 5.0)) for start in range(10, 600, 20)]
    packets = [p for p in packets if not any(a <= p.at_s < b for a, b in outages)]
    assert hear(packets, Network(WEAK_4G, seed=5))[1] is None


def test_a_speaker_that_dies_in_the_middle_of_a_word_is_not_accused():
    for counter in range(150, 150 + 3 * limits.AUDIT_FRAMES):
        packets = [p for p in talk(random.Random(3), 10.0, pauses=False) if p.at_s < counter / 50]
        assert hear(packets)[1] is None


def test_our_own_stall_accuses_nobody():
    """Four seconds lay in the socket and come at once."""
    packets = talk(random.Random(6), 30.0, pauses=False)
    late = [p._replace(at_s=14.0) if 10.0 <= p.at_s < 14.0 else p for p in packets]
    assert hear(late)[1] is None


def test_stall_after_stall_of_ours_accuses_nobody():
    """The proof of the last second lies unread for four, and is read behind the first tick."""
    writer, reader, counter, now_s = AuditWriter(KEY), AuditReader(bytes(KEY.verify_key)), 0, 0.0
    for _ in range(6):
        unread = []
        for n in range(100):
            writer.sent(counter, b"%d" % counter)
            reader.hear(now_s, counter, b"%d" % counter)
            signed = writer.next_audit(counter)
            if signed is not None and n < 50:
                reader.receive(now_s, signed)
            elif signed is not None:
                unread.append(signed)
            reader.tick(now_s)
            counter, now_s = counter + 1, now_s + FRAME_S
        counter, now_s = counter + 200, now_s + 4.0
        reader.skip(4.0)
        reader.tick(now_s)
        for signed in unread:
            reader.receive(now_s, signed)
    assert not reader.forged
    assert reader.unproved == 0


def test_a_voice_that_is_joined_in_the_middle_is_proved_from_there_on():
    packets = [packet for packet in talk(random.Random(8), 30.0) if packet.at_s > 7.3]
    reader, flagged_s = hear(packets)
    assert flagged_s is None
    assert reader.unproved == 0


def test_audits_that_come_before_their_frames_or_twice_prove_as_well():
    packets = talk(random.Random(9), 30.0)
    swapped = sorted(packets, key=lambda p: p.at_s - (0.5 if p.counter is None else 0.0))
    swapped = [p._replace(at_s=n * 0.018) for n, p in enumerate(swapped)]
    doubled = [p for p in swapped for _ in range(2 if p.counter is None else 1)]
    reader, flagged_s = hear(doubled)
    assert flagged_s is None
    assert reader.proved > 0
    assert reader.unproved == 0


def test_skipped_ticks_of_the_speaker_accuse_nobody():
    writer, reader = AuditWriter(KEY), AuditReader(bytes(KEY.verify_key))
    counter, rng = 0, random.Random(10)
    for n in range(1_500):
        counter += 1 if n % 50 else rng.randrange(5, 400)
        now_s = counter * FRAME_S
        writer.sent(counter, b"%d" % counter)
        reader.hear(now_s, counter, b"%d" % counter)
        signed = writer.next_audit(counter)
        if signed is not None:
            reader.receive(now_s, signed)
        reader.tick(now_s)
    assert not reader.forged
    assert reader.unproved == 0


# ── forged speech ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("conditions", [STEADY, LOSSY], ids=["steady", "20 %"])
@pytest.mark.parametrize("before_s", [0.0, 0.5, 5.0])
def test_forged_frames_are_silent_within_three_seconds(conditions, before_s):
    """200 frames without any proof: instead of the speaker, who may have talked until then."""
    worst_s = 0.0
    for seed in range(20):
        rng = random.Random(seed)
        before = talk(rng, before_s + seed * 0.05, pauses=False) if before_s else []
        first = len(before) and max(p.counter or 0 for p in before) + 1
        forged = forge(rng, first, 200)
        _, flagged_s = hear(merged(before, forged), Network(conditions, seed=seed))
        assert flagged_s is not None
        worst_s = max(worst_s, flagged_s - forged[0].at_s)
    assert worst_s <= 3.0


def test_one_frame_that_the_speaker_did_not_send_is_enough():
    rng = random.Random(11)
    packets = talk(rng, 10.0, pauses=False)
    changed = [p._replace(data=rng.randbytes(80)) if p.counter == 300 else p for p in packets]
    _, flagged_s = hear(changed)
    assert flagged_s is not None
    assert flagged_s < 300 * FRAME_S + 0.5


def test_a_frame_in_a_pause_of_the_speaker_is_enough():
    rng = random.Random(12)
    writer, packets = AuditWriter(KEY), list[Packet]()
    for counter in range(200):
        if counter < 40:
            writer.sent(counter, b"%d" % counter)
            packets.append(Packet(counter * FRAME_S, counter, b"%d" % counter))
        signed = writer.next_audit(counter)
        if signed is not None:
            packets.append(Packet(counter * FRAME_S, None, signed))
    assert hear(packets)[1] is None
    _, flagged_s = hear(merged(packets, forge(rng, 60, 1)))
    assert flagged_s is not None
    assert flagged_s < 2.0


def test_forging_now_and_then_is_flagged_too():
    """A forwarder lets one true second through, then speaks for one itself, without an audit."""
    rng = random.Random(13)
    packets = []
    for packet in talk(rng, 60.0, pauses=False):
        is_forged = int(packet.at_s) % 2 == 1
        if packet.counter is None:
            block = envelope.read(packet.data, Audit).record.block
            span = (block * 17 * FRAME_S, (block + 1) * 17 * FRAME_S - 0.001)
            if any(int(at) % 2 for at in span):
                continue
        packets.append(packet._replace(data=rng.randbytes(80)) if is_forged else packet)
    _, flagged_s = hear(packets)
    assert flagged_s is not None
    assert flagged_s < 10.0


def test_a_true_audit_now_and_then_is_not_enough():
    """A forwarder speaks seven blocks of eight itself, and lets the eighth and its audit through,
    whose parities say nothing of so many unknown blocks."""
    rng = random.Random(17)
    packets = []
    for packet in talk(rng, 60.0, pauses=False):
        if packet.counter is not None:
            is_true = packet.counter // limits.AUDIT_FRAMES % 8 == 0
            packets.append(packet if is_true else packet._replace(data=rng.randbytes(80)))
        elif envelope.read(packet.data, Audit).record.block % 8 == 0:
            packets.append(packet)
    _, flagged_s = hear(packets)
    assert flagged_s is not None
    assert flagged_s < 7.0


def test_a_voice_once_forged_stays_so():
    reader, flagged_s = hear(
        merged(talk(random.Random(14), 2.0, pauses=False), forge(random.Random(14), 200, 20))
    )
    assert flagged_s is not None
    hear(talk(random.Random(14), 20.0), reader=reader)
    assert reader.forged


def test_a_voice_of_which_nothing_was_ever_proved_is_heard_once_it_is():
    """Its audits were lost from the first on, as on a full line, and then they come."""
    packets = talk(random.Random(18), 20.0, pauses=False)
    heard = play([p for p in packets if p.counter is not None or p.at_s > 8.0])
    assert not heard.reader.forged
    assert 2.5 <= heard.silent_s[0] <= 3.0
    assert 8.0 <= heard.silent_s[-1] <= 9.0


def test_who_speaks_without_any_proof_in_spurts_is_heard_for_six_seconds_in_all():
    """Security: after a pause frames without proof are forgotten, and what they cost is not."""
    rng = random.Random(19)
    packets = [p for first in range(0, 6_000, 400) for p in forge(rng, first, 130)]
    heard = play(packets, forged={p.counter for p in packets if p.counter is not None})
    assert heard.forged * FRAME_S <= 6.0


class Played(NamedTuple):
    """How many frames a listener played, of how many; and when it was silent for want of proof."""

    true: int
    forged: int
    silent_s: list[float]
    reader: AuditReader


def play(packets: list[Packet], forged: set[int] = frozenset()) -> Played:  # type: ignore[assignment]
    """forged: counters of the frames that the speaker did not send."""
    reader, now_s = AuditReader(bytes(KEY.verify_key)), 0.0
    true, false, silent_s = 0, 0, []
    for packet in packets:
        while now_s < packet.at_s:
            reader.tick(now_s)
            if reader.doubted:
                silent_s.append(now_s)
            now_s += FRAME_S
        if packet.counter is None:
            reader.receive(packet.at_s, packet.data)
            continue
        reader.hear(packet.at_s, packet.counter, packet.data)
        if not reader.doubted and not reader.forged:
            false += packet.counter in forged
            true += packet.counter not in forged
    return Played(true, false, silent_s, reader)


def test_an_honest_voice_whose_audits_a_full_uplink_drops_is_heard_again_when_they_come():
    packets = talk(random.Random(20), 120.0, pauses=False)
    full = [(20.0, 28.0), (40.0, 48.0), (60.0, 64.0)]
    held = [p for p in packets if p.counter or not any(a <= p.at_s < b for a, b in full)]
    played = play(held)
    assert not played.reader.forged
    assert played.silent_s
    for at_s in played.silent_s:
        # What is proved now counts after three seconds.
        assert any(a + 2.0 <= at_s <= b + 4.0 for a, b in full), f"silent at {at_s:.2f}"


def test_who_speaks_when_audits_fail_and_lets_true_ones_pass_is_heard_for_three_seconds_at_a_time():
    """A forwarder forges four seconds of ten, drops the proof of these, and lets the rest pass: to
    whoever listens that is no other than a full uplink."""
    rng, packets, forged = random.Random(21), list[Packet](), set[int]()
    for packet in talk(rng, 600.0, pauses=False):
        is_ours = packet.at_s > 10.0 and packet.at_s % 10 < 4
        if packet.counter is not None and is_ours:
            forged.add(packet.counter)
            packets.append(packet._replace(data=rng.randbytes(80)))
        elif packet.counter is not None or not packet.at_s % 10 < 6.5:
            packets.append(packet)  # later audits would prove the rest of a block that was forged
    played = play(packets, forged)
    assert played.forged * FRAME_S <= 59 * 3.0
    assert not played.reader.forged


# ── what is refused ──────────────────────────────────────────────────────────────────────────


def test_an_audit_of_another_key_is_refused():
    """The speaker's next voice has a key of its own, so its audits prove nothing here."""
    reader = AuditReader(bytes(KEY.verify_key))
    other = AuditWriter(SigningKey(b"1" * 32))
    for counter in range(limits.AUDIT_FRAMES):
        other.sent(counter, b"frame")
        reader.hear(counter * FRAME_S, counter, b"frame")
    signed = other.next_audit(limits.AUDIT_FRAMES - 1)
    assert signed is not None
    with pytest.raises(AuditRefused):
        reader.receive(0.4, signed)
    # Nor does it help to name the right key somewhere in it.
    mine = envelope.read(signed, Audit).record
    smuggled = Audit(
        other.akey, mine.block, mine.run, (bytes(KEY.verify_key) + mine.tags)[:136], mine.parity
    )
    with pytest.raises(AuditRefused):
        reader.receive(0.4, envelope.sign(smuggled, SigningKey(b"1" * 32)).data)
    assert reader.proved == 0


def test_malformed_audits_are_refused_and_change_nothing():
    rng = random.Random(15)
    packets = talk(rng, 2.0, pauses=False)
    good = next(packet.data for packet in packets if packet.counter is None)
    reader = AuditReader(bytes(KEY.verify_key))
    for n in range(300):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        cut = bytes(bad[: rng.randrange(1, len(bad) + 1)]) if n % 3 == 0 else bytes(bad)
        if cut == good:
            continue
        with pytest.raises(PeerError):
            reader.receive(n - 300.0, cut)
    assert reader.proved == 0
    assert hear(packets, reader=reader)[1] is None


def test_a_flood_of_false_audits_costs_few_signatures(monkeypatch):
    checked = []
    read = envelope.read

    def count(data, expected):
        checked.append(data)
        return read(data, expected)

    monkeypatch.setattr(envelope, "read", count)
    reader = AuditReader(bytes(KEY.verify_key))
    for n in range(5_000):  # ten seconds
        with pytest.raises(PeerError):
            reader.receive(n * 0.002, bytes(KEY.verify_key) + os.urandom(64))
    assert len(checked) <= audit.CHECKS_BURST + 10.0 / audit.CHECK_EACH_S + 1


def test_memory_is_bounded_whatever_a_key_holder_sends():
    reader = AuditReader(bytes(KEY.verify_key))
    for n in range(20_000):
        reader.hear(0.0, n * 7, b"%d" % n)
    reader.tick(0.0)
    assert reader.doubted
    assert len(reader._heard) <= audit.HEARD_MAX


# ── the price ────────────────────────────────────────────────────────────────────────────────


def test_an_audit_is_at_most_400_bytes_and_three_go_out_a_second():
    packets = talk(random.Random(16), 60.0, pauses=False)
    audits = [packet for packet in packets if packet.counter is None]
    assert max(len(packet.data) for packet in audits) <= 400
    assert len(audits) <= 3 * 62.1
    assert [each.block for each in audits_of(packets)] == list(range(len(audits)))
    late = AuditWriter(KEY)
    late.sent(2**32 - 1, b"the last frame of all")
    assert late.next_audit(2**32 - 1 + limits.AUDIT_FRAMES) is not None


def test_a_short_word_is_audited_and_then_the_voice_is_silent():
    writer = AuditWriter(KEY)
    audits = []
    for counter in range(500):
        if 100 <= counter < 110:
            writer.sent(counter, b"%d" % counter)
        signed = writer.next_audit(counter)
        if signed is not None:
            audits.append(counter)
    assert audits[0] - 109 <= 25  # within 500 ms
    assert len(audits) == 1 + limits.AUDIT_REACH + (109 // 17 - 100 // 17)
    assert audits[-1] - 109 <= 150
