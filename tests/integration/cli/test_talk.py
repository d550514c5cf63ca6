"""`parley talk` with sound files: the question is spoken, the answer is a WAV file; odd files are refused kindly."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from integration.cli.command import Finished, Run

from parley_audio.resampling import Resampler
from parley_audio.wav import write_wav
from support.person import SPEECH, recording
from support.scripted_stack import ANSWER, HEARD

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = SPEECH / "question.wav"
SAID = "".join(ANSWER)
SAMPLE_BYTES, OUTPUT_HZ = 2, 24_000


def replied_samples(finished: Finished) -> int:
    audio = [line["reply_audio"]["audio"] for line in finished.json_lines() if "reply_audio" in line]
    return sum(int(each["packet_bytes"]) for each in audio) // SAMPLE_BYTES


@pytest.mark.parametrize("options", [[], ["--fast"]], ids=["real_time", "fast"])
async def test_a_question_gets_a_spoken_answer(parley: Run, tmp_path: Path, options: list[str]) -> None:
    finished = await parley("talk", "--input", QUESTION, "--output", "a.wav", "--json", *options)
    assert (finished.exit_code, finished.err) == (0, "")
    lines = finished.json_lines()
    assert "ready" in lines[0]
    times_ms = [line["at_ms"] for line in lines]
    assert times_ms == sorted(times_ms)
    assert [line["turn_committed"]["text"] for line in lines if "turn_committed" in line] == [HEARD]
    ended = [line["reply_ended"] for line in lines if "reply_ended" in line]
    assert [each["outcome"] for each in ended] == ["REPLY_OUTCOME_COMPLETED"]
    assert ended[0]["heard_text"] == SAID
    reply = soundfile.info(tmp_path / "a.wav")
    assert (reply.samplerate, reply.channels, reply.format) == (OUTPUT_HZ, 1, "WAV")
    assert reply.frames == replied_samples(finished) > OUTPUT_HZ


async def test_people_see_captions_and_where_the_replies_are(parley: Run, tmp_path: Path) -> None:
    finished = await parley("talk", "--input", QUESTION, "--output", "a.wav", "--fast")
    assert (finished.exit_code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[:2] == [f"     you ▸ {HEARD}", f"  parley ▸ {SAID}"]
    assert lines[-2].startswith("  go on: parley talk --conversation ")
    assert lines[-1] == "  replies written to a.wav"
    samples, _ = soundfile.read(tmp_path / "a.wav")
    assert np.abs(samples).max() > 0.1


async def test_latency_is_drawn_after_the_answer(parley: Run) -> None:
    finished = await parley("talk", "--input", QUESTION, "--fast", "--latency")
    assert (finished.exit_code, finished.err) == (0, "")
    lines = finished.out.splitlines()
    assert lines[2] == ""
    assert lines[3].endswith(" ms from your last word to the first sound of the answer")
    assert "budget 700 ms" in lines[4]
    stages_ms = [line[24:29].strip() for line in lines[5:10]]
    assert all(each == "<1" or each.isdigit() for each in stages_ms), lines
    assert "\x1b" not in finished.out


async def test_latency_is_not_drawn_into_json(parley: Run) -> None:
    finished = await parley("talk", "--input", QUESTION, "--json", "--latency")
    assert (finished.exit_code, finished.out) == (2, "")
    assert "reply_ended" in finished.err


async def test_a_conversation_is_continued_by_its_id(parley: Run) -> None:
    first = await parley("chat", "hello")
    conversation_id = first.out.split()[-1]
    second = await parley("talk", "--input", QUESTION, "--fast", "--conversation", conversation_id)
    assert second.exit_code == 0
    shown = (await parley("conversations", "show", conversation_id, "--json")).json()
    assert [turn["text"] for turn in shown["turns"]] == ["hello", SAID, HEARD, SAID]


async def test_two_questions_in_one_file_get_two_answers(parley: Run, tmp_path: Path) -> None:
    question = recording("question")
    write_wav(tmp_path / "q.wav", np.concatenate([question, question]), 16_000)
    finished = await parley("talk", "--input", "q.wav", "--fast", "--json")
    assert finished.exit_code == 0
    ended = [line["reply_ended"]["outcome"] for line in finished.json_lines() if "reply_ended" in line]
    assert ended == ["REPLY_OUTCOME_COMPLETED"] * 2


async def test_a_telephone_recording_in_stereo_is_understood(parley: Run, tmp_path: Path) -> None:
    resampler = Resampler(16_000, 8_000)
    mono = np.concatenate([resampler.push(recording("question")), resampler.flush()])
    soundfile.write(tmp_path / "q.wav", np.stack([mono, mono], axis=1), 8_000)
    finished = await parley("talk", "--input", "q.wav", "--fast")
    assert finished.exit_code == 0
    assert f"     you ▸ {HEARD}" in finished.out


@pytest.mark.parametrize("duration_ms", [1, 2000])
async def test_without_speech_it_says_that_nothing_was_understood(
    parley: Run, tmp_path: Path, duration_ms: int
) -> None:
    write_wav(tmp_path / "q.wav", np.zeros(16 * duration_ms, np.float32), 16_000)
    finished = await parley("talk", "--input", "q.wav", "--output", "a.wav", "--fast")
    assert finished.exit_code == 0
    assert "nothing was understood in q.wav" in finished.err
    assert soundfile.info(tmp_path / "a.wav").frames == 0


@pytest.mark.parametrize("content", [b"", b"RIFF\x24\x00\x00\x00WAVE", b"no sound at all\n" * 50])
async def test_a_file_that_is_no_sound_is_refused(parley: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "q.wav").write_bytes(content)
    finished = await parley("talk", "--input", "q.wav", "--output", "a.wav")
    assert finished.refuses(2, "q.wav")
    assert not (tmp_path / "a.wav").exists()


async def test_a_sound_file_without_samples_is_refused(parley: Run, tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", np.zeros(0, np.float32), 16_000)
    assert (await parley("talk", "--input", "q.wav")).refuses(2, "q.wav", "no sound in it")


async def test_a_file_that_is_not_there_is_refused(parley: Run) -> None:
    assert (await parley("talk", "--input", "missing.wav")).refuses(2, "missing.wav: no such file")


async def test_an_output_that_cannot_be_written_is_told_before_speaking(parley: Run) -> None:
    finished = await parley("talk", "--input", QUESTION, "--output", "missing/a.wav")
    assert finished.refuses(2, "missing: no such folder")


@pytest.mark.parametrize("option", ["--conversation", "--persona"])
async def test_what_is_unknown_is_refused_and_overwrites_nothing(
    parley: Run, tmp_path: Path, option: str
) -> None:
    shutil.copy(QUESTION, tmp_path / "a.wav")
    finished = await parley("talk", "--input", QUESTION, "--output", "a.wav", option, "nobody")
    assert finished.refuses(2)
    assert (tmp_path / "a.wav").read_bytes() == QUESTION.read_bytes()


@pytest.mark.parametrize("options", [["--fast"], ["--output", "a.wav"]])
async def test_options_of_files_need_a_file(parley: Run, options: list[str]) -> None:
    finished = await parley("talk", *options)
    assert finished.exit_code == 2
    assert "--output and --fast go with --input" in finished.err
