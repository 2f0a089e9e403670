"""The unix socket on which commands reach a node: who may ask, what is refused, how it ends."""

import json
import os
import socket
import stat
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from p2phouse import ask as asking
from p2phouse.api import (
    CONNECTIONS_MAX,
    REQUEST_BYTES_MAX,
    BadRequest,
    beside,
    listening,
    serve,
)
from p2phouse.errors import P2PHouseError, UserError


class Mistaken(UserError):
    """That was your mistake."""


class Failed(P2PHouseError):
    """That was nobody's mistake."""


async def greet(call, request):
    if not isinstance(request.get("name"), str):
        raise BadRequest(reason="name must be text")
    return {"hello": request["name"]}


async def count(call, request):
    for number in range(3):
        await call.tell({"event": "count", "text": str(number)})
    return {"counted": 3}


async def wait(call, request):
    await call.tell({"event": "waiting"})
    await call.stopped.wait()
    return {"stopped": True}


async def mistake(call, request):
    raise Mistaken


async def fail(call, request):
    raise Failed


async def flood(call, request):
    return {"rooms": ["x" * 100_000] * 5}


VERBS = {
    "flood": flood,
    "greet": greet,
    "count": count,
    "wait": wait,
    "mistake": mistake,
    "fail": fail,
}


@pytest.fixture
async def node(nursery):
    """A served socket, in a folder with a short name."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "api.sock"
        async with listening(path) as listener:
            nursery.start_soon(serve, listener, VERBS)
            yield path
            nursery.cancel_scope.cancel()


async def ask(path, verb, **arguments):
    """The events and the result, as the command line gets them."""

    def blocking():
        request = asking.ask(path, Path("home"), verb, **arguments)
        return list(request), request.result

    return await trio.to_thread.run_sync(blocking)


async def raw(path, data):
    """What the node answers to these bytes."""
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        answer = b""
        with trio.fail_after(10):
            async for more in stream:
                answer += more
    return json.loads(answer)


async def test_a_verb_answers(node):
    assert await ask(node, "greet", name="Ana") == ([], {"hello": "Ana"})


async def test_events_come_before_the_result_in_order(node):
    events, result = await ask(node, "count")
    assert [event["text"] for event in events] == ["0", "1", "2"]
    assert result == {"counted": 3}


async def test_whose_mistake_it_was_comes_across(node):
    with pytest.raises(asking.NodeSaid, match="your mistake"):
        await ask(node, "mistake")
    with pytest.raises(asking.NodeFailed, match="nobody's mistake"):
        await ask(node, "fail")
    assert await ask(node, "greet", name="still here") == ([], {"hello": "still here"})


async def test_an_answer_that_peers_made_too_long_is_an_error_and_ends_nothing(node):
    with pytest.raises(asking.NodeFailed, match="too long"):
        await ask(node, "flood")
    assert await ask(node, "greet", name="still here") == ([], {"hello": "still here"})


async def test_a_long_verb_ends_when_its_asker_stops(node):
    def blocking():
        request = asking.ask(node, Path("home"), "wait")
        events = iter(request)
        assert next(events) == {"event": "waiting"}
        request.stop()
        assert list(events) == []
        return request.result

    with trio.fail_after(10):
        assert await trio.to_thread.run_sync(blocking) == {"stopped": True}


async def test_an_asker_that_goes_away_leaves_the_node_whole(node):
    stream = await trio.open_unix_socket(str(node))
    await stream.send_all(b'{"verb": "wait"}\n')
    await stream.aclose()
    assert await ask(node, "greet", name="Ana") == ([], {"hello": "Ana"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"no json\n",
        b"[1]\n",
        b'"greet"\n',
        b'{"verb": "nonsense"}\n',
        b'{"verb": ["greet"]}\n',
        b'{"verb": "greet"}\n',
        b'{"verb": "greet", "name": 5}\n',
        b'{"verb": "greet", "name": "without an end"',
        b"[" * 60_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
async def test_a_bad_request_is_refused_with_a_word(node, data):
    answer = await raw(node, data)
    assert "request" in answer["error"]
    assert answer["yours"]


async def test_a_request_may_be_so_long_and_no_longer(node):
    frame = len(b'{"verb": "greet", "name": ""}\n')
    longest = json.dumps({"verb": "greet", "name": "x" * (REQUEST_BYTES_MAX - frame)})
    assert "hello" in (await raw(node, longest.encode() + b"\n"))["result"]
    answer = await raw(node, longest.encode() + b" \n")
    assert str(REQUEST_BYTES_MAX) in answer["error"]


async def test_only_we_may_open_the_socket(node):
    # Security: its mode keeps other users out.
    assert stat.S_IMODE(os.stat(node).st_mode) == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to ask as somebody else: sudo make test")
async def test_another_user_is_not_answered_even_if_the_mode_were_loosened(node):
    # Security: the peer's credentials are checked as well.
    os.chmod(node, 0o666)
    os.chmod(node.parent, 0o755)
    code = """
import os, socket, sys
os.setuid(65534)
stranger = socket.socket(socket.AF_UNIX)
stranger.connect(sys.argv[1])
try:
    stranger.sendall(b'{"verb": "count"}\\n')
    print(stranger.recv(99))
except (BrokenPipeError, ConnectionResetError):
    print(b"")
"""
    done = await trio.run_process([sys.executable, "-c", code, str(node)], capture_stdout=True)
    assert done.stdout.strip() == b"b''"


async def test_more_askers_than_places_wait_for_their_turn(node):
    waiting = []
    for _ in range(CONNECTIONS_MAX):
        stream = await trio.open_unix_socket(str(node))
        await stream.send_all(b'{"verb": "wait"}\n')
        assert b"waiting" in await stream.receive_some(99)
        waiting.append(stream)
    async with trio.open_nursery() as nursery:
        answers = []

        async def late():
            answers.append(await ask(node, "greet", name="late"))

        nursery.start_soon(late)
        for stream in waiting:
            await stream.send_eof()
    assert answers == [([], {"hello": "late"})]
    for stream in waiting:
        await stream.aclose()


async def test_the_socket_of_a_killed_node_is_taken_over():
    with TemporaryDirectory() as folder:
        path = Path(folder) / "api.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with listening(path):
            assert path.is_socket()
        assert not path.exists()


async def test_an_error_comes_out_of_beside_bare_and_ends_the_other():
    ended = trio.Event()

    async def background():
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def work():
        raise Mistaken

    with pytest.raises(Mistaken):
        await beside(background, work)
    assert ended.is_set()
