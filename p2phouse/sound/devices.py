"""Microphone and loudspeaker through PortAudio, for machines without a page.

PortAudio calls back on a thread of its own, which only fills or empties a ring (ring.py); a frame
goes in or out at the tick. sounddevice is imported when a device is wanted: it is an extra, and
needs a library of the system. Echo is not cancelled: use headphones, or the page.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from p2phouse.errors import UserError
from p2phouse.sound.plain import plain
from p2phouse.sound.ring import CUSHION_SAMPLES_MIN, Cushion, Ring, bend
from p2phouse.vocabulary import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame

BLOCK_SAMPLES: Final = 480  # 10 ms; 0 lets PortAudio choose, and it chooses from 1 to 127
LOST_TICKS: Final = 50  # 1 s without one block: the longest stall seen of a loaded server is 0.3 s
FIRST_BLOCK_S: Final = 3.0  # Bluetooth headsets take two to wake up
NAMES_SHOWN: Final = 5

# PortAudio may not open or close two devices at once, and mouth and ear have a thread each.
_portaudio_lock: Final = threading.Lock()


class SounddeviceMissing(UserError):
    """Sound devices need one package more: pip install "p2phouse[device]"."""


class PortAudioMissing(UserError):
    """Sound devices need the PortAudio library (Debian: apt-get install libportaudio2)."""


class NoDevice(UserError):
    """This machine shows no {kind}. Plug one in, see that its sound server runs, and start the
    node anew."""


class DeviceUnknown(UserError):
    """No {kind} is called "{name}", or more than one is. There are: {names}."""


class DeviceRefused(UserError):
    """The {kind} could not be opened ({reason}). See that the sound server runs and nothing else
    holds the device, or name another one: device:NAME."""


class DeviceLost(UserError):
    """The {kind} is gone. Plug it in again or name another one: device:NAME."""


class Microphone:
    """Frames of what a microphone hears.

    Security: recording begins in this constructor, so only mouth.open_source may call it.
    """

    def __init__(self, name: str | None) -> None:
        """name: part of the device's name, None for the system's choice. Blocks until it gives
        sound. Raises a UserError of this module."""
        self._ring = Ring()
        self._cushion = Cushion()
        self._asked = False
        self._starved_ticks = 0
        self._first_block = threading.Event()
        self._device = _Device("microphone", "input", name, self._heard)
        if not self._first_block.wait(FIRST_BLOCK_S):
            self._device.close()
            raise DeviceRefused(kind="microphone", reason="it gives no sound")

    def _heard(self, block: Frame) -> None:
        self._ring.put(block[:, 0])
        self._first_block.set()

    def next_frame(self) -> Frame | None:
        """960 samples, silent ones while the device is late. Raises DeviceLost."""
        if not self._asked:
            self._asked = True  # what it heard while nobody asked would only be delay
            self._ring.drop(len(self._ring) - FRAME_SAMPLES - CUSHION_SAMPLES_MIN)
        count = FRAME_SAMPLES + self._cushion.surplus(len(self._ring) - FRAME_SAMPLES)
        sound = self._ring.take(count)
        if sound is not None:
            self._starved_ticks = 0
            return bend(sound, FRAME_SAMPLES)
        self._starved_ticks += 1
        if self._starved_ticks >= LOST_TICKS or self._device.is_over:
            raise DeviceLost(kind="microphone")
        return np.zeros(FRAME_SAMPLES, np.float32)

    def skip(self, ticks: int) -> None:
        self._ring.drop(ticks * FRAME_SAMPLES)

    def close(self) -> None:
        self._device.close()


class Loudspeaker:
    """Plays frames; silence while there are none."""

    def __init__(self, name: str | None) -> None:
        """name: as of Microphone. Raises a UserError of this module."""
        self._ring = Ring()
        self._cushion = Cushion()
        self._asked = False  # the device wanted sound since the last frame
        self._unasked_ticks = 0
        self._device = _Device("loudspeaker", "output", name, self._wants)

    def _wants(self, block: Frame) -> None:
        self._asked = True
        sound = self._ring.take(len(block))
        block[:, 0] = 0.0 if sound is None else sound

    def play(self, frame: Frame) -> None:
        """Raises DeviceLost."""
        self._unasked_ticks = 0 if self._asked else self._unasked_ticks + 1
        self._asked = False
        if self._unasked_ticks >= LOST_TICKS or self._device.is_over:
            raise DeviceLost(kind="loudspeaker")
        count = FRAME_SAMPLES - self._cushion.surplus(len(self._ring))
        self._ring.put(bend(frame, count))

    def skip(self, ticks: int) -> None:
        pass  # the device did not wait for us: it played silence meanwhile

    def close(self) -> None:
        self._device.close()


class _Device:
    """One open PortAudio stream that hands its blocks to `block`, on PortAudio's thread."""

    def __init__(
        self, kind: str, direction: str, name: str | None, block: Callable[[Frame], None]
    ) -> None:
        """kind: how people call it. direction: "input" or "output"."""
        self.is_over = False  # PortAudio ended it: unplugged, or the server died
        with _portaudio_lock:
            sounddevice = _sounddevice(kind)
            make = sounddevice.InputStream if direction == "input" else sounddevice.OutputStream
            device = _find(sounddevice, kind, direction, name)
            try:
                self._stream = make(
                    device=device,
                    samplerate=SAMPLE_RATE_HZ,
                    blocksize=BLOCK_SAMPLES,
                    channels=1,
                    dtype="float32",
                    latency="low",
                    callback=lambda data, frames, time, status: block(data),
                    finished_callback=self._over,
                )
                try:
                    self._stream.start()
                except BaseException:
                    self._stream.close(ignore_errors=True)
                    raise
            except sounddevice.PortAudioError as error:
                raise DeviceRefused(kind=kind, reason=plain(str(error.args[0]))) from error

    def _over(self) -> None:
        self.is_over = True

    def close(self) -> None:
        """Blocks until no callback runs any more."""
        with _portaudio_lock:
            self._stream.close(ignore_errors=True)


def _sounddevice(kind: str) -> Any:  # noqa: ANN401  # a module without types
    """Raises SounddeviceMissing, PortAudioMissing or NoDevice."""
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise SounddeviceMissing from error
    except OSError as error:  # its own words: "PortAudio library not found"
        raise PortAudioMissing from error
    except Exception as error:  # PortAudioError: a class of the module that did not come
        raise NoDevice(kind=kind) from error
    return sounddevice


def _find(sounddevice: Any, kind: str, direction: str, name: str | None) -> int:  # noqa: ANN401
    """The device's number. Raises NoDevice or DeviceUnknown."""
    try:
        return int(sounddevice.query_devices(name, direction)["index"])
    except ValueError as error:  # no such name, or several
        channels = f"max_{direction}_channels"
        there = [one["name"] for one in sounddevice.query_devices() if one[channels] > 0]
        if not there:
            raise NoDevice(kind=kind) from error
        names = ", ".join(plain(one, 40) for one in there[:NAMES_SHOWN])
        raise DeviceUnknown(kind=kind, name=plain(str(name), 40), names=names) from error
    except sounddevice.PortAudioError as error:
        raise NoDevice(kind=kind) from error
