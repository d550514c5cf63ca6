"""The loudspeaker counts what was really played: the gateway truncates what was heard by it."""

from parley_cli.microphone import Loudspeaker

SAMPLES_OF_10_MS = 240


def filled(speaker: Loudspeaker, frame_count: int = SAMPLES_OF_10_MS) -> bytes:
    output = bytearray(b"\xff" * frame_count * 2)
    speaker.fill(output, frame_count, None, None)
    return bytes(output)


def test_without_audio_it_plays_silence_and_counts_nothing() -> None:
    speaker = Loudspeaker()
    assert filled(speaker) == bytes(2 * SAMPLES_OF_10_MS)
    assert speaker.played() == (0, 0.0, 0)


def test_what_was_played_is_counted_in_milliseconds() -> None:
    speaker = Loudspeaker()
    speaker.play(1, b"\x01" * 4 * SAMPLES_OF_10_MS)
    assert filled(speaker) == b"\x01" * 2 * SAMPLES_OF_10_MS
    assert speaker.played() == (1, 10.0, 0)
    filled(speaker)
    assert speaker.played() == (1, 20.0, 0)


def test_audio_that_ends_within_a_frame_is_an_underrun_and_followed_by_silence() -> None:
    speaker = Loudspeaker()
    speaker.play(1, b"\x01" * SAMPLES_OF_10_MS)
    assert filled(speaker) == b"\x01" * SAMPLES_OF_10_MS + bytes(SAMPLES_OF_10_MS)
    assert speaker.played() == (1, 5.0, 1)
    filled(speaker)
    assert speaker.played() == (1, 5.0, 1)


def test_a_new_reply_throws_away_the_one_before_and_counts_from_zero() -> None:
    speaker = Loudspeaker()
    speaker.play(1, b"\x01" * 4 * SAMPLES_OF_10_MS)
    filled(speaker)
    speaker.play(2, b"\x02" * 2 * SAMPLES_OF_10_MS)
    assert speaker.played() == (2, 0.0, 0)
    assert filled(speaker) == b"\x02" * 2 * SAMPLES_OF_10_MS


def test_stopping_throws_away_what_was_not_played_and_keeps_the_count() -> None:
    speaker = Loudspeaker()
    speaker.play(1, b"\x01" * 4 * SAMPLES_OF_10_MS)
    filled(speaker)
    speaker.stop()
    assert filled(speaker) == bytes(2 * SAMPLES_OF_10_MS)
    assert speaker.played() == (1, 10.0, 0)
