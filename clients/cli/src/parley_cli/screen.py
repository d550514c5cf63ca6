"""Where output goes: two rich consoles, text that flows into a terminal as it comes, tables. Used by every command."""

import re
import sys
import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A file or a pipe has no width: lines stay whole, for grep and for people.
_UNBOUNDED_WIDTH = 20_000
# A word, with what follows it; Chinese, Japanese and Korean may break after any character, not before closing marks.
_PIECE = re.compile(r"\s+|[\u2e80-\uffef][、。〉》」』】，．！？：；）”’]*|[^\s\u2e80-\uffef]+")


class _QuietConsole(Console):
    """Lets a closed pipe end the command where all errors are handled."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - called by rich inside its except clause


def _console(*, is_error: bool) -> Console:
    stream = sys.stderr if is_error else sys.stdout
    width = None if stream.isatty() else _UNBOUNDED_WIDTH
    return _QuietConsole(stderr=is_error, highlight=False, markup=False, emoji=False, width=width)


out = _console(is_error=False)
err = _console(is_error=True)


def printable(text: str) -> str:
    """Text from elsewhere without control characters, which could steer the terminal; line ends become spaces."""
    return "".join(" " if unicodedata.category(each) == "Cc" else each for each in text)


def fitting_tail(text: str, width: int) -> str:
    """The end of a text, as much as fits into so many columns."""
    if cell_len(text) <= width:
        return text
    tail = text[-width:]
    while cell_len(tail) > width - 1:
        tail = tail[1:]
    return "…" + tail


def in_cells(text: str, cells: int, *, is_right: bool = False) -> str:
    """Filled up with spaces to so many columns of a terminal; Chinese characters take two. Never cut."""
    fill = " " * max(0, cells - cell_len(text))
    return fill + text if is_right else text + fill


class FlowingText:
    """One paragraph that is printed as it comes, broken between words, under a heading such as `parley ▸`.

    The last word is held back until it is known to be whole; `end` prints it.
    """

    def __init__(self, console: Console, heading: Text) -> None:
        self._console = console
        self._indent = self._column = heading.cell_len
        self._word = ""
        console.print(heading, end="", soft_wrap=True)

    def write(self, text: str) -> None:
        """Go on."""
        pieces = _PIECE.findall(self._word + printable(text))
        self._word = pieces.pop() if pieces else ""
        for piece in pieces:
            self._put(piece)
        self._console.file.flush()

    def end(self) -> None:
        """Print the rest and end the line."""
        self._put(self._word)
        self._console.print(soft_wrap=True)
        self._word = ""

    def _put(self, piece: str) -> None:
        if self._column + cell_len(piece.rstrip()) > self._console.width and self._column > self._indent:
            self._console.print("\n" + " " * self._indent, end="", soft_wrap=True)
            self._column = self._indent
            piece = piece.lstrip()
        self._console.print(Text(piece), end="", soft_wrap=True)
        self._column += cell_len(piece)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings, as wide as they need to be; on a terminal folded to its width."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        # A first column is what people copy: it is never folded.
        table.add_column(heading, overflow="fold", no_wrap=heading == headings[0])
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    print_whole(table)


def print_whole(table: Table) -> None:
    """Print a table; where nobody looks, without the spaces that fill up its lines."""
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as rendered:
        out.print(table)
    for line in rendered.get().splitlines():
        print(line.rstrip())
