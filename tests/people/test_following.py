"""The list of people whom the owner follows: whole, private, bounded, and never lost by us."""

import os
import stat

import pytest

from p2phouse.errors import UserError
from p2phouse.identity.keyfile import FileExposed, FileNotWritten
from p2phouse.people.book import ListDamaged, ListFull
from p2phouse.people.following import following
from p2phouse.record import cbor, limits
from p2phouse.record.cbor import Value
from p2phouse.vocabulary import UserKey

ANN, BOB = UserKey(b"a" * 32), UserKey(b"b" * 32)


def test_who_is_followed_is_there_after_a_restart_in_the_same_order(tmp_path):
    following(tmp_path).put(ANN, "Änn from the café")
    following(tmp_path).put(BOB, "")
    assert list(following(tmp_path).read().items()) == [(ANN, "Änn from the café"), (BOB, "")]
    following(tmp_path).take_off(ANN)
    assert following(tmp_path).read() == {BOB: ""}


def test_nobody_is_followed_at_first(tmp_path):
    assert following(tmp_path).read() == {}
    assert following(tmp_path).take_off(ANN) == {}


def test_following_again_gives_another_name(tmp_path):
    book = following(tmp_path)
    book.put(ANN, "ann")
    assert book.put(ANN, "Ann S.") == {ANN: "Ann S."}


def test_only_the_owner_may_read_it(tmp_path):
    following(tmp_path).put(ANN, "ann")
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(FileExposed):
        following(tmp_path).read()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 40,
        cbor.encode([1, [[bytes(31), "x"]]]),
        cbor.encode([1, [[bytes(32)]]]),
        cbor.encode([2, []]),
        cbor.encode([True, []]),
        cbor.encode([1]),
        cbor.encode([1, []]) + b"\0",
        cbor.encode([1, [[bytes(32), 5]]]),
    ],
)
def test_a_damaged_file_is_told_and_never_written_over(tmp_path, data):
    path = tmp_path / "following.cbor"
    path.write_bytes(data)
    path.chmod(0o600)
    book = following(tmp_path)
    for act in (book.read, lambda: book.put(ANN, "ann"), lambda: book.take_off(ANN)):
        with pytest.raises(ListDamaged, match=r"following\.cbor is damaged"):
            act()
    assert path.read_bytes() == data


def test_a_disk_that_is_full_loses_nobody(tmp_path, monkeypatch):
    book = following(tmp_path)
    book.put(ANN, "ann")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileNotWritten):
        book.put(BOB, "bob")
    assert book.read() == {ANN: "ann"}
    assert len(list(tmp_path.iterdir())) == 1


def test_1024_people_are_followed_and_no_more(tmp_path):
    people: list[Value] = [[n.to_bytes(32), "n" * 40] for n in range(limits.FOLLOWING_MAX - 1)]
    path = tmp_path / "following.cbor"
    path.write_bytes(cbor.encode([1, people]))
    path.chmod(0o600)
    book = following(tmp_path)
    assert len(book.put(ANN, "ann")) == limits.FOLLOWING_MAX
    with pytest.raises(ListFull):
        book.put(BOB, "bob")
    assert len(book.put(ANN, "another name")) == limits.FOLLOWING_MAX
    assert BOB not in book.read()
    path.write_bytes(cbor.encode([1, [*people, [ANN, ""], [BOB, ""]]]))
    with pytest.raises(UserError):
        book.read()
