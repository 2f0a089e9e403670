"""Opens a file in the person's browser, if this terminal has one."""

import os
import sys
import webbrowser
from pathlib import Path


def show(path: Path) -> bool:
    """Whether a browser took the file. It gets a path, so no secret stands in a process list."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in displays):
        return False  # a text browser would take this terminal over
    try:
        return webbrowser.open(path.as_uri())
    except webbrowser.Error:
        return False
