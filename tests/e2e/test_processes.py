"""How the processes of one node live and die, and what a person is told when one cannot run."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from p2phouse.ask import NodeSaid, NoNode
from p2phouse.config import api_socket
from tests.e2e.nodes import gather, until


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_up(tmp_path, *options, env=None):
    """`up` to its end, for starts that must fail; its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "p2phouse", "up", "--loopback", "--no-page", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(tmp_path / "run")} | (env or {}),
    )
    return done.returncode, done.stderr


def test_media_ends_when_control_is_killed(make_node):
    node = make_node("ana", "--loopback")
    media = node.facts["media_pid"]
    node.kill()
    until(lambda: not is_alive(media), "media ending", within_s=5)


def test_media_ends_when_control_is_killed_in_the_middle_of_speech(make_node, clips):
    node = make_node("ana", "--loopback")
    node.asked("open", title="Tea")
    asking = node.begin("say", path=str(clips[0]))
    until(lambda: not node.me()["muted"], "speaking")
    media = node.facts["media_pid"]
    node.kill()
    until(lambda: not is_alive(media), "media ending", within_s=5)
    with pytest.raises(Exception, match="ended"):
        list(asking)


def test_a_killed_media_process_is_replaced_muted_with_a_new_voice(make_node):
    ana, ben = make_node("ana", "--loopback"), make_node("ben", "--loopback")
    gather([ana, ben])
    ana.asked("unmute")
    until(lambda: not next(iter(ben.others().values()))["muted"], "ana unmuted")
    os.kill(ana.facts["media_pid"], signal.SIGKILL)
    until(lambda: ana.asked("status")["media_restarts"] == 1, "a new media process")
    assert ana.me()["muted"]
    for node in (ana, ben):
        until(lambda node=node: node.is_connected_to(1), "a new link")
    until(lambda: next(iter(ben.others().values()))["muted"], "ben seeing it")


def test_say_ends_with_a_word_when_media_dies_in_the_middle(make_node, clips):
    node = make_node("ana", "--loopback")
    node.asked("open", title="Tea")
    asking = node.begin("say", path=str(clips[0]))
    until(lambda: not node.me()["muted"], "speaking")
    os.kill(node.facts["media_pid"], signal.SIGKILL)
    with pytest.raises(Exception, match="started anew, muted"):
        list(asking)


def test_a_node_that_is_asked_to_stop_leaves_the_room_first(make_node):
    ana, ben = make_node("ana", "--loopback"), make_node("ben", "--loopback")
    gather([ana, ben])
    assert ben.stop() == 0
    until(lambda: not ana.others(), "ben gone", within_s=2)
    assert "member_left" in ana.log
    assert " W " not in ana.log, "nothing was wrong, so nothing is warned of"
    assert not api_socket(ben.home, ben.runtime).exists()


def test_a_tied_node_ends_with_its_parent(make_node):
    node = make_node("ana", "--loopback")
    node.process.stdin.close()
    assert node.process.wait(10) == 0


def test_commands_without_a_node_say_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "p2phouse", "rooms", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(tmp_path / "run")},
    )
    assert done.returncode == 2
    assert "p2phouse up" in done.stderr


def test_two_nodes_on_one_home_is_a_mistake_that_is_named(make_node, tmp_path):
    node = make_node("ana", "--loopback")
    code, said = run_up(tmp_path, "--home", str(node.home))
    assert code == 2
    assert "Another node runs" in said


def test_a_taken_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = run_up(tmp_path, "--home", str(tmp_path / "ana"), "--port", str(port))
    assert code == 2
    assert str(port) in said
    assert "--port" in said


def test_a_home_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    code, said = run_up(tmp_path, "--home", str(tmp_path / "file" / "home"))
    assert code == 2
    assert "--home" in said


def test_a_read_only_home_is_named(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "tmpfs", str(home)], check=True)
    try:
        code, said = run_up(tmp_path, "--home", str(home))
    finally:
        subprocess.run(["umount", str(home)], check=True)
    assert code == 2
    assert "--home" in said


def test_a_full_home_is_named_and_leaves_no_half_identity(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", str(home)], check=True
    )
    try:
        (home / "filler").write_bytes(bytes(4_096))
        code, said = run_up(tmp_path, "--home", str(home))
        left = [path.name for path in home.iterdir()]
    finally:
        subprocess.run(["umount", str(home)], check=True)
    assert code == 2
    assert "space" in said
    assert "identity.cbor" not in left


def test_killing_a_node_at_any_moment_of_its_start_loses_no_identity(make_node):
    node = make_node("ana", "--loopback")
    before = node.asked("id")["peer_id"]
    node.stop()
    for milliseconds in (20, 150, 400, 700, 1_000, 1_300):
        process = subprocess.Popen(
            [sys.executable, "-m", "p2phouse", "up", "--loopback", "--home", str(node.home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(node.runtime)},
        )
        threading.Timer(milliseconds / 1_000, process.kill).start()
        process.wait()
    node.start()
    assert node.asked("id")["peer_id"] == before


def test_secrets_stay_out_of_the_log(make_node, clips):
    ana = make_node("ana", "--loopback", "--log", "debug")
    ben = make_node("ben", "--loopback", "--log", "debug")
    gather([ana, ben], title="Canary title")
    ana.asked("say", path=str(clips[0]))
    ana.stop()
    from p2phouse.record import cbor

    kept = cbor.decode((ana.home / "identity.cbor").read_bytes(), size_max=4_096)
    assert isinstance(kept, list)
    seeds = [each for each in kept if isinstance(each, bytes) and len(each) == 32]
    assert len(seeds) == 4
    for log in (ana.log, ben.log):
        assert "Canary" not in log
        for seed in seeds:
            assert seed.hex() not in log
            assert repr(seed)[2:-1] not in log


def test_garbage_on_the_unix_socket_ends_nothing(make_node):
    node = make_node("ana", "--loopback")
    path = str(api_socket(node.home, node.runtime))
    for garbage in (
        b"\xff" * 100 + b"\n",
        b"[]\n",
        b'{"verb": 5}\n',
        b"{" * 70_000,
        b"",
        b"null\n",
    ):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(path)
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            answer = stranger.makefile("rb").readline()
            assert b"error" in answer
            assert json.loads(answer)["yours"]
    assert node.asked("status")["media_restarts"] == 0
    assert (os.stat(path).st_mode & 0o777) == 0o600


def test_asking_a_node_that_is_gone_is_one_sentence(make_node):
    node = make_node("ana", "--loopback")
    node.stop()
    with pytest.raises(NoNode, match="No node runs"):
        node.begin("status")


def test_a_second_listen_is_refused_and_the_first_goes_on(make_node, tmp_path):
    node = make_node("ana", "--loopback")
    node.asked("open", title="Tea")
    first = node.begin("listen", out=str(tmp_path / "first.wav"))
    happening = iter(first)
    assert next(happening)["event"] == "listening"
    with pytest.raises(NodeSaid, match="already"):
        node.asked("listen", out=str(tmp_path / "second.wav"))
    first.stop()
    assert list(happening) == []
    assert first.result["trouble"] == ""
