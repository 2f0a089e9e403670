"""The list of people somebody has blocked: private, whole, and never lost in silence."""

import shutil
import stat

import pytest

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import FileExposed, FileNotWritten
from p2phouse.people.blocks import BLOCKED_MAX, Blocks, BlocksDamaged, TooManyBlocked
from p2phouse.record import cbor
from p2phouse.record.cbor import Value
from p2phouse.vocabulary import UserKey

ANN, BOB = UserKey(b"a" * 32), UserKey(b"b" * 32)


def uid(number: int) -> UserKey:
    return UserKey(number.to_bytes(32, "big"))


def test_who_is_blocked_stays_blocked_over_restarts(tmp_path):
    blocks = Blocks(tmp_path)
    assert blocks.people == {}
    blocks.add(ANN, "Ann")
    blocks.add(BOB, "Zoë")
    assert Blocks(tmp_path).people == {ANN: "Ann", BOB: "Zoë"}
    blocks.remove(ANN)
    blocks.remove(ANN)
    assert Blocks(tmp_path).people == blocks.people == {BOB: "Zoë"}


def test_nobody_else_on_the_machine_reads_the_list(tmp_path):
    Blocks(tmp_path).add(ANN, "Ann")
    (file,) = tmp_path.iterdir()
    # Security: whom somebody blocks is that person's own business.
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    with pytest.raises(FileExposed):
        Blocks(tmp_path)


def test_1000_people_can_be_blocked_and_no_more(tmp_path):
    assert BLOCKED_MAX == 1_000
    everybody: list[Value] = [[uid(number), "x" * 40] for number in range(999)]
    Blocks(tmp_path).add(ANN, "")
    (file,) = tmp_path.iterdir()
    file.write_bytes(cbor.encode([1, everybody]))
    blocks = Blocks(tmp_path)
    blocks.add(ANN, "Ann")
    with pytest.raises(TooManyBlocked):
        blocks.add(BOB, "Bob")
    blocks.add(ANN, "Ann again")
    blocks.remove(uid(0))
    blocks.add(BOB, "Bob")
    assert len(Blocks(tmp_path).people) == 1_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        cbor.encode([1]),
        cbor.encode([2, []]),
        cbor.encode([1, [[b"short", "Ann"]]]),
        cbor.encode([1, [[bytes(32), "Ann"], [bytes(32)]]]),
        cbor.encode([1, [[bytes(32), 5]]]),
        cbor.encode([1, [[bytes(32), "a\u202eb"]]]),
        cbor.encode([1, [[uid(number), ""] for number in range(1_001)]]),
    ],
)
def test_a_damaged_list_is_said_and_left_as_it_is(tmp_path, data):
    Blocks(tmp_path).add(ANN, "Ann")
    (file,) = tmp_path.iterdir()
    file.write_bytes(data)
    with pytest.raises(BlocksDamaged, match=r"blocked\.cbor") as said:
        Blocks(tmp_path)
    assert isinstance(said.value, UserError)
    assert "Restore it" in str(said.value)
    assert file.read_bytes() == data


def test_a_block_that_cannot_be_written_is_no_block_yet(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    blocks = Blocks(home)
    blocks.add(ANN, "Ann")
    shutil.rmtree(home)  # as a disk that was pulled out
    for change in (lambda: blocks.add(BOB, "Bob"), lambda: blocks.remove(ANN)):
        with pytest.raises(FileNotWritten):
            change()
    assert blocks.people == {ANN: "Ann"}
