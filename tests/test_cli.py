"""The command line as a person meets it: help, mistakes, exit codes, JSON."""

import json
import os
import subprocess
import sys

import pytest

COMMANDS = (
    "up page demo rooms open join leave mute unmute members say listen version id".split()  # noqa: SIM905
)


def p2phouse(*words, tmp_path=None):
    env = os.environ | {"COLUMNS": "100"}
    if tmp_path is not None:
        env |= {"P2PHOUSE_HOME": str(tmp_path / "home"), "P2PHOUSE_RUNTIME_DIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "p2phouse", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=env,
        timeout=60,
    )


def test_help_lists_every_command_with_a_line():
    said = p2phouse("--help")
    assert said.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in said.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "id show"])
def test_every_command_explains_itself(command):
    said = p2phouse(*command.split(), "--help")
    assert said.returncode == 0
    assert "Usage:" in said.stdout


def test_help_loads_neither_libp2p_nor_sound():
    code = "import sys, p2phouse.cli; print({'libp2p', 'aiortc', 'trio', 'av'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["opne"], "Did you mean 'open'"),
        (["join"], "Missing argument"),
        (["up", "--port", "70000"], "65535"),
        (["up", "--audio", "loud"], "--audio loud is not understood"),
        (["up", "--log", "much"], "--log much is not understood"),
        (["listen"], "--out"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(words, says, tmp_path):
    said = p2phouse(*words, tmp_path=tmp_path)
    assert said.returncode == 2
    assert says in said.stderr
    assert said.stdout == ""
    assert "Traceback" not in said.stderr


def test_a_mistake_in_json_is_one_object(tmp_path):
    said = p2phouse("rooms", "--json", tmp_path=tmp_path)
    assert said.returncode == 2
    answer = json.loads(said.stdout)
    assert answer["yours"]
    assert "p2phouse up" in answer["error"]


def test_version_in_both_forms():
    from p2phouse import __version__

    assert p2phouse("version").stdout == f"p2phouse {__version__}\n"
    assert json.loads(p2phouse("version", "--json").stdout) == {"version": __version__}


def test_no_argument_shows_the_help():
    said = p2phouse()
    assert "Commands:" in said.stdout + said.stderr
