"""What is said in a room, as a plain player hears it over HTTP."""

import asyncio
import io
import threading
import time
import urllib.request

import av
import numpy as np
import pytest

from p2phouse.hearing import measure
from tests.relay.process import Clip, Guest, ProcessRelay, relay
from tests.relay.test_guests import sound

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]


class Player:
    """Reads a room's stream until `stop`; `sound` is all that it decodes to."""

    def __init__(self, its: ProcessRelay, room: str) -> None:
        self._answer = urllib.request.urlopen(f"{its.http}/r/{room}/listen.webm", timeout=20)
        self._data = b""
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.first_s = 0.0  # when the first cluster had come: its sound was made before
        self.began = threading.Event()
        self._thread.start()

    def _read(self) -> None:
        with self._answer:
            while not self._stops.is_set() and (data := self._answer.read1(65_536)):
                self._data += data
                if b"\x1f\x43\xb6\x75" in self._data and not self.began.is_set():
                    self.first_s = time.monotonic()
                    self.began.set()

    def stop(self) -> None:
        self._stops.set()
        self._thread.join()

    def sound(self) -> np.ndarray:
        with av.open(io.BytesIO(self._data)) as container:
            return np.concatenate([each.to_ndarray()[0] for each in container.decode(audio=0)])


def test_speech_is_understood_by_who_has_only_a_player():
    said = sound("ana")

    async def talk(its: ProcessRelay) -> None:
        speaker, clip = Guest(), Clip(said)
        player = Player(its, "tea")
        try:
            assert await asyncio.to_thread(player.began.wait, 20)
            await speaker.speak(its, "tea", "ana", clip)
            # As long as it is said, and what was said last is on its way.
            await asyncio.sleep(len(said) / 48_000 + 1)
            assert its.now("tea")["people"] == 2
        finally:
            await asyncio.to_thread(player.stop)
        await speaker.leave(its)
        assert clip.began_s is not None
        heard = measure(
            sent=said, spoken_s=clip.began_s, heard=player.sound(), played_s=player.first_s - 0.1
        )
        assert heard.stoi > 0.85
        assert heard.delay_ms_p50 is not None

    with relay() as its:
        asyncio.run(talk(its))
