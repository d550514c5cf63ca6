"""Captions on a terminal and in a pipe, the waterfall, and the JSON lines that scripts read."""

import json
from typing import Protocol

import pytest
from rich.cells import cell_len

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_cli.captions import STAGES, Captions, heading, print_json, show_waterfall
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


def latency(*stages_ms: int) -> events_pb2.Latency:
    found = events_pb2.Latency()
    for stage, stage_ms in zip(STAGES, stages_ms, strict=True):
        getattr(found, stage).FromMilliseconds(stage_ms)
    found.voice_to_voice.FromMilliseconds(sum(stages_ms))
    return found


def heard_after(*stages_ms: int) -> pb2.ConverseResponse:
    response = ended(events_pb2.REPLY_OUTCOME_COMPLETED)
    response.reply_ended.latency.CopyFrom(latency(*stages_ms))
    return response


def test_the_waterfall_names_the_five_stages_their_milliseconds_and_the_budget(pipe: Screen) -> None:
    show_waterfall(latency(600, 0, 120, 80, 700))
    assert pipe.out.splitlines()[1] == "  1500 ms from your last word to the first sound of the answer"
    axis, *stages = pipe.out.splitlines()[2:]
    assert axis.endswith("budget 700 ms ┊")
    assert [line[2:32].split("  ")[0] for line in stages] == [
        "end of turn decided",
        "last words recognised",
        "first word of answer",
        "first phrase spoken",
        "on its way to you",
    ]
    assert [line[24:32].strip() for line in stages] == ["600 ms", "0 ms", "120 ms", "80 ms", "700 ms"]
    mark = axis.index("┊")
    assert [line[mark] for line in stages[:2]] == ["┊"] * 2


@pytest.mark.parametrize("locale", ["en_GB.UTF-8", "zh_CN.UTF-8"])
def test_the_waterfall_fits_its_terminal_in_both_languages(
    monkeypatch: pytest.MonkeyPatch, terminal: Screen, locale: str
) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    show_waterfall(latency(600, 40, 120, 80, 700))
    bars = [line for line in terminal.out.splitlines() if "ms  " in line]
    assert len(bars) == 5
    assert {cell_len(line[: line.index("ms  ")]) for line in bars} == {30}
    assert all(cell_len(line) <= 40 for line in bars)


def test_latency_is_drawn_after_each_reply_where_it_is_wanted(pipe: Screen) -> None:
    turn = [heard("hello", is_final=True), answered("Hi."), heard_after(600, 40, 120, 80, 5)]
    captions = Captions(shows_latency=True)
    for response in [*turn, *turn]:
        captions.show(response)
    assert pipe.out.count("845 ms") == 2
    assert "\n\n     you ▸ hello" in pipe.out


def test_latency_is_not_drawn_where_nobody_asked_or_nothing_was_heard(pipe: Screen) -> None:
    show(answered("Hi."), heard_after(600, 40, 120, 80, 5))
    Captions(shows_latency=True).show(ended(events_pb2.REPLY_OUTCOME_COMPLETED))
    assert " ms" not in pipe.out


def test_a_json_line_has_all_five_stages_even_those_of_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(heard_after(600, 0, 120, 80, 0))
    found = json.loads(capsys.readouterr().out)["reply_ended"]["latency"]
    assert found == {
        "endpointing": "0.600s",
        "asr_final": "0s",
        "llm_first_token": "0.120s",
        "tts_first_audio": "0.080s",
        "playback_first_audio": "0s",
        "voice_to_voice": "0.800s",
    }


def test_headings_stand_in_one_column_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    for locale in ("en_GB.UTF-8", "zh_CN.UTF-8"):
        monkeypatch.setenv("LC_ALL", locale)
        assert heading("you").cell_len == heading("parley").cell_len == 11


def test_a_json_line_tells_the_size_of_audio_instead_of_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    response = pb2.ConverseResponse(reply_audio=pb2.ReplyAudio(reply_id=3))
    response.reply_audio.audio.packets.extend([bytes(10), bytes(5)])
    print_json(response, at_ms=1.5)
    print_json(heard("你好", is_final=True))
    audio, transcript = map(json.loads, capsys.readouterr().out.splitlines())
    assert audio == {"at_ms": 1.5, "reply_audio": {"reply_id": "3", "audio": {"packet_bytes": 15}}}
    assert transcript == {"transcript": {"text": "你好", "is_final": True}}
