"""`parley say`: speak a text into a sound file."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from parley.tts.v1 import synthesis_options_pb2 as synthesis_pb2
from parley_cli.messages import message
from parley_cli.running import run
from parley_cli.screen import out
from parley_cli.sound_files import check_writable
from parley_client import Parley


def say(
    text: Annotated[str, typer.Argument(help="what to say; - reads standard input")],
    output_file: Annotated[Path, typer.Option("-o", "--output", help="WAV file to write", dir_okay=False)],
    voice: Annotated[str, typer.Option(help="a voice; see 'parley voices list'")] = "",
    speed: Annotated[float, typer.Option(min=0.25, max=4.0, help="1 is normal")] = 1.0,
) -> None:
    """Speak a text into a WAV file."""
    run(_say(text, output_file, synthesis_pb2.SynthesisOptions(voice=voice, speed=speed)))


async def _say(text: str, target: Path, options: synthesis_pb2.SynthesisOptions) -> None:
    check_writable(target)
    if text == "-":
        text = (await asyncio.to_thread(sys.stdin.buffer.read)).decode()
    content = bytearray()
    seconds = 0.0
    async with Parley() as parley:
        async for response in parley.speak(text, options):
            if response.HasField("audio"):
                content += b"".join(response.audio.packets)
            if response.HasField("finished"):
                seconds = response.finished.audio_duration.ToTimedelta().total_seconds()
    await asyncio.to_thread(target.write_bytes, _with_lengths(bytes(content)))
    out.print(f"  {message('seconds_written', seconds=seconds, file=target)}")


def _with_lengths(wav: bytes) -> bytes:
    """A streamed WAV has no lengths in its header; a file should. (RIFF: bytes 4-7 and 40-43, little-endian.)"""
    if len(wav) < 44 or wav[36:40] != b"data":
        return wav
    return (
        wav[:4]
        + (len(wav) - 8).to_bytes(4, "little")
        + wav[8:40]
        + (len(wav) - 44).to_bytes(4, "little")
        + wav[44:]
    )
