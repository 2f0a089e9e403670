"""Whether the machine is fed by a plug, from what Linux says of its supplies."""

import pytest

from p2phouse.power import on_mains


@pytest.fixture
def supply(tmp_path):
    def make(name, **files):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(f"{text}\n")

    return make


def test_a_machine_without_supplies_or_that_tells_nothing_is_on_mains(tmp_path):
    assert on_mains(tmp_path)
    assert on_mains(tmp_path / "missing")


def test_a_laptop_is_on_mains_while_it_is_plugged_in(tmp_path, supply):
    supply("BAT0", type="Battery", status="Discharging")
    supply("AC", type="Mains", online="0")
    assert not on_mains(tmp_path)
    (tmp_path / "AC/online").write_text("1\n")
    assert on_mains(tmp_path)


def test_a_laptop_that_is_fed_through_usb_is_on_mains(tmp_path, supply):
    supply("BAT0", type="Battery", status="Unknown")
    assert not on_mains(tmp_path)
    supply("ucsi", type="USB", online="1")
    assert on_mains(tmp_path)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging"])
def test_a_battery_or_ups_that_is_not_drained_hangs_on_a_plug(tmp_path, supply, status):
    supply("BAT0", type="Battery", status=status)
    supply("UPS", type="UPS", status=status)
    assert on_mains(tmp_path)
    (tmp_path / "UPS/status").write_text("Discharging\n")
    assert not on_mains(tmp_path)


def test_the_battery_of_a_mouse_says_nothing_of_the_machine(tmp_path, supply):
    supply("mouse", type="Battery", scope="Device", status="Discharging")
    assert on_mains(tmp_path)
