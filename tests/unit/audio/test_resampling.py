"""Resampling: right length, right sound, little lag, and indifferent to how the stream is cut."""

import math

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_audio.pcm import AudioError, Samples
from parley_audio.resampling import Resampler

USUAL_RATES_HZ = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def resampled(samples: Samples, from_hz: int, to_hz: int, cuts: tuple[int, ...] = ()) -> Samples:
    resampler = Resampler(from_hz, to_hz)
    parts = [resampler.push(part) for part in np.split(samples, sorted(cuts))]
    return np.concatenate([*parts, resampler.flush()])


def tone(frequency_hz: float, rate_hz: int, sample_count: int) -> Samples:
    return np.sin(2 * np.pi * frequency_hz * np.arange(sample_count) / rate_hz).astype(np.float32)


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(2 * np.mean(samples.astype(np.float64) ** 2) + 1e-20))


@given(st.sampled_from(USUAL_RATES_HZ), st.sampled_from(USUAL_RATES_HZ), st.integers(0, 3_000))
@settings(deadline=None)
def test_the_length_is_exact_at_usual_rates(from_hz: int, to_hz: int, count: int) -> None:
    assert len(resampled(np.zeros(count, np.float32), from_hz, to_hz)) == math.ceil(count * to_hz / from_hz)


@given(st.integers(8_000, 48_000), st.integers(8_000, 48_000), st.integers(0, 3_000))
@settings(deadline=None, max_examples=30)
def test_the_length_is_within_one_at_odd_rates(from_hz: int, to_hz: int, count: int) -> None:
    assert abs(len(resampled(np.zeros(count, np.float32), from_hz, to_hz)) - count * to_hz / from_hz) <= 1


@given(
    st.sampled_from(USUAL_RATES_HZ),
    st.sampled_from([8_000, 16_000, 24_000, 48_000]),
    st.lists(st.integers(0, 2_000), max_size=8),
)
@settings(deadline=None)
def test_how_the_stream_is_cut_changes_nothing(from_hz: int, to_hz: int, cuts: list[int]) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 2_000).astype(np.float32)
    whole = resampled(noise, from_hz, to_hz)
    assert np.allclose(resampled(noise, from_hz, to_hz, tuple(cuts)), whole, atol=1e-6)


def test_a_long_piece_is_the_same_as_many_short_ones() -> None:
    noise = np.random.default_rng(2).uniform(-1, 1, 50_000).astype(np.float32)
    pieces = tuple(range(0, 50_000, 480))
    assert np.allclose(resampled(noise, 48_000, 16_000), resampled(noise, 48_000, 16_000, pieces), atol=1e-6)


@pytest.mark.parametrize("from_hz", [*USUAL_RATES_HZ, 47_999])
@pytest.mark.parametrize("to_hz", [8_000, 16_000, 24_000, 48_000])
def test_a_tone_keeps_its_pitch_place_and_level(from_hz: int, to_hz: int) -> None:
    heard = resampled(tone(1_000, from_hz, from_hz // 2), from_hz, to_hz)
    error = (heard - tone(1_000, to_hz, len(heard)))[400:-400]
    assert level_db(error) < -80


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (44_100, 16_000), (24_000, 16_000)])
def test_what_the_lower_rate_cannot_hold_does_not_fold_back(from_hz: int, to_hz: int) -> None:
    heard = resampled(tone(to_hz / 2 * 1.1, from_hz, from_hz), from_hz, to_hz)
    assert level_db(heard[400:-400]) < -75


@pytest.mark.parametrize("from_hz", [rate for rate in USUAL_RATES_HZ if rate != 16_000])
def test_usual_rates_lag_by_at_most_four_milliseconds(from_hz: int) -> None:
    resampler = Resampler(from_hz, 16_000)
    given_count = 0
    for frame in range(1, 20):
        given_count += len(resampler.push(np.zeros(from_hz // 50, np.float32)))
        fed_s = frame * (from_hz // 50) / from_hz
        assert fed_s - given_count / 16_000 <= 0.0041


def test_equal_rates_pass_through_untouched() -> None:
    samples = tone(440, 16_000, 100)
    assert np.array_equal(resampled(samples, 16_000, 16_000, (7, 50)), samples)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(16_000, 16_000), (48_000, 16_000), (16_001, 16_000)])
def test_nothing_comes_after_the_end(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    resampler.flush()
    assert len(resampler.flush()) == 0
    with pytest.raises(ValueError, match="flushed"):
        resampler.push(np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(0, 16_000), (16_000, 3_999), (200_000, 16_000), (-1, 16_000)]
)
def test_rates_beyond_the_bounds_are_refused(from_hz: int, to_hz: int) -> None:
    with pytest.raises(AudioError):
        Resampler(from_hz, to_hz)


@pytest.mark.parametrize("from_hz", [rate for rate in USUAL_RATES_HZ if rate != 16_000])
def test_what_both_rates_hold_sounds_as_libsoxr_makes_it(from_hz: int) -> None:
    rng = np.random.default_rng(3)
    speech_band = sum(tone(frequency, from_hz, from_hz) for frequency in rng.uniform(100, 3_000, 20)) / 20
    ours = resampled(np.asarray(speech_band, dtype=np.float32), from_hz, 16_000)
    theirs = soxr.resample(speech_band, from_hz, 16_000, quality="VHQ")
    assert level_db((ours - theirs[: len(ours)])[500:-500]) < level_db(theirs[500:-500]) - 70
