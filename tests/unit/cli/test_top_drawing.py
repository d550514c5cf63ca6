"""The screen of `parley top`: fits its terminal, stands in columns in both languages, tells what is wrong."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from parley_cli.watching.drawing import draw
from parley_cli.watching.view import STAGES, Counts, LatencyView, ProcessView, StageView, View

NOTHING = Counts(None, None)
PROCESS = ProcessView(
    name="asr",
    address="http://127.0.0.1:9465/metrics",
    problem=None,
    version="0.1.0",
    uptime_s=7300.0,
    is_engine_available=None,
    cpu_percent=12.4,
    memory_bytes=310e6,
    loop_lag_p95_ms=1.26,
    busy_count=23,
    slot_count=64,
    queued_count=2,
    wait_p95_ms=12.3,
    real_time_factor_p50=0.052,
    tokens_per_second_p50=None,
)
BARE = ProcessView("llm", "http://127.0.0.1:9466/metrics", *[None] * 13)
LATENCY = LatencyView(
    turn_count=31,
    mean_ms=650,
    p50_ms=640,
    p95_ms=1300,
    stages=tuple(StageView(stage, 130, 200) for stage in STAGES),
)
VIEW = View(
    window_s=60,
    processes=(PROCESS, BARE),
    session_count=23,
    session_slot_count=64,
    is_draining=False,
    refused_sessions=Counts({"total": 1}, {"total": 4}),
    turns=Counts({"answered": 31, "cancelled": 0}, {"answered": 900, "cancelled": 7}),
    replies=Counts({"completed": 28, "interrupted": 3}, {"completed": 800, "interrupted": 107}),
    barge_ins=NOTHING,
    errors=Counts({"LLM_UNAVAILABLE": 2}, {"LLM_UNAVAILABLE": 2}),
    underruns=Counts({"total": 0}, {"total": 5}),
    heard_ratio_mean=0.97,
    latency_last_minute=LATENCY,
    latency_since_start=LATENCY,
    upstreams={"asr": True, "llm": False},
    is_store_degraded=False,
    store_queued_event_count=0,
    store_append_p95_ms=3.6,
)
EMPTY = View(0, (BARE,), *[None] * 3, *[NOTHING] * 6, *[None] * 7)


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def drawn(view: View, width: int = 100, height: int | None = None, clock: str = "11:21:47") -> list[str]:
    return [line.plain.rstrip() for line in draw(view, clock=clock, width=width, height=height)]


def line_of(label: str, lines: list[str]) -> str:
    return next(line for line in lines if line.startswith(f" {label}"))


def test_figures_stand_beside_their_names() -> None:
    lines = drawn(VIEW)
    assert "23 of 64" in line_of("sessions", lines)
    assert "refused 1   heard 97 %   underruns 0" in line_of("sessions", lines)
    assert line_of("turns", lines).split() == [
        "turns",
        "answered",
        "31",
        "·",
        "cancelled",
        "0",
        "900",
        "·",
        "7",
    ]
    assert "p50 640 ms   p95 1300 ms   31 spoken turns, last minute" in line_of("voice to voice", lines)
    asr = line_of("asr", lines).split("  ")
    assert [each.strip() for each in asr if each] == [
        "asr", "2 h", "12 %", "310 MB", "1.3 ms", "23/64", "2", "12 ms", "rtf 0.052",
    ]  # fmt: skip
    assert "asr up · llm away   store up · queued 0 · append p95 4 ms" in line_of("upstreams", lines)


def test_what_is_not_told_is_a_dash() -> None:
    lines = drawn(EMPTY)
    for label in ("turns", "replies", "barge-ins", "errors", "sessions"):
        assert line_of(label, lines).split()[1] == "–"
    assert line_of("llm", lines).split() == ["llm", "up", *["–"] * 7]
    assert line_of("upstreams", lines).split() == ["upstreams", "–", "store", "–"]


def test_what_never_happened_is_not_listed() -> None:
    quiet = replace(VIEW, errors=Counts({"INTERNAL": 0}, {"INTERNAL": 0}))
    assert line_of("errors", drawn(quiet)).split() == ["errors", "none"]


def test_before_the_first_turn_it_says_so() -> None:
    lines = drawn(replace(VIEW, latency_last_minute=None, latency_since_start=None))
    assert " no spoken turn yet" in lines


def test_without_a_turn_in_the_last_minute_those_since_the_start_are_shown() -> None:
    lines = drawn(replace(VIEW, latency_last_minute=None))
    assert "31 spoken turns, since start" in line_of("voice to voice", lines)


def test_when_watching_has_just_begun_it_says_what_the_figures_cover() -> None:
    lines = drawn(replace(VIEW, window_s=7.9))
    assert "31 spoken turns, last 8 s" in line_of("voice to voice", lines)
    assert not any("last minute" in line for line in lines)


def test_a_process_that_is_down_says_what_to_do_instead_of_figures() -> None:
    down = replace(PROCESS, problem="nothing at 127.0.0.1:9465: run 'parley up', or use --metrics")
    line = line_of("asr", drawn(replace(VIEW, processes=(down,)), width=80))
    assert line == " asr     down   nothing at 127.0.0.1:9465: run 'parley up', or use --metrics"


def test_a_process_without_its_engine_says_so() -> None:
    lines = drawn(replace(VIEW, processes=(replace(PROCESS, is_engine_available=False),)))
    assert line_of("asr", lines).split()[1] == "away"


def test_a_snapshot_has_no_clock_and_no_keys() -> None:
    assert drawn(VIEW, clock="")[0] == " Parley 0.1.0"
    assert drawn(VIEW)[0].endswith("q quits   11:21:47")


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    hostile = {"a\x1b[2Jb\n" * 30: 3.0}
    lines = drawn(replace(VIEW, errors=Counts(hostile, hostile), upstreams={"x\x1b]0;y": True}))
    assert not any("\x1b" in line or "\n" in line for line in lines)


@given(
    st.integers(1, 300),
    st.integers(1, 80),
    st.sampled_from([VIEW, EMPTY]),
    st.sampled_from(["C.UTF-8", "zh_CN.UTF-8"]),
    st.dictionaries(st.text(max_size=40), st.floats(0, 1e12), max_size=30),
)
def test_it_fits_every_terminal(
    width: int, height: int, view: View, locale: str, errors: dict[str, float]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", locale)
        lines = drawn(replace(view, errors=Counts(errors, errors)), width, height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize("locale", ["C.UTF-8", "zh_CN.UTF-8"])
def test_at_80_by_24_nothing_is_cut_and_columns_are_straight(
    monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    lines = drawn(replace(VIEW, processes=(PROCESS, PROCESS, PROCESS, PROCESS)), 80, 24)
    assert len(lines) == 24
    assert not any("…" in line for line in lines)
    head = next(index for index, line in enumerate(lines) if "p95" in line and index > 12)
    assert {cell_len(line) for line in lines[head : head + 5]} == {80}
