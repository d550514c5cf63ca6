"""What people see: captions of a conversation, latency, errors. Used by every command that talks."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.text import Text

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

STAGES = ("endpointing", "asr_final", "llm_first_token", "tts_first_audio", "playback_first_audio")
_STAGE_WORDS = {
    "endpointing": "silence until the turn was over",
    "asr_final": "last words recognised",
    "llm_first_token": "first word of the answer",
    "tts_first_audio": "first phrase spoken",
    "playback_first_audio": "on its way to you",
}
_STAGE_COLOURS = ("bright_black", "cyan", "magenta", "green", "blue")
_BAR_WIDTH = 44


class Captions:
    """Shows a conversation as it goes: what is heard, what is answered, how it ended. On a terminal partial
    transcripts are overwritten in place; elsewhere only what is final is printed.
    """

    def __init__(self) -> None:
        self._has_partial = False
        self._has_reply_text = False

    def show(self, response: pb2.ConverseResponse) -> None:
        """Print what a person wants to see of a response."""
        match response.WhichOneof("response"):
            case "transcript":
                self._show_transcript(response.transcript)
            case "reply_started":
                self._has_reply_text = False
            case "reply_text":
                self._show_reply_text(response.reply_text.text)
            case "reply_ended":
                self._show_ended(response.reply_ended)
            case "error":
                self._end_line()
                err.print(Text(f"  {response.error.status.message}", style="red"))
            case "service_level" if response.service_level.level:
                self._end_line()
                err.print(Text(f"  {response.service_level.reason}", style="yellow"))
            case "draining":
                self._end_line()
                err.print(
                    Text(
                        "  the gateway is going away; continue this conversation in a moment", style="yellow"
                    )
                )

    def _show_transcript(self, transcript: events_pb2.Transcript) -> None:
        if not transcript.is_final:
            if out.is_terminal and transcript.text:
                self._has_partial = True
                out.file.write(f"\r\x1b[2K  you ▸ \x1b[2m{transcript.text}\x1b[0m")
                out.file.flush()
            return
        if self._has_partial:
            out.file.write("\r\x1b[2K")
            self._has_partial = False
        if transcript.text:
            out.print(Text.assemble(("  you ▸ ", "bold"), transcript.text))

    def _show_reply_text(self, text: str) -> None:
        if not self._has_reply_text:
            out.print(Text("  parley ▸ ", style="bold green"), end="")
        self._has_reply_text = True
        out.print(Text(text), end="")
        out.file.flush()

    def _show_ended(self, ended: events_pb2.ReplyEnded) -> None:
        self._end_line()
        if ended.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED:
            heard = ended.heard_text or "nothing"
            out.print(Text(f"           interrupted; you heard: {heard}", style="dim"))

    def _end_line(self) -> None:
        if self._has_reply_text or self._has_partial:
            out.print()
        self._has_reply_text = self._has_partial = False


def show_waterfall(latency: events_pb2.Latency) -> None:
    """The five stages of a turn as bars on one time axis."""
    total_ms = _ms(latency.voice_to_voice)
    out.print(
        Text.assemble(
            "\n  from your last word to the first sound of the answer: ", (f"{total_ms:.0f} ms", "bold")
        )
    )
    begin_ms = 0.0
    for stage, colour in zip(STAGES, _STAGE_COLOURS, strict=True):
        value_ms = _ms(getattr(latency, stage))
        start = round(begin_ms / max(total_ms, 1) * _BAR_WIDTH)
        width = max(1, round((begin_ms + value_ms) / max(total_ms, 1) * _BAR_WIDTH) - start)
        bar = " " * start + "█" * width
        line = Text.assemble(
            "  ", (f"{bar:<{_BAR_WIDTH + 1}}", colour), f"{value_ms:7.1f} ms  {_STAGE_WORDS[stage]}"
        )
        out.print(line)
        begin_ms += value_ms
    out.print()


def print_json(message: pb2.ConverseResponse, **extra: Any) -> None:
    """A response as one JSON line, with proto field names; of audio its size instead of its bytes."""
    content = MessageToDict(message, preserving_proto_field_name=True)
    if message.HasField("reply_audio"):
        audio = content["reply_audio"]["audio"]
        audio.pop("packets", None)
        audio["packet_bytes"] = sum(len(packet) for packet in message.reply_audio.audio.packets)
    print(json.dumps(extra | content, ensure_ascii=False), flush=True)


def _ms(duration: Any) -> float:
    return float(duration.ToTimedelta().total_seconds() * 1000)
