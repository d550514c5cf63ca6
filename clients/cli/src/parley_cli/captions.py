"""What people see of a conversation: captions as it goes, where the time went; what scripts see: JSON lines."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.text import Text

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.screen import FlowingText, err, fitting_tail, out, printable

# Both as wide as the other, so that what is said stands in one column.
YOU = Text("     you ▸ ", style="bold")
PARLEY = Text("  parley ▸ ", style="bold green")
STAGES = ("endpointing", "asr_final", "llm_first_token", "tts_first_audio", "playback_first_audio")
_STAGE_WORDS = {
    "endpointing": "silence until the turn was over",
    "asr_final": "last words recognised",
    "llm_first_token": "first word of the answer",
    "tts_first_audio": "first phrase spoken",
    "playback_first_audio": "on its way to you",
}
_STAGE_COLOURS = ("bright_black", "cyan", "magenta", "green", "blue")
_BAR_WIDTH = 32


class Captions:
    """Shows a conversation as it goes: what is heard, what is answered, how it ended. On a terminal partial
    transcripts are overwritten in place; elsewhere only what is final is printed.
    """

    def __init__(self) -> None:
        self._has_partial = False
        self._reply: FlowingText | None = None

    def show(self, response: pb2.ConverseResponse) -> None:
        """Print what a person wants to see of a response."""
        match response.WhichOneof("response"):
            case "transcript":
                self._show_transcript(response.transcript)
            case "reply_started":
                self.end_line()
            case "reply_text":
                self._show_reply_text(response.reply_text.text)
            case "reply_ended":
                self._show_ended(response.reply_ended)
            case "error":
                self._show_aside(response.error.status.message, "red")
            case "service_level" if response.service_level.level:
                self._show_aside(response.service_level.reason, "yellow")
            case "draining":
                self._show_aside(
                    "the gateway is going away; continue this conversation in a moment", "yellow"
                )

    def end_line(self) -> None:
        """Whatever comes next begins a line of its own."""
        self._clear_partial()
        if self._reply is not None:
            self._reply.end()
            self._reply = None

    def _show_transcript(self, transcript: events_pb2.Transcript) -> None:
        if transcript.is_final:
            self.end_line()
            if transcript.text:
                said = FlowingText(out, YOU)
                said.write(transcript.text)
                said.end()
        elif transcript.text and out.is_terminal and not out.is_dumb_terminal and self._reply is None:
            # One line only, its end: a terminal cannot take back a line that it has wrapped.
            shown = fitting_tail(printable(transcript.text), out.width - YOU.cell_len - 1)
            self._clear_partial()
            out.print(Text.assemble(YOU, (shown, "dim")), end="", soft_wrap=True)
            out.file.flush()
            self._has_partial = True

    def _clear_partial(self) -> None:
        if self._has_partial:
            out.file.write("\r\x1b[2K")
            self._has_partial = False

    def _show_reply_text(self, text: str) -> None:
        if self._reply is None:
            self.end_line()
            self._reply = FlowingText(out, PARLEY)
        self._reply.write(text)

    def _show_ended(self, ended: events_pb2.ReplyEnded) -> None:
        self.end_line()
        if ended.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED:
            heard = printable(ended.heard_text) or "nothing"
            self._show_aside(f"interrupted; you heard: {heard}", "dim", is_error=False)

    def _show_aside(self, text: str, style: str, *, is_error: bool = True) -> None:
        self.end_line()
        console = err if is_error else out
        console.print(Text(f"           {printable(text)}", style=style))


def show_waterfall(latency: events_pb2.Latency) -> None:
    """The five stages of a turn as bars on one time axis, at most 80 columns wide."""
    total_ms = _ms(latency.voice_to_voice)
    out.print(
        Text.assemble(
            "\n  from your last word to the first sound of the answer: ", (f"{total_ms:.0f} ms", "bold")
        )
    )
    begin_ms = 0.0
    for stage, colour in zip(STAGES, _STAGE_COLOURS, strict=True):
        value_ms = _ms(getattr(latency, stage))
        start = min(_BAR_WIDTH - 1, round(begin_ms / max(total_ms, 1) * _BAR_WIDTH))
        end = max(start + 1, round((begin_ms + value_ms) / max(total_ms, 1) * _BAR_WIDTH))
        bar = f"{' ' * start + '█' * (end - start):<{_BAR_WIDTH}}"
        out.print(Text.assemble("  ", (bar, colour), f"{value_ms:9.1f} ms  {_STAGE_WORDS[stage]}"))
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
