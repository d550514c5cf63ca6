"""What `parley demo` shows: a spoken question, the captions, the spoken answer, where the time went, how to go on."""

import time
from importlib.resources import as_file, files
from pathlib import Path

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.captions import Captions, show_waterfall
from parley_cli.messages import message
from parley_cli.screen import out
from parley_cli.spoken_file import SpokenFile
from parley_client import Fault, Parley

_QUESTION = "question.wav"


async def demonstrate(target: str, reply_file: Path) -> None:
    """Speak the shipped question to the gateway at `target`. Raises Fault when no answer comes."""
    captions = Captions()

    def show(response: pb2.ConverseResponse, _at_ms: float) -> None:
        captions.show(response)

    out.print(f"  {message('demo_speaking')}\n")
    began_at_s = time.monotonic()
    with as_file(files("parley_cli") / "speech" / _QUESTION) as question:
        spoken = SpokenFile(question, is_fast=False, show=show)
    async with Parley(target) as parley:
        await spoken.speak(parley, config_pb2.ConversationConfig(), reply_file)
    captions.end_line()
    if not spoken.latency.HasField("voice_to_voice"):
        raise Fault.unavailable(
            "DEMO_FAILED", "the question was not answered; run 'parley doctor' and see the logs"
        )
    show_waterfall(spoken.latency)
    seconds = time.monotonic() - began_at_s
    out.print(f"\n  {message('demo_done', file=reply_file, seconds=seconds)}\n")
    out.print(f"  {message('demo_next')}\n", soft_wrap=True)
