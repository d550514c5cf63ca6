"""Events are read whatever the network made of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_llm.engines.server_sent_events import EVENT_MAX_BYTES, EventReader, EventTooLong

STREAM = (
    b': hello\r\nevent: x\ndata: {"a": 1}\n\ndata:{"b": "\xe4\xbd\xa0"}\r\n\r\n\nretry: 3\ndata: [DONE]\n\n'
)
EVENTS = [b'{"a": 1}', b'{"b": "\xe4\xbd\xa0"}', b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    read = [event for begin, end in pairwise(edges) for event in reader.feed(STREAM[begin:end])]
    assert read == EVENTS


def test_an_event_is_told_with_its_line() -> None:
    assert EventReader().feed(b"data: x\n") == [b"x"]


def test_a_line_that_never_ends_is_refused() -> None:
    reader = EventReader()
    with pytest.raises(EventTooLong):
        for _ in range(EVENT_MAX_BYTES // 1000 + 2):
            reader.feed(b"data: " + b"x" * 1000)
