"""What people see of a conversation: captions as it goes, where the time went; what scripts see: JSON lines."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.text import Text

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.messages import message
from parley_cli.screen import FlowingText, err, fitting_tail, in_cells, out, printable
from parley_cli.waterfall import BUDGET_MS, axis, bars, milliseconds

STAGES = ("endpointing", "asr_final", "llm_first_token", "tts_first_audio", "playback_first_audio")
_STAGE_CELLS = 22
_FIGURE_CELLS = 8
_WIDEST = 100
_NAME_CELLS = 8


def heading(speaker: str) -> Text:
    """What stands before the words of `you` or `parley`: as wide, so that what is said stands in one column."""
    name = in_cells(message(speaker), _NAME_CELLS, is_right=True)
    return Text(f"{name} ▸ ", style="bold green" if speaker == "parley" else "bold")


class Captions:
    """Shows a conversation as it goes: what is heard, what is answered, how it ended. On a terminal partial
    transcripts are overwritten in place; elsewhere only what is final is printed. shows_latency: also where the time
    went, after each reply that was heard.
    """

    def __init__(self, *, shows_latency: bool = False) -> None:
        self._shows_latency = shows_latency
        self._has_partial = self._has_waterfall = False
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
                self._show_aside(message("draining"), "yellow")

    def end_line(self) -> None:
        """Whatever comes next begins a line of its own."""
        self._clear_partial()
        if self._reply is not None:
            self._reply.end()
            self._reply = None

    def _show_transcript(self, transcript: events_pb2.Transcript) -> None:
        if transcript.text and self._has_waterfall:
            out.print()
            self._has_waterfall = False
        if transcript.is_final:
            self.end_line()
            if transcript.text:
                said = FlowingText(out, heading("you"))
                said.write(transcript.text)
                said.end()
        elif transcript.text and out.is_terminal and not out.is_dumb_terminal and self._reply is None:
            # One line only, its end: a terminal cannot take back a line that it has wrapped.
            shown = fitting_tail(printable(transcript.text), out.width - heading("you").cell_len - 1)
            self._clear_partial()
            out.print(Text.assemble(heading("you"), (shown, "dim")), end="", soft_wrap=True)
            out.file.flush()
            self._has_partial = True

    def _clear_partial(self) -> None:
        if self._has_partial:
            out.file.write("\r\x1b[2K")
            self._has_partial = False

    def _show_reply_text(self, text: str) -> None:
        if self._reply is None:
            self.end_line()
            self._reply = FlowingText(out, heading("parley"))
        self._reply.write(text)

    def _show_ended(self, ended: events_pb2.ReplyEnded) -> None:
        self.end_line()
        if ended.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED:
            heard = printable(ended.heard_text) or message("heard_nothing")
            self._show_aside(message("interrupted", heard=heard), "dim", is_error=False)
        if self._shows_latency and ended.latency.HasField("voice_to_voice"):
            show_waterfall(ended.latency)
            self._has_waterfall = True

    def _show_aside(self, text: str, style: str, *, is_error: bool = True) -> None:
        self.end_line()
        console = err if is_error else out
        console.print(Text(f"           {printable(text)}", style=style))


def show_waterfall(latency: events_pb2.Latency) -> None:
    """The five stages of a turn as bars on one time axis, at most 100 columns wide, and where the budget ends."""
    stages_ms = [_ms(getattr(latency, stage)) for stage in STAGES]
    total_ms = _ms(latency.voice_to_voice)
    cells = min(out.width, _WIDEST) - _STAGE_CELLS - _FIGURE_CELLS - 5
    title = Text("\n  ").append(f"{total_ms:.0f} ms", "bold green" if total_ms <= BUDGET_MS else "bold red")
    out.print(title.append(f" {message('latency_total')}"), soft_wrap=True)
    lines = [_stage_line("", "", axis(stages_ms, cells, message("top_budget", budget=f"{BUDGET_MS:.0f}")))]
    for stage, stage_ms, bar in zip(STAGES, stages_ms, bars(stages_ms, cells), strict=True):
        name = message(f"stage_{stage.replace('_', '.', 1)}")
        lines.append(_stage_line(name, f"{milliseconds(stage_ms)} ms", bar))
    for line in lines:
        out.print(line, soft_wrap=True)


def _stage_line(name: str, figure: str, bar: Text) -> Text:
    line = Text("  " + in_cells(name, _STAGE_CELLS) + in_cells(figure, _FIGURE_CELLS, is_right=True) + "  ")
    line.append(bar)
    line.rstrip()
    return line


def print_json(response: pb2.ConverseResponse, **extra: Any) -> None:
    """A response as one JSON line, with proto field names; of audio its size instead of its bytes."""
    content = MessageToDict(response, preserving_proto_field_name=True)
    if response.HasField("reply_audio"):
        audio = content["reply_audio"]["audio"]
        audio.pop("packets", None)
        audio["packet_bytes"] = sum(len(packet) for packet in response.reply_audio.audio.packets)
    print(json.dumps(extra | content, ensure_ascii=False), flush=True)


def _ms(duration: Any) -> float:
    return float(duration.ToTimedelta().total_seconds() * 1000)
