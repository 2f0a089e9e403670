"""What the owner chose is kept in a file that a person may edit, and never lost in it."""

import pytest

from p2phouse.choices import CARRY_KBPS_LEAST, CARRY_KBPS_MOST, Choices, ChoicesDamaged, ChoicesFile
from p2phouse.identity.keyfile import FileUnreadable


@pytest.fixture
def file(tmp_path):
    return ChoicesFile(tmp_path)


def test_who_chose_nothing_carries_with_five_megabits_unmetered(file):
    assert file.read() == Choices("auto", 5_000, False)


def test_what_is_chosen_is_there_after_a_restart(file, tmp_path):
    file.change(carry="never", carry_kbps=1_500, metered=True)
    file.change(metered=False)
    assert ChoicesFile(tmp_path).read() == Choices("never", 1_500, False)


def test_what_its_owner_wrote_beside_it_stays(file, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('# mine\ncarry = "auto" # for now\ncolour = "green"\n\n[relay]\ncarry = 1\n')
    file.change(carry="never", metered=True)
    assert path.read_text().splitlines() == [
        "# mine",
        'carry = "never" # for now',
        'colour = "green"',
        "metered = true",
        "",
        "[relay]",
        "carry = 1",
    ]
    assert file.read() == Choices("never", 5_000, True)


def test_a_file_of_tables_alone_gets_the_choice_before_them(file, tmp_path):
    (tmp_path / "config.toml").write_text("[relay]\na = 1\n")
    file.change(carry="never")
    assert file.read().carry == "never"


@pytest.mark.parametrize("kbps", [CARRY_KBPS_LEAST, CARRY_KBPS_MOST])
def test_a_limit_may_be_what_it_may_be_at_the_least_and_most(file, kbps):
    assert file.change(carry_kbps=kbps).carry_kbps == kbps


@pytest.mark.parametrize(
    "text",
    [
        'carry = "sometimes"',
        "carry = never",
        "carry = true",
        "metered = 1",
        "carry_kbps = true",
        "carry_kbps = 5e3",
        f"carry_kbps = {CARRY_KBPS_LEAST - 1}",
        f"carry_kbps = {CARRY_KBPS_MOST + 1}",
        "carry =",
        "\udcff",
    ],
)
def test_a_damaged_file_is_told_and_left_as_it_is(file, tmp_path, text):
    path = tmp_path / "config.toml"
    data = text.encode(errors="surrogateescape")
    path.write_bytes(data)
    for act in (file.read, lambda: file.change(metered=True)):
        with pytest.raises(ChoicesDamaged, match="Mend it, or move it away"):
            act()
    assert path.read_bytes() == data


def test_what_can_only_be_edited_by_hand_is_not_written_over(file, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('note = """\ncarry = x"""\n')
    with pytest.raises(ChoicesDamaged):
        file.change(carry="never")
    assert file.read().carry == "auto"


def test_a_file_that_is_far_too_large_is_not_read(file, tmp_path):
    (tmp_path / "config.toml").write_bytes(b"#" * (64 * 1024 + 1))
    with pytest.raises(FileUnreadable):
        file.read()
