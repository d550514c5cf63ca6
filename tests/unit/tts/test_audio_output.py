"""AudioOutput and PhraseShaper: exact places, bounded chunks, no clicks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_audio.pcm import AudioFormat, Encoding
from parley_tts.audio_output import AudioOutput, EncodedAudio, PhraseShaper
from parley_tts.ports import Samples

_RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])


def ones(count: int) -> Samples:
    return np.ones(count, dtype=np.float32)


def shaped(shaper: PhraseShaper, samples: Samples, step: int) -> Samples:
    parts = [shaper.push(samples[start : start + step]) for start in range(0, len(samples), step)]
    return np.concatenate([*parts, shaper.finish()])


@given(from_hz=_RATES, to_hz=_RATES, count=st.integers(1, 5000), step=st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_a_phrase_has_its_exact_length_and_does_not_depend_on_its_pieces(
    from_hz: int, to_hz: int, count: int, step: int
) -> None:
    samples = np.sin(np.arange(count) * 0.05).astype(np.float32)
    pieces = shaped(PhraseShaper(from_hz, to_hz, 1.0), samples, max(step, count // 50))
    whole = shaped(PhraseShaper(from_hz, to_hz, 1.0), samples, count)
    assert len(pieces) == len(whole) == -(-count * to_hz // from_hz)
    assert np.allclose(pieces, whole, atol=1e-4)


@pytest.mark.parametrize("to_hz", [22_050, 24_000, 8_000])
def test_phrases_meet_without_a_click(to_hz: int) -> None:
    """A constant signal is the worst case: cut hard, it jumps by its whole height."""
    output = shaped(PhraseShaper(22_050, to_hz, 0.5), ones(22_050), 441)
    joint = np.concatenate((output, output))
    assert np.abs(np.diff(joint)).max() < 0.12
    assert output[len(output) // 2] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
def test_chunks_are_bounded_and_follow_each_other(encoding: Encoding, rate_hz: int) -> None:
    output = AudioOutput(AudioFormat(encoding, rate_hz))
    chunks: list[EncodedAudio] = []
    for count in (rate_hz, rate_hz // 3, 7):
        chunks += output.push(0.1 * ones(count))
        chunks += output.end_phrase()
    chunks += output.finish()
    place = 0
    for chunk in chunks:
        assert chunk.start_sample == place
        assert chunk.packets and all(chunk.packets)
        assert sum(map(len, chunk.packets)) <= 65_536
        place += chunk.sample_count
        if encoding not in (Encoding.MP3, Encoding.OGG_OPUS):
            assert chunk.sample_count <= rate_hz // 10
    assert place == output.sent_sample_count >= rate_hz + rate_hz // 3 + 7
    if encoding in (Encoding.PCM_S16LE, Encoding.MULAW, Encoding.WAV):
        assert place == rate_hz + rate_hz // 3 + 7
        assert chunks[0].sample_count == rate_hz * 40 // 1000


def test_an_opus_phrase_ends_with_a_whole_frame() -> None:
    output = AudioOutput(AudioFormat(Encoding.OPUS, 24_000))
    list(output.push(ones(1000)))
    list(output.end_phrase())
    assert output.next_sample == 1440
