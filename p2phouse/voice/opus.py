"""Opus through the libopus that already lies in PyAV's wheel: a small cffi binding, ABI mode.

Not a general binding: 48 kHz, mono, float32, 20 ms. One Encoder per own voice, one Decoder per
voice heard; a decoder is fed every slot in order (packet, recovery or concealment), because its
state is the sound. PyAV itself is never imported: it would cost 0.4 s and 50 MB for one file.
"""

import ctypes.util
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from cffi import FFI

from p2phouse.errors import PeerError, UserError
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame

BITRATE_BPS: Final = 32_000
COMPLEXITY: Final = 6  # from 7 on libopus analyses the signal, and then DTX hardly ever fires
LOSS_PCT_MIN: Final = 10  # below 8 % libopus writes no FEC at 20-32 kb/s, whatever the switch says
DTX_BYTES_MAX: Final = 2  # RFC 6716 leaves 1 or 2 bytes of an untransmitted frame
PACKET_BYTES_MAX: Final = 640  # sealed it stays under packet.PAYLOAD_BYTES_MAX
LOOKAHEAD_SAMPLES: Final = 312  # delay of encoder and decoder together at 48 kHz (6.5 ms)

_OPUS_APPLICATION_VOIP: Final = 2048
_OPUS_SIGNAL_VOICE: Final = 3001
_SET_BITRATE: Final = 4002
_SET_VBR: Final = 4006
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS_PERC: Final = 4014
_SET_DTX: Final = 4016
_SET_SIGNAL: Final = 4024

_ffi = FFI()
_ffi.cdef("""
    typedef struct OpusEncoder OpusEncoder;
    typedef struct OpusDecoder OpusDecoder;
    OpusEncoder *opus_encoder_create(int32_t rate, int channels, int application, int *error);
    void opus_encoder_destroy(OpusEncoder *encoder);
    int opus_encoder_ctl(OpusEncoder *encoder, int request, ...);
    int32_t opus_encode_float(OpusEncoder *encoder, const float *pcm, int samples,
                              unsigned char *data, int32_t bytes_max);
    OpusDecoder *opus_decoder_create(int32_t rate, int channels, int *error);
    void opus_decoder_destroy(OpusDecoder *decoder);
    int opus_decode_float(OpusDecoder *decoder, const unsigned char *data, int32_t bytes,
                          float *pcm, int samples, int fec);
    const char *opus_get_version_string(void);
""")


class NoOpus(UserError):
    """The Opus library was not found{detail}. Run `pip install --force-reinstall av` in the
    environment of p2phouse, or install your system's libopus (Debian: apt-get install libopus0).
    """


def duration_us(packet: bytes) -> int:
    """How long a packet of Opus sounds, by its first bytes (RFC 6716 §3.1); 0 if it is none."""
    if not packet:
        return 0
    kind, code = packet[0] >> 3, packet[0] & 3
    if kind < 12:
        frame_us = (10_000, 20_000, 40_000, 60_000)[kind & 3]
    elif kind < 16:
        frame_us = (10_000, 20_000)[kind & 1]
    else:
        frame_us = (2_500, 5_000, 10_000, 20_000)[kind & 3]
    if code < 3:
        return frame_us * (1, 2, 2)[code]
    return frame_us * (packet[1] & 0x3F) if len(packet) > 1 else 0


class NotOpus(PeerError):
    """A packet does not hold 20 ms of Opus: {reason}."""


class Encoder:
    """One voice's encoder. Frames must come in order, one per tick while the voice is open."""

    def __init__(
        self,
        bitrate_bps: int = BITRATE_BPS,
        complexity: int = COMPLEXITY,
        loss_pct: int = LOSS_PCT_MIN,
        dtx: bool = True,
        constant: bool = False,
    ) -> None:
        """constant: every packet has the same length (give dtx=False too), for sealed rooms."""
        self._lib = library()
        error = _ffi.new("int *")
        self._state = _ffi.gc(
            self._lib.opus_encoder_create(SAMPLE_RATE_HZ, 1, _OPUS_APPLICATION_VOIP, error),
            self._lib.opus_encoder_destroy,
        )
        assert error[0] == 0, f"opus_encoder_create: {error[0]}"
        self._out = _ffi.new("unsigned char[]", PACKET_BYTES_MAX)
        self._control(_SET_BITRATE, bitrate_bps)
        self._control(_SET_VBR, not constant)
        self._control(_SET_COMPLEXITY, complexity)
        self._control(_SET_SIGNAL, _OPUS_SIGNAL_VOICE)
        self._control(_SET_INBAND_FEC, 1)
        self._control(_SET_DTX, dtx)
        self.set_loss(loss_pct)

    def encode(self, frame: Frame) -> bytes:
        """One packet; of DTX_BYTES_MAX bytes or fewer if nothing need be sent."""
        assert frame.dtype == np.float32
        assert frame.shape == (FRAME_SAMPLES,)
        pcm = _ffi.from_buffer("float[]", frame)
        size = self._lib.opus_encode_float(
            self._state, pcm, FRAME_SAMPLES, self._out, PACKET_BYTES_MAX
        )
        assert size > 0, f"opus_encode_float: {size}"
        return bytes(_ffi.buffer(self._out, size))

    def set_loss(self, pct: int) -> None:
        """Declare the loss listeners see: it decides how much of a packet repeats the last one."""
        self._control(_SET_PACKET_LOSS_PERC, min(100, max(LOSS_PCT_MIN, pct)))

    def _control(self, request: int, value: int) -> None:
        code = self._lib.opus_encoder_ctl(self._state, request, _ffi.cast("int", value))
        assert code == 0, f"opus_encoder_ctl {request}: {code}"


class Decoder:
    """One heard voice's decoder. Every method yields 960 new samples and moves the state on."""

    def __init__(self) -> None:
        self._lib = library()
        error = _ffi.new("int *")
        self._state = _ffi.gc(
            self._lib.opus_decoder_create(SAMPLE_RATE_HZ, 1, error),
            self._lib.opus_decoder_destroy,
        )
        assert error[0] == 0, f"opus_decoder_create: {error[0]}"

    def decode(self, packet: bytes) -> Frame:
        """The frame of this packet. Raises NotOpus."""
        # libopus takes no bytes for "conceal": a peer's empty packet must not pass for that.
        if not packet:
            raise NotOpus(reason="it is empty")
        return self._run(packet, len(packet), 0)

    def recover(self, next_packet: bytes) -> Frame:
        """The lost frame before `next_packet`, from the copy in it (RFC 6716 §2.1.7).

        Call only if carries_fec(next_packet), then decode(next_packet). Raises NotOpus.
        """
        if not next_packet:
            raise NotOpus(reason="it is empty")
        return self._run(next_packet, len(next_packet), 1)

    def conceal(self) -> Frame:
        """A frame without any packet: speech is carried on and fades, background noise stays."""
        return self._run(_ffi.NULL, 0, 0)

    def _run(self, data: object, size: int, fec: int) -> Frame:
        frame = np.empty(FRAME_SAMPLES, np.float32)
        pcm = _ffi.from_buffer("float[]", frame)
        samples = self._lib.opus_decode_float(self._state, data, size, pcm, FRAME_SAMPLES, fec)
        if samples != FRAME_SAMPLES:  # negative: an error of libopus; else another duration
            raise NotOpus(reason=f"libopus says {samples}")
        return frame


def carries_fec(packet: bytes) -> bool:
    """Whether a packet repeats the frame before it: the LBRR flag of RFC 6716 §4.2.3.

    True only for what our encoder writes: a single 20 ms mono frame, SILK or hybrid. The flag
    is the second bit of even chance in its range coder, so it can be read off the first byte.
    """
    if len(packet) < 2:
        return False
    toc = packet[0]
    # Configurations 0-11 are SILK with 10, 20, 40, 60 ms, 12-15 hybrid with 10, 20; then CELT.
    config = toc >> 3
    if toc & 0x04 or config > 15 or config & (3 if config < 12 else 1) != 1:
        return False
    first = _only_frame(packet)
    return first < len(packet) and bool(packet[first] & 0x40)


def _only_frame(packet: bytes) -> int:
    """Offset of the frame of a packet that holds one, else len(packet). RFC 6716 §3.2."""
    code = packet[0] & 0x03
    if code == 0:
        return 1
    # Constant bitrate pads by code 3: a count of 1, then the padding's length in bytes of 255.
    if code != 3 or packet[1] & 0x3F != 1:
        return len(packet)
    at = 2
    if packet[1] & 0x40:
        while at < len(packet) and packet[at] == 255:
            at += 1
        at += 1
    return at


def version() -> str:
    """What the loaded library calls itself, like "libopus 1.6.1". Raises NoOpus."""
    return bytes(_ffi.string(library().opus_get_version_string())).decode()


@cache
def library() -> Any:  # noqa: ANN401  # what cffi loads has no types
    """The loaded libopus. Raises NoOpus."""
    path = find_library()
    if path is None:
        raise NoOpus(detail="")
    try:
        lib = _ffi.dlopen(path)
        lib.opus_encode_float  # noqa: B018  # a missing symbol shows only when it is touched
    except (OSError, AttributeError) as error:
        raise NoOpus(detail=f" ({error})") from error
    return lib


def find_library() -> str | None:
    """Path of PyAV's own libopus, else the name of the system's, else None.

    auditwheel (Linux) and delvewheel (Windows) put it beside the package, delocate inside it.
    """
    spec = importlib.util.find_spec("av")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for folder, pattern in (
            (package.parent / "av.libs", "libopus-*.so*"),
            (package / ".dylibs", "libopus*.dylib"),
            (package.parent / "av.libs", "*opus*.dll"),
        ):
            found = sorted(folder.glob(pattern))
            if found:
                return str(found[0])
    return ctypes.util.find_library("opus")
