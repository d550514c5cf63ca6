"""The five stages of a turn as bars on one time axis. Drawn by `talk --latency`, `demo` and `top`."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from parley_cli.screen import in_cells

# The goal of this system: from a person's last word to the first sound of the answer.
BUDGET_MS = 700.0
# For all but the slowest twentieth of the turns.
P95_GOAL_MS = 1200.0
COLOURS = ("blue", "cyan", "magenta", "yellow", "green")
_BUDGET_MARK = "┊"
# Half a cell is the finest step that has a character for both ends of a bar.
_HALVES = {(True, True): "█", (True, False): "▌", (False, True): "▐", (False, False): " "}


def bars(stages_ms: Sequence[float], width: int) -> list[Text]:
    """A line of `width` cells for each stage: its bar begins where the one before ended; a mark where the budget ends.

    The axis holds the longer of the turn and the budget. A stage too short to be seen is a thin line.
    """
    scale = _halves_per_ms(stages_ms, width)
    lines = []
    begin_ms = 0.0
    for stage_ms, colour in zip(stages_ms, COLOURS, strict=True):
        begin, end = round(begin_ms * scale), round((begin_ms + stage_ms) * scale)
        lines.append(_line(begin, end, width, colour, _budget_cell(stages_ms, width)))
        begin_ms += stage_ms
    return lines


def axis(stages_ms: Sequence[float], width: int, label: str) -> Text:
    """The line above the bars: what the mark means, beside it."""
    mark = _budget_cell(stages_ms, width)
    if mark > cell_len(label):
        text = in_cells(label, mark - 1, is_right=True) + " " + _BUDGET_MARK
    else:
        text = " " * mark + _BUDGET_MARK + " " + label
    return Text(text, "dim")


def _halves_per_ms(stages_ms: Sequence[float], width: int) -> float:
    # The last cell stays free, so that the mark is seen when the turn is shorter.
    return (width - 1) * 2 / max(sum(stages_ms), BUDGET_MS)


def _budget_cell(stages_ms: Sequence[float], width: int) -> int:
    return round(BUDGET_MS * _halves_per_ms(stages_ms, width)) // 2


def _line(begin: int, end: int, width: int, colour: str, budget_cell: int) -> Text:
    """begin, end: in half cells."""
    line = Text()
    for cell in range(width):
        filled = (begin <= 2 * cell < end, begin <= 2 * cell + 1 < end)
        if any(filled):
            line.append(_HALVES[filled], colour)
        elif begin == end and cell == min((begin + 1) // 2, width - 1):
            line.append("▏", colour)
        elif cell == budget_cell:
            line.append(_BUDGET_MARK, "dim")
        else:
            line.append(" ")
    return line


def milliseconds(value_ms: float) -> str:
    """Whole ones, which stand in a column: `621`; `<1` for what is there and too short to count."""
    return "<1" if 0 < value_ms < 0.5 else f"{value_ms:.0f}"
