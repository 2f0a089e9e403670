"""A join link as a QR code: for a camera that looks at a page, or at a terminal."""

from typing import Final

BORDER: Final = 4  # white modules around it, or cameras do not find it (ISO 18004 §6.3.8)
HALVES: Final = {"00": " ", "10": "▀", "01": "▄", "11": "█"}
# By number: "black" and "white" are whatever the terminal's theme calls so.
BLACK_ON_WHITE: Final = "\x1b[38;5;16m\x1b[48;5;231m"
AS_BEFORE: Final = "\x1b[0m"


def matrix(text: str) -> list[str]:
    """Its rows from the top, a character a module: 1 is dark. The white border is in them."""
    import segno  # a tenth of a second, for a code that few ask for

    rows = segno.make_qr(text, error="l").matrix_iter(border=BORDER)  # of a screen nothing is torn
    return ["".join("1" if dark else "0" for dark in row) for row in rows]


def terminal(text: str) -> str:
    """Lines for a terminal, of two rows of modules each."""
    rows = matrix(text)
    if len(rows) % 2:
        rows.append("0" * len(rows[0]))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        halves = "".join(HALVES[above + below] for above, below in zip(upper, lower, strict=True))
        lines.append(f"{BLACK_ON_WHITE}{halves}{AS_BEFORE}\n")
    return "".join(lines)
