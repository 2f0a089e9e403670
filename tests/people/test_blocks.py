"""The list of people somebody has blocked: private, whole, and never lost in silence."""

import shutil
import stat

import pytest

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import FileNotWritten
from p2phouse.people.blocks import BLOCKED_MAX, blocks
from p2phouse.people.book import ListDamaged, ListFull
from p2phouse.record import cbor
from p2phouse.record.cbor import Value
from p2phouse.vocabulary import UserKey

ANN, BOB = UserKey(b"a" * 32), UserKey(b"b" * 32)


def uid(number: int) -> UserKey:
    return UserKey(number.to_bytes(32, "big"))


def test_who_is_blocked_stays_blocked_over_restarts(tmp_path):
    blocks(tmp_path).put(ANN, "Ann")
    blocks(tmp_path).put(BOB, "Zoë")
    assert blocks(tmp_path).read() == {ANN: "Ann", BOB: "Zoë"}
    assert blocks(tmp_path).take_off(ANN) == {BOB: "Zoë"}
    assert blocks(tmp_path).read() == {BOB: "Zoë"}


def test_nobody_else_on_the_machine_reads_the_list(tmp_path):
    blocks(tmp_path).put(ANN, "Ann")
    (file,) = tmp_path.iterdir()
    # Security: whom somebody blocks is that person's own business.
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_1000_people_can_be_blocked_and_no_more(tmp_path):
    assert BLOCKED_MAX == 1_000
    everybody: list[Value] = [[uid(number), "x" * 40] for number in range(999)]
    blocks(tmp_path).put(ANN, "")
    (file,) = tmp_path.iterdir()
    file.write_bytes(cbor.encode([1, everybody]))
    blocks(tmp_path).put(ANN, "Ann")
    with pytest.raises(ListFull, match="1000"):
        blocks(tmp_path).put(BOB, "Bob")
    blocks(tmp_path).take_off(uid(0))
    blocks(tmp_path).put(BOB, "Bob")
    assert len(blocks(tmp_path).read()) == 1_000


def test_a_damaged_list_is_said_and_left_as_it_is(tmp_path):
    blocks(tmp_path).put(ANN, "Ann")
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for data in (b"", whole[:-1], cbor.encode([1, [[bytes(32), "Ann"], [bytes(32)]]])):
        file.write_bytes(data)
        for change in (blocks(tmp_path).read, lambda: blocks(tmp_path).put(BOB, "Bob")):
            with pytest.raises(ListDamaged, match=r"blocked\.cbor.*Restore it") as said:
                change()
            assert isinstance(said.value, UserError)
            assert file.read_bytes() == data


def test_a_block_that_cannot_be_written_is_no_block_yet(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    shutil.rmtree(home)  # as a disk that was pulled out
    with pytest.raises(FileNotWritten):
        blocks(home).put(BOB, "Bob")
    assert blocks(home).read() == {}
