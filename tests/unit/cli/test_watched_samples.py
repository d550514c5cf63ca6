"""Scrapes are parsed as our registries write them, and whatever else comes is either samples or refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.cli.exposition import AsrExposition, GatewayExposition

from parley_cli.watching.samples import NotMetricsError, Samples, parse


def test_values_are_summed_over_what_is_not_asked_for() -> None:
    asr = AsrExposition()
    asr.metrics.streams.labels("StreamingRecognize").set(3)
    asr.metrics.streams.labels("Recognize").set(2)
    samples = asr.samples()
    assert samples.value("parley_asr_streams") == 5
    assert samples.value("parley_asr_streams", method="Recognize") == 2
    assert samples.by("parley_asr_streams", "method") == {"StreamingRecognize": 3, "Recognize": 2}


def test_what_is_not_there_is_not_zero() -> None:
    samples = GatewayExposition().samples()
    assert samples.value("parley_gateway_sessions") == 0
    assert samples.value("parley_gateway_cats") is None
    assert samples.value("parley_gateway_upstream_up", service="cats") is None
    assert samples.by("parley_gateway_cats", "colour") is None
    assert samples.label("parley_gateway_cats", "colour") is None
    assert samples.histogram("parley_gateway_cats_seconds") is None


def test_histograms_are_found_by_their_labels() -> None:
    asr = AsrExposition()
    asr.metrics.final.observe(0.03)
    asr.metrics.final.observe(4.0)
    found = asr.samples().histogram("parley_asr_final_seconds")
    assert found is not None
    assert found.count == 2
    assert found.sum == pytest.approx(4.03)


def test_the_version_is_a_label() -> None:
    assert GatewayExposition().samples().label("parley_gateway_build_info", "version")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>parley_</html>",
        "python_gc_objects_collected_total 3",
        "parley_gateway_sessions",
        "parley_gateway_sessions many",
        'parley_gateway_sessions{a="b" 1',
        "parley_gateway_sessions NaN",
        'parley_x{\t,\t=1}"{#{b ',
        "parley_x" + "y" * 100_000 + " 1",
    ],
)
def test_what_tells_nothing_of_ours_is_refused(body: str) -> None:
    with pytest.raises(NotMetricsError):
        parse(body)


def test_a_line_that_nobody_would_write_is_left_out() -> None:
    hostile = 'parley_gateway_errors_total{reason="' + "\\" * 100_000 + '"} 1\n'
    samples = parse(hostile + "parley_gateway_sessions 2\n")
    assert samples.value("parley_gateway_sessions") == 2
    assert samples.by("parley_gateway_errors_total", "reason") is None


@pytest.mark.parametrize(
    "buckets",
    [
        'parley_x_bucket{le="often"} 1',
        'parley_x_bucket{le="nan"} 1',
        "parley_x_bucket 1",
        'parley_x_bucket{le="1"} 3\nparley_x_bucket{le="+Inf"} 1',
        'parley_x_bucket{le="1"} +Inf\nparley_x_bucket{le="+Inf"} +Inf',
    ],
)
def test_buckets_that_make_no_sense_are_no_histogram(buckets: str) -> None:
    assert parse(f"{buckets}\nparley_x_sum 1\n").histogram("parley_x") is None


@given(st.text(alphabet='{}",=\\ \t#ab1_é\n', max_size=60))
def test_any_text_is_samples_or_refused(text: str) -> None:
    with contextlib.suppress(NotMetricsError):
        assert isinstance(parse("parley_" + text), Samples)
