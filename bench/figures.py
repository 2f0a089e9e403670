"""A measured number, beside what it should be and what another way gives in the same run.

A number without its machine and commit is a rumour, so a result file holds all three.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """target: like "≥ 4.1" or "< 80"; empty if there is none."""

    what: str
    value: float
    unit: str
    target: str = ""
    reference: str = ""  # the other way that was measured in the same run
    reference_value: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """None if there is no target."""
        if not self.target:
            return None
        sign, limit = self.target.split()
        match sign:
            case "<":
                return self.value < float(limit)
            case "≤":
                return self.value <= float(limit)
            case "≥":
                return self.value >= float(limit)
            case _:
                raise ValueError(f"a target begins with <, ≤ or ≥, not with {sign}")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and of what a figure was measured."""

    cpu: str
    cores: int
    load: float  # of the last minute, when the run began: what else the machine was doing
    python: str
    commit: str  # with a "+" if files differed from it
    date: str  # UTC


def this_machine() -> Machine:
    return Machine(
        _cpu(),
        os.cpu_count() or 0,
        round(os.getloadavg()[0], 2),
        platform.python_version(),
        _commit(),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write(name: str, machine: Machine, figures: list[Figure], folder: Path = RESULTS) -> Path:
    """Keep a run as NAME.json, in place of the one before."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    content = {
        "name": name,
        "machine": asdict(machine),
        "figures": [{**asdict(each), "is_met": each.is_met} for each in figures],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def table(figures: list[Figure]) -> str:
    """The figures for a terminal, one a line."""
    rows = [
        (
            {True: "✓", False: "✗", None: " "}[each.is_met],
            each.what,
            _number(each.value),
            each.unit,
            each.target,
            f"{each.reference}: {_number(each.reference_value)}"
            if each.reference_value is not None
            else each.reference,
            each.note,
        )
        for each in figures
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(5)]
    return "\n".join(
        "  ".join(
            cell.rjust(widths[n]) if n == 2 else cell.ljust(widths[n]) if n < 5 else cell
            for n, cell in enumerate(row)
            if n < 5 or cell
        ).rstrip()
        for row in rows
    )


def _number(value: float | None) -> str:
    """Three figures that count, and no exponent."""
    if value is None:
        return ""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def _commit() -> str:
    def git(*command: str) -> str:
        done = subprocess.run(
            ["git", *command], capture_output=True, text=True, check=False, cwd=RESULTS.parent
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/p2phouse")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
