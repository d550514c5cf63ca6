"""Figures as people read them: a number with its unit, `–` for what is not told. For the drawing of `parley top`."""

from collections.abc import Callable, Mapping

from parley_cli.messages import message

MISSING = "–"


def figure(value: float | None, form: str, factor: float = 1.0) -> str:
    """In `form`, after multiplication by `factor`."""
    return MISSING if value is None else form.format(value * factor)


def whole(value: float | None) -> str:
    """Without decimals."""
    return figure(value, "{:.0f}")


def percent(ratio: float | None) -> str:
    """Of a ratio from 0 to 1."""
    return figure(ratio, "{:.0f} %", 100.0)


def total(counts: Mapping[str, float] | None) -> float | None:
    """The sum of all."""
    return None if counts is None else sum(counts.values())


_DURATIONS: tuple[tuple[float, Callable[[float], str]], ...] = (
    (120, lambda s: f"{s:.0f} s"),
    (2 * 3600, lambda s: f"{s / 60:.0f} min"),
    (2 * 86_400, lambda s: f"{s / 3600:.0f} h"),
)


def duration(seconds: float | None) -> str:
    """In the largest unit that tells enough."""
    if seconds is None:
        return message("top_up")
    return next((say(seconds) for limit, say in _DURATIONS if seconds < limit), f"{seconds / 86_400:.0f} d")
