"""Lines are read whatever the network made of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_llm.engines.line_reader import LINE_MAX_BYTES, LineReader, LineTooLong

STREAM = b'data: {"a": 1}\n\n{"b": "\xe4\xbd\xa0"}\r\n\n: x\nthe rest'


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = LineReader()
    lines = [line for begin, end in pairwise(edges) for line in reader.feed(STREAM[begin:end])]
    assert [*lines, reader.finish()] == STREAM.split(b"\n")
    assert reader.finish() == b""


def test_a_line_is_told_as_soon_as_it_is_whole() -> None:
    reader = LineReader()
    assert reader.feed(b"a\nb") == [b"a"]
    assert reader.feed(b"\n") == [b"b"]


def test_a_line_that_never_ends_is_refused() -> None:
    reader = LineReader()
    with pytest.raises(LineTooLong):
        for _ in range(LINE_MAX_BYTES // 1000 + 2):
            reader.feed(b"x" * 1000)
