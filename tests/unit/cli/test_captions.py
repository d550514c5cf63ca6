"""Captions on a terminal and in a pipe, the waterfall, and the JSON lines that scripts read."""

import itertools
import json
from typing import Protocol

import pytest

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.captions import STAGES, Captions, print_json, show_waterfall
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import status_from_fault


class Screen(Protocol):
    @property
    def out(self) -> str: ...
    @property
    def err(self) -> str: ...


ERASE = "\r\x1b[2K"


def heard(text: str, *, is_final: bool) -> pb2.ConverseResponse:
    return pb2.ConverseResponse(transcript=events_pb2.Transcript(text=text, is_final=is_final))


def answered(text: str) -> pb2.ConverseResponse:
    return pb2.ConverseResponse(reply_text=events_pb2.ReplyText(reply_id=1, text=text))


def ended(outcome: events_pb2.ReplyOutcome.ValueType, heard_text: str = "") -> pb2.ConverseResponse:
    return pb2.ConverseResponse(
        reply_ended=events_pb2.ReplyEnded(reply_id=1, outcome=outcome, heard_text=heard_text)
    )


def show(*responses: pb2.ConverseResponse) -> None:
    captions = Captions()
    for response in responses:
        captions.show(response)
    captions.end_line()


def test_a_pipe_gets_final_lines_only(pipe: Screen) -> None:
    show(
        heard("what is", is_final=False),
        heard("what is new", is_final=True),
        answered("Not "),
        answered("much."),
        ended(events_pb2.REPLY_OUTCOME_COMPLETED),
    )
    assert pipe.out.splitlines() == ["     you ▸ what is new", "  parley ▸ Not much."]
    assert pipe.err == ""


def test_a_long_line_stays_whole_in_a_pipe(pipe: Screen) -> None:
    show(heard("word " * 200 + "end", is_final=True))
    assert len(pipe.out.splitlines()) == 1


def test_a_terminal_overwrites_partial_transcripts_in_place(terminal: Screen) -> None:
    show(heard("one", is_final=False), heard("one two", is_final=False), heard("one two", is_final=True))
    assert terminal.out == f"     you ▸ one{ERASE}     you ▸ one two{ERASE}     you ▸ one two\n"


def test_a_partial_transcript_never_fills_the_last_column(terminal: Screen) -> None:
    show(heard("word " * 30 + "end", is_final=False))
    shown = terminal.out.removesuffix(ERASE)
    assert len(shown) < 40
    assert shown.startswith("     you ▸ …")
    assert shown.endswith("end")


def test_a_partial_transcript_during_a_reply_is_not_shown(terminal: Screen) -> None:
    show(answered("I am speaking "), heard("wait", is_final=False))
    assert "wait" not in terminal.out


def test_a_reply_is_folded_between_words_under_its_heading(terminal: Screen) -> None:
    show(answered("It is nice to hear you, and"), answered(" to hear you again."))
    lines = [line.rstrip() for line in terminal.out.splitlines()]
    assert lines == ["  parley ▸ It is nice to hear you, and", "           to hear you again."]


def test_speech_without_words_is_not_shown(pipe: Screen) -> None:
    show(heard("", is_final=True))
    assert pipe.out == ""


def test_an_interrupted_reply_says_what_was_heard(pipe: Screen) -> None:
    show(answered("One two three"), ended(events_pb2.REPLY_OUTCOME_INTERRUPTED, "One two"))
    assert pipe.out.splitlines() == ["  parley ▸ One two three", "           interrupted; you heard: One two"]


def test_a_reply_that_nobody_heard_says_so(pipe: Screen) -> None:
    show(ended(events_pb2.REPLY_OUTCOME_INTERRUPTED))
    assert "you heard: nothing" in pipe.out


def test_errors_go_to_standard_error_on_a_line_of_their_own(pipe: Screen) -> None:
    status = status_from_fault(Fault.unavailable("LLM_UNAVAILABLE", "no model\x1b[31m answers"), "llm.parley")
    show(answered("This "), pb2.ConverseResponse(error=events_pb2.ConversationError(status=status)))
    assert [line.rstrip() for line in pipe.out.splitlines()] == ["  parley ▸ This"]
    assert pipe.err.strip() == "no model [31m answers"


def test_a_lower_service_level_and_draining_are_told(pipe: Screen) -> None:
    show(
        pb2.ConverseResponse(service_level=events_pb2.ServiceLevel(level=1, reason="recognition is away")),
        pb2.ConverseResponse(service_level=events_pb2.ServiceLevel(level=0)),
        pb2.ConverseResponse(draining=events_pb2.Draining()),
    )
    first, second = pipe.err.splitlines()
    assert first.strip() == "recognition is away"
    assert "going away" in second


def test_the_waterfall_shows_five_stages_on_one_axis_within_80_columns(pipe: Screen) -> None:
    latency = events_pb2.Latency()
    for index, stage in enumerate(STAGES, start=1):
        getattr(latency, stage).FromMilliseconds(index * 100)
    latency.voice_to_voice.FromMilliseconds(1500)
    show_waterfall(latency)
    lines = [line for line in pipe.out.splitlines() if line.strip()]
    assert len(lines) == 6
    assert "1500 ms" in lines[0]
    assert [f"{index * 100}.0 ms" in line for index, line in enumerate(lines[1:], start=1)] == [True] * 5
    assert all(len(line) <= 80 for line in lines)
    bars = [line[2:34] for line in lines[1:]]
    assert all(before.rindex("█") + 1 == after.index("█") for before, after in itertools.pairwise(bars))


def test_the_waterfall_of_nothing_is_still_five_lines(pipe: Screen) -> None:
    show_waterfall(events_pb2.Latency())
    assert pipe.out.count("█") == 5


def test_a_json_line_tells_the_size_of_audio_instead_of_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    response = pb2.ConverseResponse(reply_audio=pb2.ReplyAudio(reply_id=3))
    response.reply_audio.audio.packets.extend([bytes(10), bytes(5)])
    print_json(response, at_ms=1.5)
    print_json(heard("你好", is_final=True))
    audio, transcript = map(json.loads, capsys.readouterr().out.splitlines())
    assert audio == {"at_ms": 1.5, "reply_audio": {"reply_id": "3", "audio": {"packet_bytes": 15}}}
    assert transcript == {"transcript": {"text": "你好", "is_final": True}}
