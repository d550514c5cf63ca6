"""Text on a terminal: what may not be printed, what fits, how it flows."""

from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from parley_cli.screen import FlowingText, fitting_tail, in_cells, printable


def flowing(width: int, heading: str, *pieces: str) -> list[str]:
    stream = StringIO()
    console = Console(force_terminal=True, file=stream, width=width, color_system=None, _environ={})
    text = FlowingText(console, Text(heading))
    for piece in pieces:
        text.write(piece)
    text.end()
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_control_characters_become_spaces() -> None:
    assert printable("a\x1b[2Jb\r\nc\x07\x9bd") == "a [2Jb  c  d"
    assert printable("你好 – naïve") == "你好 – naïve"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("one two three", 6, "…three"),
        ("今天天气很好", 7, "…气很好"),
        ("今天天气很好", 6, "…很好"),
        ("", 3, ""),
    ],
)
def test_the_end_of_a_text_is_kept(text: str, width: int, shown: str) -> None:
    assert fitting_tail(text, width) == shown
    assert cell_len(shown) <= width


def test_a_word_that_comes_in_pieces_is_not_torn() -> None:
    assert flowing(16, "▸ ", "one two thr", "ee fo", "ur five") == ["▸ one two three", "  four five"]


def test_no_line_begins_with_a_closing_mark() -> None:
    lines = flowing(13, "你 ▸ ", "今天天气，", "很好（真的）。")
    assert lines == ["你 ▸ 今天天", "     气，很好", "     （真", "     的）。"]


def test_filling_up_counts_columns() -> None:
    assert (in_cells("你", 4), in_cells("你", 4, is_right=True), in_cells("abcde", 4)) == (
        "你  ",
        "  你",
        "abcde",
    )


def test_chinese_may_break_after_any_character() -> None:
    assert flowing(12, "▸ ", "今天天气很好我们走") == ["▸ 今天天气很", "  好我们走"]


def test_a_word_longer_than_the_line_is_printed_whole() -> None:
    assert "".join(flowing(10, "▸ ", "a" * 30)).replace(" ", "").endswith("a" * 30)


def test_text_cannot_steer_the_terminal() -> None:
    assert flowing(60, "▸ ", "before\x1b[2J\nafter") == ["▸ before [2J after"]
