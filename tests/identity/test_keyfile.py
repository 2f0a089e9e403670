import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time

import pytest

from p2phouse.identity.keyfile import (
    FILE_BYTES_MAX,
    FileExposed,
    FileNotWritten,
    FileUnreadable,
    read_private,
    remove_leftovers,
    write_atomically,
)

NOBODY = 65_534


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of Python in a process of its own, whose limits and rights it may spoil."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60
    )


def whole(data: bytes) -> bool:
    """Whether it is content as the writers below make it: a body and its digest."""
    return len(data) > 32 and hashlib.sha256(data[32:]).digest() == data[:32]


def test_what_is_written_is_read_back_and_replaced(tmp_path):
    path = tmp_path / "key"
    write_atomically(path, b"first")
    assert read_private(path) == b"first"
    write_atomically(path, b"second")
    assert read_private(path) == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_ours_alone_whatever_the_umask_and_the_mode_of_the_old_one(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o666)
    before = os.umask(0)
    try:
        write_atomically(path, b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_that_others_may_touch_is_not_used(tmp_path, mode):
    path = tmp_path / "key"
    write_atomically(path, b"secret")
    path.chmod(mode)
    with pytest.raises(FileExposed, match=f"chmod 600 {path}"):
        read_private(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file of somebody else's")
def test_a_file_of_somebody_else_is_not_used(tmp_path):
    path = tmp_path / "key"
    write_atomically(path, b"secret")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(FileExposed):
        read_private(path)


def test_a_missing_file_is_told_apart_from_an_unreadable_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "key")
    with pytest.raises(FileUnreadable, match="could not be read"):
        read_private(tmp_path)


def test_a_file_has_one_mebibyte_at_most(tmp_path):
    path = tmp_path / "key"
    write_atomically(path, bytes(FILE_BYTES_MAX))
    assert len(read_private(path)) == FILE_BYTES_MAX
    write_atomically(path, bytes(FILE_BYTES_MAX + 1))
    with pytest.raises(FileUnreadable, match="too large"):
        read_private(path)


def test_a_folder_that_is_none_is_one_sentence(tmp_path):
    with pytest.raises(FileNotWritten, match=r"could not be written \(No such file or directory\)"):
        write_atomically(tmp_path / "nowhere" / "key", b"data")


READ_ONLY = """
import os, sys
from pathlib import Path
from p2phouse.errors import UserError
from p2phouse.identity.keyfile import write_atomically
os.chdir(sys.argv[1])  # first: the way there may be closed to others
if os.getuid() == 0:
    os.setuid(int(sys.argv[2]))  # root may write anywhere
try:
    write_atomically(Path("key"), b"new")
except UserError as error:
    print(os.listdir(), error)
"""


def test_a_folder_that_we_may_not_write_is_one_sentence_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "key"
    write_atomically(path, b"old")
    tmp_path.chmod(0o555)
    done = run(READ_ONLY, str(tmp_path), str(NOBODY))
    tmp_path.chmod(0o700)
    assert done.stdout == (
        "['key'] The file key could not be written (Permission denied). "
        "Free some space or choose another folder with --home DIR.\n"
    ), done.stderr
    assert read_private(path) == b"old"


FULL = """
import resource, sys
from pathlib import Path
from p2phouse.errors import UserError
from p2phouse.identity.keyfile import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # as on a disk with 100 bytes left
try:
    write_atomically(Path(sys.argv[1]), bytes(101))
except UserError as error:
    print(error)
"""


def test_a_disk_that_is_full_half_way_is_one_sentence_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "key"
    write_atomically(path, b"old")
    done = run(FULL, str(path))
    assert "could not be written (File too large)" in done.stdout, done.stderr
    assert "Free some space" in done.stdout
    assert read_private(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


# ── death at any moment ──────────────────────────────────────────────────────────────────────

DIES_AT = """
import os, signal, sys
from pathlib import Path
from p2phouse.identity.keyfile import write_atomically
path, death = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def step(event, arguments):
    # Python tells of each open, rename and removal before it is done.
    global steps
    if event in ("open", "os.rename", "os.remove", "tempfile.mkstemp"):
        if steps == death:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

content = Path(sys.argv[3]).read_bytes()
sys.addaudithook(step)
write_atomically(path, content)
print("lived")
"""


def content(number: int) -> bytes:
    """Something large enough to be written in pieces, which shows when any part is missing."""
    body = number.to_bytes(8) * 20_000
    return hashlib.sha256(body).digest() + body


def test_a_write_killed_before_any_of_its_steps_leaves_the_old_file_or_the_new_one(tmp_path):
    path, new_path = tmp_path / "key", tmp_path / "new content"
    old, new = content(1), content(2)
    new_path.write_bytes(new)
    found = []
    for death in range(20):
        write_atomically(path, old)
        done = run(DIES_AT, str(path), str(death), str(new_path))
        if done.stdout == "lived\n":
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        found.append(read_private(path))
        assert found[-1] in (old, new)
    assert done.stdout == "lived\n", done.stderr
    # mkstemp and its open, the rename, then the folder's open.
    assert len(found) >= 4
    assert found[0] == old
    assert found[-1] == new


def test_what_a_killed_write_left_is_gone_at_the_next_start(tmp_path):
    path, new_path = tmp_path / "identity.cbor", tmp_path / "new"
    new_path.write_bytes(content(2))
    write_atomically(path, content(1))
    for death in range(20):
        done = run(DIES_AT, str(path), str(death), str(new_path))
        if done.stdout == "lived\n":
            break
    left = set(tmp_path.iterdir()) - {path, new_path}
    assert left
    remove_leftovers(tmp_path, before_unix=0.0)
    assert set(tmp_path.iterdir()) - {path, new_path} == left, "a write may be going on"
    remove_leftovers(tmp_path, before_unix=time.time() + 1)
    assert set(tmp_path.iterdir()) == {path, new_path}
    assert whole(read_private(path))


@pytest.mark.parametrize(
    "name",
    [
        "identity.cbor",
        ".identity.cbor",
        ".identity.cbor.bak",
        ".identity.cbor.abcdefgh.txt",
        "x.identity.cbor.abcdefgh",
        ".bashrc",
        ".Identity.cbor.abcdefgh",
    ],
)
def test_a_file_of_another_name_is_left_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    remove_leftovers(tmp_path, before_unix=time.time() + 1)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_what_is_no_plain_file_or_cannot_be_removed_is_left_alone(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    link, folder = tmp_path / ".room.cbor.aaaaaaaa", tmp_path / ".room.cbor.bbbbbbbb"
    link.symlink_to(target)
    folder.mkdir()
    remove_leftovers(tmp_path, before_unix=time.time() + 1)
    assert link.is_symlink()
    assert folder.is_dir()
    remove_leftovers(tmp_path / "nowhere", before_unix=0.0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file of somebody else's")
def test_what_somebody_else_put_there_is_left_alone(tmp_path):
    path = tmp_path / ".room.cbor.aaaaaaaa"
    path.write_bytes(b"theirs")
    os.chown(path, NOBODY, NOBODY)
    remove_leftovers(tmp_path, before_unix=time.time() + 1)
    assert path.exists()


WRITES_ON = """
import hashlib, itertools, sys
from pathlib import Path
from p2phouse.identity.keyfile import write_atomically
for number in itertools.count():
    body = number.to_bytes(8) * 20_000
    write_atomically(Path(sys.argv[1]), hashlib.sha256(body).digest() + body)
    print(number, flush=True)
"""


def test_thirty_kills_at_random_moments_never_leave_half_a_file(tmp_path):
    path = tmp_path / "key"
    rng = random.Random(30)
    for _ in range(30):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITES_ON, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        try:
            for _ in range(rng.randrange(1, 6)):
                acknowledged = int(writer.stdout.readline())
        finally:
            writer.kill()
            rest = writer.communicate()[0].split()
        data = read_private(path)
        assert whole(data)
        last = max([acknowledged, *map(int, rest)])
        assert int.from_bytes(data[32:40]) in (last, last + 1), "a write was lost"


ORDER = """
import os, sys
from pathlib import Path
from p2phouse.identity.keyfile import write_atomically
path = Path(sys.argv[1])
done = []

def watch(frame, event, called):
    if event == "c_call" and called is os.fsync:
        # The descriptor itself is out of sight; of those that are open only one can be meant.
        is_folder = any(map(os.path.isdir, map("/proc/self/fd/{}".format, range(3, 10))))
        done.append("sync folder" if is_folder else "sync file")
    if event == "c_call" and called is os.replace:
        done.append("rename")

sys.setprofile(watch)
write_atomically(path, b"data")
sys.setprofile(None)
print(done)
"""


def test_the_file_and_then_its_folder_reach_the_disk(tmp_path):
    """A power cut cannot be tried here; what survives one is decided by these three calls."""
    done = run(ORDER, str(tmp_path / "key"))
    assert done.stdout == "['sync file', 'rename', 'sync folder']\n", done.stderr
