"""Labels are those of the signal, and the detector of the scripted recogniser hears speech end where they say."""

import json
from pathlib import Path

import numpy as np

import bench.speech
from bench.speech import (
    CLIP_NAMES,
    FRAME_SAMPLE_COUNT,
    clip_frames,
    clip_sample_count,
    computed_labels,
    silent_frame,
)
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_asr.engines.scripted import LevelDetector
from parley_asr.ports import WINDOW_SAMPLE_COUNT


def samples_of(frames: tuple[bytes, ...]) -> np.ndarray:
    packets = [pb2.ConverseRequest.FromString(frame).audio.packets for frame in frames]
    assert all(len(each) == 1 and len(each[0]) == 2 * FRAME_SAMPLE_COUNT for each in packets)
    return np.concatenate([np.frombuffer(each[0], "<i2") for each in packets])


def test_the_stored_labels_are_what_the_recordings_say() -> None:
    stored = Path(bench.speech.__file__).with_name("speech_labels.json")
    assert json.loads(stored.read_text()) == computed_labels()


def test_frames_hold_the_speech_where_it_was_put_and_silence_around_it() -> None:
    shift = 777
    samples = samples_of(clip_frames("question", shift))
    end = shift + clip_sample_count("question")
    assert not samples[:shift].any()
    assert not samples[end:].any()
    assert 0 <= len(samples) - end < FRAME_SAMPLE_COUNT
    assert np.abs(samples[end - 160 : end]).max() > 300


def test_a_silent_frame_is_silent() -> None:
    assert not samples_of((silent_frame(),)).any()


async def test_on_the_grid_the_last_window_of_every_clip_is_heard_as_speech() -> None:
    for name in CLIP_NAMES:
        shift = -clip_sample_count(name) % (5 * WINDOW_SAMPLE_COUNT)
        samples = samples_of(clip_frames(name, shift)).astype(np.float32) / 32768
        assert len(samples) % WINDOW_SAMPLE_COUNT == 0, name
        stream = await LevelDetector().open_stream(0.5)
        assert (await stream.detect(samples))[-1], name
