"""The rows of the four processes, their upstreams and the store, as `parley top` shows them. Pure."""

from rich.text import Text

from parley_cli.messages import message
from parley_cli.screen import in_cells, printable
from parley_cli.watching.figures import MISSING, duration, figure, whole
from parley_cli.watching.view import ProcessView, View

_LABEL_CELLS = 12
_SERVICE_MAX_CELLS = 16
# Heading and width of the columns of the processes, from the second one on; numbers stand to the right.
_COLUMNS = (
    ("top_cpu", 7),
    ("top_memory", 9),
    ("top_lag", 9),
    ("top_busy", 9),
    ("top_queued", 8),
    ("top_wait", 10),
    ("top_speed", 12),
)
_NAME_CELLS, _STATE_CELLS = 8, 7
_LAG_SLOW_MS = 10.0
_CPU_FULL_PERCENT = 90.0


def process_lines(view: View, width: int) -> list[Text]:
    """A heading and a line for each process."""
    used = 1 + _NAME_CELLS + _STATE_CELLS + sum(cells for _, cells in _COLUMNS)
    # Four more cells a column are enough; the rest of a wide terminal stays free.
    extra = min(4, max(0, (width - used) // len(_COLUMNS)))
    head = Text(" " + in_cells(message("top_process"), _NAME_CELLS) + in_cells("", _STATE_CELLS), "dim")
    for label, cells in _COLUMNS:
        head.append(in_cells(message(label), cells + extra, is_right=True))
    return [head, *(_process_line(process, extra) for process in view.processes)]


def _process_line(process: ProcessView, extra: int) -> Text:
    line = Text(" " + in_cells(process.name, _NAME_CELLS))
    if process.problem is not None:
        line.append(in_cells(message("top_down"), _STATE_CELLS), "bold red")
        return line.append(printable(process.problem), "red")
    if process.is_engine_available is False:
        line.append(in_cells(message("top_away"), _STATE_CELLS), "bold yellow")
    else:
        line.append(in_cells(duration(process.uptime_s), _STATE_CELLS), "green")
    for (_, cells), (text, style) in zip(_COLUMNS, _figures(process), strict=True):
        line.append(in_cells(text, cells + extra, is_right=True), style)
    return line


def _figures(process: ProcessView) -> tuple[tuple[str, str], ...]:
    """Text and style in the order of the columns."""
    busy, slots = process.busy_count, process.slot_count
    is_full = busy is not None and slots is not None and busy >= slots > 0
    speed, is_slow = MISSING, False
    if process.real_time_factor_p50 is not None:
        speed, is_slow = f"rtf {process.real_time_factor_p50:.2g}", process.real_time_factor_p50 >= 1
    elif process.tokens_per_second_p50 is not None:
        speed = f"{process.tokens_per_second_p50:.0f} tok/s"
    return (
        (figure(process.cpu_percent, "{:.0f} %"), _red_from(process.cpu_percent, _CPU_FULL_PERCENT)),
        (figure(process.memory_bytes, "{:.0f} MB", 1e-6), ""),
        (figure(process.loop_lag_p95_ms, "{:.1f} ms"), _red_from(process.loop_lag_p95_ms, _LAG_SLOW_MS)),
        (whole(busy) if slots is None else f"{whole(busy)}/{whole(slots)}", "red" if is_full else ""),
        (whole(process.queued_count), "yellow" if process.queued_count else ""),
        (figure(process.wait_p95_ms, "{:.0f} ms"), ""),
        (speed, "red" if is_slow else ""),
    )


def upstream_line(view: View) -> Text:
    """What the gateway says about the services and the store."""
    line = Text(" " + in_cells(message("top_upstreams"), _LABEL_CELLS), "dim")
    if not view.upstreams:
        line.append(MISSING, "not dim")
    for index, (name, is_up) in enumerate(sorted((view.upstreams or {}).items())):
        line.append(" · " if index else "").append(f"{printable(name)[:_SERVICE_MAX_CELLS]} ", "not dim")
        line.append(
            message("top_up" if is_up else "top_away"), "not dim green" if is_up else "not dim bold red"
        )
    line.append(f"   {message('top_store')} ")
    if view.is_store_degraded is None:
        return line.append(MISSING, "not dim")
    word, style = ("top_away", "not dim bold red") if view.is_store_degraded else ("top_up", "not dim green")
    line.append(message(word), style)
    figures: tuple[tuple[str, str], ...] = (
        ("top_store_queued", whole(view.store_queued_event_count)),
        ("top_store_append", figure(view.store_append_p95_ms, "{:.0f} ms")),
    )
    for label, text in figures:
        line.append(f" · {message(label)} ").append(text, "not dim")
    return line


def _red_from(value: float | None, limit: float) -> str:
    return "red" if value is not None and value >= limit else ""
