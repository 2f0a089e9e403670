"""What is written as WebM, as FFmpeg's libraries read it."""

import io

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.guest import webm
from p2phouse.vocabulary import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ
from p2phouse.voice.opus import Encoder


def read(data: bytes) -> tuple[av.AudioStream, list[tuple[int, bytes]]]:
    """The stream, and of each packet its time in ms and what is in it."""
    with av.open(io.BytesIO(data), format="webm") as container:
        (stream,) = container.streams
        found = [
            (round(each.pts * each.time_base * 1_000), bytes(each))
            for each in container.demux(stream)
            if each.size
        ]
        return stream, found


OPUS = st.binary(max_size=1_275).map(b"\x78".__add__)  # to a reader one frame of 20 ms


@given(st.lists(st.lists(OPUS, min_size=1, max_size=5), min_size=1, max_size=4))
def test_what_is_written_is_read(clusters):
    at_ms, data, written = 0, webm.header(), []
    for packets in clusters:
        data += webm.cluster(at_ms, packets)
        written += [(at_ms + n * FRAME_MS, each) for n, each in enumerate(packets)]
        at_ms += len(packets) * FRAME_MS
    _, found = read(data)
    assert [each for _, each in found] == [each for _, each in written]
    began = found[0][0]  # a reader takes off what the decoder is ahead at the beginning
    assert [at - began for at, _ in found] == [at for at, _ in written]


def test_a_reader_learns_how_to_play_it():
    stream, _ = read(webm.header() + webm.cluster(0, [b"\x78\x00"]))
    assert (stream.codec_context.name, stream.rate, stream.channels) == (
        "opus",
        SAMPLE_RATE_HZ,
        1,
    )


@pytest.mark.parametrize("at_ms", [0, 255, 256, 65_536, 40 * 24 * 3_600_000])
def test_whoever_has_the_header_may_begin_with_any_cluster(at_ms):
    encoder = Encoder()
    tone = np.sin(np.arange(50 * FRAME_SAMPLES) * 2 * np.pi * 440 / SAMPLE_RATE_HZ) * 0.3
    packets = [encoder.encode(each) for each in tone.astype(np.float32).reshape(50, -1)]
    data = webm.header() + webm.cluster(at_ms, packets)
    _, found = read(data)
    assert abs(found[0][0] - at_ms) < 10
    with av.open(io.BytesIO(data)) as container:
        heard = np.concatenate([each.to_ndarray()[0] for each in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(heard[-SAMPLE_RATE_HZ // 2 :]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)


def test_sizes_are_as_short_as_ebml_allows_and_never_its_word_for_unknown():
    """127 in one byte and 16,383 in two would say that nobody knows; clusters pass the second."""
    few = [[bytes([0x78, *bytes(size)])] for size in range(110, 130)]
    many = [[b"\x78" + bytes(1_000)] * 16 + [b"\x78" + bytes(size)] for size in range(230, 270)]
    for packets in (*few, *many):
        _, found = read(webm.header() + webm.cluster(0, packets) + webm.cluster(1_000, [b"\x78"]))
        assert [each for _, each in found] == [*packets, b"\x78"]
