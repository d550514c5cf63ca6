"""A minute of scrapes: what differences are taken to, and what a restart or a failure does."""

from parley_cli.watching.history import History
from parley_cli.watching.samples import Samples


def scrape(count: float, began_at_s: float | None = 1.0) -> Samples:
    series: dict[str, list[tuple[dict[str, str], float]]] = {"parley_x_total": [({}, count)]}
    if began_at_s is not None:
        series["process_start_time_seconds"] = [({}, began_at_s)]
    return Samples(series)


def counts(history: History) -> tuple[float | None, float | None]:
    """At the begin of the window, and now."""
    begin = history.minute_ago
    return (None if begin is None else begin.value("parley_x_total"), history.latest.value("parley_x_total"))


def test_before_the_first_scrape_there_is_nothing() -> None:
    history = History()
    assert counts(history) == (None, None)
    assert (history.window_s, history.step_s) == (0, 0)


def test_one_scrape_has_no_window() -> None:
    history = History()
    history.add(5.0, scrape(1))
    assert counts(history) == (None, 1)


def test_the_window_grows_to_a_minute_and_no_further() -> None:
    history = History()
    for second in range(200):
        history.add(float(second), scrape(second))
    assert counts(history) == (139, 199)
    assert (history.window_s, history.step_s) == (60, 1)


def test_a_process_that_began_again_begins_anew() -> None:
    history = History()
    history.add(1.0, scrape(900))
    history.add(2.0, scrape(3, began_at_s=2.0))
    assert counts(history) == (None, 3)
    history.add(3.0, scrape(5, began_at_s=2.0))
    assert counts(history) == (3, 5)


def test_a_failure_is_told_until_the_next_success() -> None:
    history = History()
    history.add(1.0, scrape(1))
    history.fail("nothing answers")
    assert history.problem == "nothing answers"
    history.add(3.0, scrape(4))
    assert history.problem is None
    assert counts(history) == (1, 4)
    assert history.step_s == 2


def test_where_the_start_is_not_told_the_window_still_works() -> None:
    history = History()
    history.add(1.0, scrape(1, began_at_s=None))
    history.add(2.0, scrape(2, began_at_s=None))
    assert counts(history) == (1, 2)
