"""What `parley demo` shows: a spoken question, the captions, the spoken answer, where the time went, how to go on."""

import time
from importlib.resources import as_file, files
from pathlib import Path

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.console import Captions, out, show_waterfall
from parley_cli.spoken_file import SpokenFile
from parley_client import Fault, Parley

_QUESTION = "question.wav"


async def demonstrate(target: str, reply_file: Path) -> None:
    """Speak the shipped question to the gateway at `target`. Raises Fault when no answer comes."""
    captions = Captions()

    def show(response: pb2.ConverseResponse, _at_ms: float) -> None:
        captions.show(response)

    out.print("  speaking a question from a sound file, in real time\n")
    began_at_s = time.monotonic()
    with as_file(files("parley_cli") / "speech" / _QUESTION) as question:
        spoken = SpokenFile(question, is_fast=False, show=show)
    async with Parley(target) as parley:
        await spoken.speak(parley, config_pb2.ConversationConfig(), reply_file)
    if not spoken.latency.HasField("voice_to_voice"):
        raise Fault.unavailable(
            "DEMO_FAILED", "the question was not answered; run 'parley doctor' and see the logs"
        )
    show_waterfall(spoken.latency)
    out.print(
        f"  the answer is in {reply_file} ({time.monotonic() - began_at_s:.0f} s, nothing left this machine)\n"
    )
    out.print(_NEXT, markup=False)


_NEXT = """  go on:
    source .venv/bin/activate
    parley up                                     start everything and keep it running
    parley talk                                   with microphone and headset
    parley talk --input q.wav --output a.wav      with sound files
    parley chat                                   by keyboard
    parley chat --persona magic-8-ball "will it rain"
    parley up --profile workstation               with Ollama ('ollama pull gemma3' first)
    real speech models: services/asr/README.md, services/tts/README.md
"""
