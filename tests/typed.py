"""Commands typed at real nodes of this machine."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import promised
from tests.e2e.nodes import ProcessNode


@contextmanager
def two_nodes() -> Iterator[list[ProcessNode]]:
    """Ana and Ben, who meet nobody else."""
    folder = Path(tempfile.mkdtemp(prefix="p2ph-"))  # a socket's path may not be long
    made = [
        ProcessNode(folder / name, folder / "run", "--loopback", "--name", name)
        for name in ("ana", "ben")
    ]
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.stop()
        shutil.rmtree(folder)


def typed(node, *words):
    return subprocess.run(
        [sys.executable, "-m", "p2phouse", *words, "--home", str(node.home)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"P2PHOUSE_RUNTIME_DIR": str(node.runtime)},
        timeout=60,
    )


def said(node, *words):
    """What it prints when all is well."""
    done = typed(node, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def told(node, *words, verb=""):
    """What it prints with --json: one object, which is what the document promises."""
    done = typed(node, *words, "--json")
    facts = json.loads(done.stdout)
    if "error" not in facts:
        assert done.returncode == 0
        promised.check_result(verb or words[0].replace("-", "_"), facts)
    return done.returncode, facts
