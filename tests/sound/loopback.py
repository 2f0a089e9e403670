"""A child of test_devices.py: an ear and a mouth on real devices, in a process of their own.

PortAudio looks for devices once a process, so each test's surroundings need a new one. Says each
change of state as a line of JSON; takes a line of orders where it has to wait for its parent.
"""

import asyncio
import json
import sys
import time

import numpy as np

from p2phouse.channel import VoiceCondition
from p2phouse.sound.ear import Ear
from p2phouse.sound.files import load, to_float, to_samples
from p2phouse.sound.mouth import Mouth
from p2phouse.vocabulary import FRAME_S, FRAME_SAMPLES, Frame

SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def state(condition: VoiceCondition, text: str) -> None:
    say(condition=condition.name, text=text)


async def order() -> None:
    await asyncio.to_thread(sys.stdin.readline)


async def tick(mouth: Mouth, ear: Ear, frames: list[Frame]) -> list[Frame]:
    """Plays the frames, one a tick; what the mouth took meanwhile."""
    taken = []
    start = time.monotonic()
    for n, frame in enumerate(frames):
        due = start + (n + 1) * FRAME_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        heard = mouth.frame(due)
        taken.append(SILENCE if heard is None else heard)
        ear.play(due, frame)
    return taken


async def carry(name: str, path: str, out: str) -> None:
    """Plays a file through the loudspeaker and keeps what the microphone hears."""
    mouth, ear = Mouth(state), Ear(state)
    await ear.set(name)
    await mouth.set(name)
    sound = to_float(load(path))
    count = len(sound) // FRAME_SAMPLES
    frames = [*sound[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES), *[SILENCE] * 50]
    heard = await tick(mouth, ear, frames)
    np.save(out, to_samples(np.concatenate(heard)))
    say(open=True)
    await order()
    await mouth.set("none")
    await ear.set("none")
    say(open=False)
    await order()


async def lose() -> None:
    """Until both devices are lost, and found again."""
    mouth, ear = Mouth(state), Ear(state)
    await mouth.set("device")
    await ear.set("device")
    while mouth.is_open or ear.is_open:
        await tick(mouth, ear, [SILENCE])
    await order()
    await mouth.set("device")
    await ear.set("device")
    await tick(mouth, ear, [SILENCE] * 10)


async def look(name: str) -> None:
    """Whether a device opens at all."""
    mouth, ear = Mouth(state), Ear(state)
    await mouth.set(name)
    await ear.set(name)
    await tick(mouth, ear, [SILENCE] * 3)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["carry", name, path, out]:
            asyncio.run(carry(name, path, out))
        case ["lose"]:
            asyncio.run(lose())
        case ["look", name]:
            asyncio.run(look(name))
