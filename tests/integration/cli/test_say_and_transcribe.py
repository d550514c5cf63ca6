"""`parley say` and `parley transcribe`: text into a WAV file, sound files into text."""

import json
import re
import shutil
from pathlib import Path

import pytest
import soundfile
from integration.cli.command import Run

from support.person import SPEECH
from support.scripted_stack import HEARD

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = SPEECH / "question.wav"


async def test_a_text_becomes_a_wav_file_with_lengths_in_its_header(parley: Run, tmp_path: Path) -> None:
    finished = await parley("say", "Good morning to all of you.", "-o", "a.wav")
    assert (finished.exit_code, finished.err) == (0, "")
    content = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert int.from_bytes(content[40:44], "little") == len(content) - 44
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels) == (24_000, 1)
    assert finished.out == f"  {info.duration:.1f} s written to a.wav\n"
    assert info.duration > 1


async def test_twice_the_speed_is_half_as_long(parley: Run, tmp_path: Path) -> None:
    await parley("say", "Good morning to all of you.", "-o", "a.wav")
    finished = await parley("say", "Good morning to all of you.", "-o", "b.wav", "--speed", "2")
    assert finished.exit_code == 0
    normal, fast = (soundfile.info(tmp_path / name).duration for name in ("a.wav", "b.wav"))
    assert fast == pytest.approx(normal / 2, rel=0.1)


async def test_a_text_from_standard_input_is_spoken(parley: Run, tmp_path: Path) -> None:
    finished = await parley("say", "-", "-o", "a.wav", stdin="你好。\nGood morning.".encode())
    assert finished.exit_code == 0
    assert soundfile.info(tmp_path / "a.wav").frames > 0


async def test_standard_input_that_is_not_utf_8_is_refused(parley: Run, tmp_path: Path) -> None:
    assert (await parley("say", "-", "-o", "a.wav", stdin=b"\xff\xfe")).refuses(2, "not UTF-8")
    assert not (tmp_path / "a.wav").exists()


@pytest.mark.parametrize(
    "arguments",
    [("hello", "--voice", "nobody"), ("",), ("hello", "-o", "missing/a.wav"), ("hello", "-o", ".")],
)
async def test_what_cannot_be_spoken_is_refused_and_writes_nothing(
    parley: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    finished = await parley("say", "-o", "a.wav", *arguments)
    assert finished.exit_code == 2, finished
    assert finished.err
    assert "Traceback" not in finished.err
    assert not (tmp_path / "a.wav").exists()


async def test_a_speed_out_of_range_is_refused(parley: Run) -> None:
    finished = await parley("say", "hello", "-o", "a.wav", "--speed", "9")
    assert finished.exit_code == 2
    assert "--speed" in finished.err


async def test_a_recording_becomes_a_line(parley: Run) -> None:
    finished = await parley("transcribe", QUESTION)
    assert (finished.exit_code, finished.out, finished.err) == (0, f"{HEARD}\n", "")


async def test_a_recording_becomes_json(parley: Run) -> None:
    told = (await parley("transcribe", QUESTION, "--format", "json")).json()
    assert told["file"] == str(QUESTION)
    (utterance,) = told["utterances"]
    assert utterance["text"] == HEARD
    assert 0 <= utterance["start_s"] < utterance["end_s"] <= soundfile.info(QUESTION).duration


@pytest.mark.parametrize(("form", "mark", "first"), [("srt", ",", "1"), ("vtt", r"\.", "WEBVTT")])
async def test_a_recording_becomes_subtitles(parley: Run, form: str, mark: str, first: str) -> None:
    finished = await parley("transcribe", QUESTION, "--format", form)
    assert finished.exit_code == 0
    lines = finished.out.splitlines()
    assert lines[0] == first
    time = rf"00:00:0\d{mark}\d{{3}}"
    assert any(re.fullmatch(f"{time} --> {time}", line) for line in lines)
    assert HEARD in lines


async def test_a_file_that_is_no_sound_does_not_keep_the_others_from_being_written_down(
    parley: Run, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    shutil.copy(QUESTION, tmp_path / "good.wav")
    finished = await parley("transcribe", "bad.wav", "good.wav")
    assert finished.exit_code == 2
    assert finished.out == f"{HEARD}\n"
    assert finished.err.startswith("parley: bad.wav: ")
    assert len(finished.err.splitlines()) == 1


async def test_an_empty_file_is_refused_by_name(parley: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    assert (await parley("transcribe", "empty.wav")).refuses(2, "empty.wav")


@pytest.mark.parametrize(
    "arguments",
    [("missing.wav",), (".",), (QUESTION, "--format", "pdf"), (QUESTION, "--model", "nobody"), ()],
    ids=["missing", "folder", "format", "model", "nothing"],
)
async def test_wrong_use_of_transcribe_exits_2(parley: Run, arguments: tuple[object, ...]) -> None:
    finished = await parley("transcribe", *arguments)
    assert finished.exit_code == 2
    assert finished.out == ""
    assert finished.err
    assert "Traceback" not in finished.err


async def test_an_ogg_file_is_read_too(parley: Run, tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(QUESTION)
    soundfile.write(tmp_path / "q.ogg", samples, rate_hz)
    told = await parley("transcribe", "q.ogg", "--format", "json")
    assert json.loads(told.out)["utterances"][0]["text"] == HEARD
