"""What this machine lives on: the mains, or a battery that carrying others would drain."""

from pathlib import Path
from typing import Final

SUPPLIES: Final = Path("/sys/class/power_supply")  # Linux; elsewhere nothing is told
TEXT_CHARS_MAX: Final = 32


def on_mains(supplies: Path = SUPPLIES) -> bool:
    """Whether a plug feeds the machine, or it has no battery. Reads files: call it in a thread.

    True where the system does not tell: its owner can still say never.
    """
    is_drained = False
    for supply in supplies.glob("*"):
        if _text(supply / "type") not in ("Battery", "UPS"):
            if _text(supply / "online") == "1":
                return True
        elif _text(supply / "scope") != "Device":  # a mouse has a battery too
            is_drained |= _text(supply / "status") in ("Discharging", "Unknown")
    return not is_drained


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")[:TEXT_CHARS_MAX].strip()
    except OSError:
        return ""
