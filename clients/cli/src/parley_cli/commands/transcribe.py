"""`parley transcribe`: what is said in sound files."""

import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from parley.asr.v1 import recognition_options_pb2 as recognition_pb2
from parley.asr.v1 import recognition_service_pb2 as asr_pb2
from parley_cli.running import DONE, WRONG_USE, complain, run
from parley_cli.screen import err
from parley_client import Fault, Parley
from parley_servicekit.faults import FaultCode


class Format(StrEnum):
    """Forms of a transcript."""

    TXT = "txt"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"


class Task(StrEnum):
    """What to do with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


def transcribe(
    files: Annotated[
        list[Path], typer.Argument(help="sound files: WAV, FLAC, OGG, MP3", exists=True, dir_okay=False)
    ],
    form: Annotated[Format, typer.Option("--format", help="form of the transcript")] = Format.TXT,
    language: Annotated[str, typer.Option(help="BCP-47, or auto")] = "auto",
    task: Annotated[Task, typer.Option()] = Task.TRANSCRIBE,
    model: Annotated[str, typer.Option(help="a model; see 'parley models list'")] = "",
) -> None:
    """Write down what is said in sound files."""
    options = recognition_pb2.RecognitionOptions(
        model=model,
        language_codes=[] if language == "auto" else [language],
        task=recognition_pb2.RecognitionTask.Value(f"RECOGNITION_TASK_{task.name}"),
    )
    run(_transcribe(files, form, options))


async def _transcribe(files: list[Path], form: Format, options: recognition_pb2.RecognitionOptions) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(complete_style="green", finished_style="green", pulse_style="bright_black"),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    exit_code = DONE
    async with Parley() as parley:
        for file in files:
            with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
                bar = progress.add_task(file.name, total=None)

                def move(done_s: float, total_s: float | None) -> None:
                    progress.update(bar, completed=done_s, total=total_s)  # noqa: B023 - used within this round

                try:
                    transcripts = await _transcribe_one(parley, file, options, move)
                except Fault as fault:
                    # A file that is no sound does not keep the others from being written down.
                    if fault.code is not FaultCode.INVALID_ARGUMENT:
                        raise
                    complain(f"{file}: {fault.message}")
                    exit_code = WRONG_USE
                    continue
            print(render(form, file, transcripts), flush=True)
    if exit_code != DONE:
        raise typer.Exit(exit_code)


async def _transcribe_one(
    parley: Parley,
    file: Path,
    options: recognition_pb2.RecognitionOptions,
    move: Callable[[float, float | None], None],
) -> list[asr_pb2.Transcript]:
    transcripts: list[asr_pb2.Transcript] = []
    async for response in parley.transcribe(file, options):
        if response.HasField("progress"):
            progress = response.progress
            total_s = _seconds(progress.total_duration) if progress.HasField("total_duration") else None
            move(_seconds(progress.recognized_offset), total_s)
        elif response.transcript.is_final and response.transcript.text:
            transcripts.append(response.transcript)
    return transcripts


def render(form: Format, file: Path, transcripts: Sequence[asr_pb2.Transcript]) -> str:
    """The transcripts of a file in one of the forms."""
    match form:
        case Format.TXT:
            return "\n".join(transcript.text for transcript in transcripts)
        case Format.JSON:
            utterances = [
                {
                    "start_s": _seconds(each.start_offset),
                    "end_s": _seconds(each.end_offset),
                    "text": each.text,
                }
                for each in transcripts
            ]
            return json.dumps({"file": str(file), "utterances": utterances}, ensure_ascii=False)
        case Format.SRT:
            cues = [
                f"{number}\n{_cue_times(each, ',')}\n{each.text}\n"
                for number, each in enumerate(transcripts, start=1)
            ]
            return "\n".join(cues)
        case Format.VTT:
            return "\n".join(
                ["WEBVTT\n", *(f"{_cue_times(each, '.')}\n{each.text}\n" for each in transcripts)]
            )


def _cue_times(transcript: asr_pb2.Transcript, mark: str) -> str:
    return f"{_cue_time(transcript.start_offset, mark)} --> {_cue_time(transcript.end_offset, mark)}"


def _cue_time(offset: object, mark: str) -> str:
    total_ms = round(_seconds(offset) * 1000)
    seconds, milliseconds = divmod(total_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{milliseconds:03}"


def _seconds(duration: object) -> float:
    return float(duration.ToTimedelta().total_seconds())  # type: ignore[attr-defined]
