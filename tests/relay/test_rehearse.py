"""What a rehearsal says of a machine, and what a relay then makes of it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from p2phouse.identity.keyfile import FileNotWritten
from p2phouse_relay.crowd.crowd import Joined, Measured
from p2phouse_relay.crowd.processes import trial_relay
from p2phouse_relay.home import make_home
from p2phouse_relay.rehearse import Report, Step, cost_of_100, keep, line, sentences
from p2phouse_relay.settings import FILE_NAME, GUESTS_MAX, read_settings


def step(
    listeners: int, *, lost: int = 0, p99: float = 5.0, refused: int = 0, crowd_core: float = 0.4
) -> Step:
    joined = Joined(listeners, listeners - refused, refused, 0, "", 0.5, 10.0, 20.0, 40.0)
    measured = Measured(
        listeners=listeners, seconds=5.0, sent=250, packets=250 * listeners,
        expected=250 * listeners, lost=lost, duplicated=0, reordered=0, silent=0, lost_worst=lost,
        foreign=0, opened=100, unopened=0, wrong=0, octets=0, padding=0, delay_ms_p50=1.0,
        delay_ms_p99=p99, delay_ms_max=p99, unanswered=0, cpu_s=1.0,
    )  # fmt: skip
    return Step(joined, measured, 9.5, 0.45, 60.0, crowd_core)


def test_what_holds_loses_next_to_nothing_and_is_not_late():
    assert step(100).trouble == ""
    assert step(100, lost=24).trouble == ""
    assert "0.10% of the packets" in step(100, lost=25).trouble
    assert "20 ms late" in step(100, p99=20.0).trouble
    assert "let nobody more in" in step(100, refused=1).trouble


def test_it_tells_what_stood_against_more():
    report = Report(1, 100, step(200, p99=31).trouble, (step(100), step(200, p99=31)))
    first, second, cost = sentences(report, 4.5)
    assert first == "This machine carries 100 listeners of 1 voice."
    assert second == "With more, one packet in a hundred was 31 ms late."
    assert cost == "100 listeners cost 4.50 a month."
    assert cost_of_100(report, 9.0) == 9.0


def test_it_tells_when_more_might_be_carried():
    untried = Report(4, 100, "", (step(100),))
    assert list(sentences(untried, None))[1] == "No more were tried: --listeners tries more."
    last = step(200, p99=31, crowd_core=0.97)
    assert (
        "may be more" in list(sentences(Report(1, 100, last.trouble, (step(100), last)), None))[2]
    )


def test_a_line_names_what_a_step_gave():
    words = line(step(1_000)).split()
    assert words[:4] == ["1,000", "0.00%", "1.0", "5.0"]
    assert words[-1] == "60"


def test_a_relay_lets_in_as_many_as_were_carried_unless_its_owner_says_how_many(tmp_path: Path):
    home = tmp_path / "relay"
    make_home(str(home), name="A", domain="a.example", address="127.0.0.1", contact="a@a.example")
    assert read_settings(home).terms.guests_max == GUESTS_MAX
    keep(home, Report(1, 350, "", (step(350),)), unix_s=1.0)
    assert read_settings(home).terms.guests_max == 350
    (home / "rehearsal.json").write_text("{}")
    assert read_settings(home).terms.guests_max == GUESTS_MAX
    keep(home, Report(1, 350, "", (step(350),)), unix_s=1.0)
    path = home / FILE_NAME
    path.write_text(path.read_text().replace("# guests = 900", "guests = 77"))
    assert read_settings(home).terms.guests_max == 77


def test_a_full_disk_is_said(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(FileNotWritten, match="Free some space"):
            keep(tmp_path, Report(1, 350, "", (step(350),)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "rehearsal.json").exists()


def test_a_relay_that_runs_can_be_tried(tmp_path: Path):
    with trial_relay() as relay:
        for _ in range(5):
            done = command(
                "--relay", relay.http, "--listeners", "4", "--seconds", "1", "--json", home=tmp_path
            )
            if " late" not in done.stdout:
                break
    told = json.loads(done.stdout)
    assert (told["listeners"], told["steps"][0]["cpu_us"]) == (4, None)


def command(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "p2phouse_relay", "rehearse", "--home", str(home), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_rehearsal_is_measured_and_kept(tmp_path: Path):
    for _ in range(5):  # on cores that others use as well a packet may be late: then nothing held
        done = command(
            "--listeners", "8", "--seconds", "1", "--price", "2", "--json", home=tmp_path
        )
        if " late" not in done.stdout:
            break
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["listeners"] == 8
    assert told["cost_of_100"] == 25.0
    (only,) = told["steps"]
    assert only["measured"]["lost"] == 0
    assert only["cpu_us"] > 0
    assert json.loads((tmp_path / "rehearsal.json").read_text())["listeners"] == 8


def test_it_is_turned_on_nobody_else(tmp_path: Path):
    done = command("--relay", "http://192.0.2.1:80", home=tmp_path)
    assert done.returncode == 2
    assert "not on this machine" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--listeners", "--voices", "--seconds"])
def test_its_size_is_bounded(tmp_path: Path, option):
    assert command(option, "99999", home=tmp_path).returncode == 2
