"""Traces in memory: an adapter that remembers every span, for unit tests."""

from dataclasses import dataclass, field
from typing import Any

TRACEPARENT = "00-{:032x}-{:016x}-01"


@dataclass
class RecordedSpan:
    name: str
    number: int
    parent: str = ""
    link: str = ""
    start_ns: int | None = None
    is_server: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    children: list[tuple[str, int, int]] = field(default_factory=list)
    end_ns: int | None = None
    reason: str = ""
    end_count: int = 0

    @property
    def trace_id(self) -> str | None:
        return f"{self.number:032x}"

    @property
    def traceparent(self) -> str:
        return TRACEPARENT.format(self.number, self.number)

    def note(self, **attributes: str | int | float | bool) -> None:
        assert not self.end_count, "noted after its end"
        self.attributes |= attributes

    def child(self, name: str, start_ns: int, end_ns: int) -> None:
        assert not self.end_count, "a child after its end"
        assert start_ns <= end_ns
        self.children.append((name, start_ns, end_ns))

    def end(self, end_ns: int | None = None, *, reason: str = "") -> None:
        self.end_ns, self.reason = end_ns, reason
        self.end_count += 1


class RecordedTraces:
    """Every span is in a trace of its own, numbered from 1."""

    is_on = True

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []

    def start(
        self,
        name: str,
        *,
        parent: str = "",
        link: str = "",
        start_ns: int | None = None,
        is_server: bool = False,
    ) -> RecordedSpan:
        self.spans.append(RecordedSpan(name, len(self.spans) + 1, parent, link, start_ns, is_server))
        return self.spans[-1]

    def close(self) -> None:
        pass

    def assert_all_ended_once(self) -> None:
        assert [span.end_count for span in self.spans] == [1] * len(self.spans)
