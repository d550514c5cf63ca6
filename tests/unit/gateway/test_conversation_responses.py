"""Every output of a session has its message on the wire, and every field arrives."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_gateway.conversation import ReplyOutcome
from parley_gateway.entrypoints.conversation_responses import response
from parley_gateway.latency import Latency
from parley_gateway.ports import Audio, Phrase, SpokenWord, Word
from parley_gateway.session import outputs
from parley_servicekit.faults import Fault
from parley_servicekit.grpc_faults import fault_from_status

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LATENCY = Latency(1.0, 2.0, 3.0, 4.0, 5.0)
SAMPLES: dict[str, outputs.Output] = {
    "ready": outputs.Ready("c", "s", 3),
    "input_acknowledged": outputs.InputAcknowledged(500.0),
    "speech_activity": outputs.SpeechActivity("PAUSED", 1.5),
    "transcript": outputs.TranscriptOutput("1", "hi", True, 1.0, "en", [Word("hi", 1.0, 2.0)]),
    "turn_committed": outputs.TurnCommittedOutput("1", 2, "hi", NOW, 77),
    "reply_started": outputs.ReplyStartedOutput(4, "1"),
    "reply_text": outputs.ReplyText(4, "yes"),
    "phrase": outputs.ReplyPhrase(4, Phrase(1, "yes", 10.0, 20.0, [SpokenWord(0, 10.0)])),
    "reply_audio": outputs.ReplyAudio(4, Audio((b"ab",), 10.0, 20.0)),
    "reply_ended": outputs.ReplyEndedOutput(4, ReplyOutcome.INTERRUPTED, "ye", LATENCY, 5, 6, 100.0, 50.0),
    "service_level": outputs.ServiceLevelOutput(1, "no ears"),
    "error": outputs.ErrorOutput(Fault.caller("BAD_THING", "bad", field="x"), "1", 4, is_fatal=True),
    "draining": outputs.DrainingOutput(NOW),
}


def test_there_is_a_sample_of_every_output() -> None:
    assert {type(sample) for sample in SAMPLES.values()} == set(get_args(outputs.Output))


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_output_becomes_its_own_message(kind: str) -> None:
    message = response(SAMPLES[kind])
    assert message.WhichOneof("response") == kind
    assert pb2.ConverseResponse.FromString(message.SerializeToString()) == message


def test_what_is_no_output_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError):
        response("nothing")  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", ReplyOutcome)
def test_every_outcome_has_its_value(outcome: ReplyOutcome) -> None:
    ended = response(outputs.ReplyEndedOutput(1, outcome, "", None, 0, 0, 0.0, 0.0)).reply_ended
    assert events_pb2.ReplyOutcome.Name(ended.outcome) == f"REPLY_OUTCOME_{outcome.name}"
    assert not ended.HasField("latency")


@pytest.mark.parametrize("kind", ["STARTED", "PAUSED", "ENDED"])
def test_every_speech_activity_has_its_value(kind: str) -> None:
    activity = response(outputs.SpeechActivity(kind, 12.5)).speech_activity
    assert events_pb2.SpeechActivityKind.Name(activity.kind) == f"SPEECH_ACTIVITY_KIND_{kind}"
    assert activity.offset.ToMicroseconds() == 12_500


def test_the_fields_of_an_ended_reply_arrive() -> None:
    ended = response(SAMPLES["reply_ended"]).reply_ended
    assert (ended.reply_id, ended.heard_text) == (4, "ye")
    assert (ended.prompt_token_count, ended.completion_token_count) == (5, 6)
    assert (ended.audio_duration.ToMilliseconds(), ended.played_duration.ToMilliseconds()) == (100, 50)
    assert ended.latency.voice_to_voice.ToMilliseconds() == 15
    assert ended.latency.playback_first_audio.ToMilliseconds() == 5


def test_the_fields_of_audio_and_phrases_arrive() -> None:
    audio = response(SAMPLES["reply_audio"]).reply_audio.audio
    assert list(audio.packets) == [b"ab"]
    assert (audio.start_offset.ToMilliseconds(), audio.duration.ToMilliseconds()) == (10, 20)
    phrase = response(SAMPLES["phrase"]).phrase.phrase
    assert (phrase.index, phrase.text, phrase.words[0].start_offset.ToMilliseconds()) == (1, "yes", 10)
    unfinished = response(outputs.ReplyPhrase(4, Phrase(0, "yes", 0.0, None))).phrase.phrase
    assert not unfinished.HasField("duration")


def test_an_error_arrives_with_its_reason_and_what_it_is_about() -> None:
    error = response(SAMPLES["error"]).error
    fault = fault_from_status(error.status)
    assert (fault.reason, fault.field, fault.domain) == ("BAD_THING", "x", "gateway.parley")
    assert (error.turn_id, error.reply_id, error.fatal) == ("1", 4, True)
