"""Turns a session's outputs into ConverseResponse messages. Called by the conversation servicer."""

from google.protobuf.timestamp_pb2 import Timestamp

from parley.asr.v1 import recognition_options_pb2 as recognition_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley.tts.v1 import synthesis_options_pb2 as synthesis_pb2
from parley_gateway import wire
from parley_gateway.conversation import ReplyOutcome
from parley_gateway.latency import Latency
from parley_gateway.ports import Phrase
from parley_gateway.session import outputs
from parley_servicekit.grpc_faults import status_from_fault

DOMAIN = "gateway.parley"
_OUTCOMES = {
    ReplyOutcome.COMPLETED: events_pb2.REPLY_OUTCOME_COMPLETED,
    ReplyOutcome.INTERRUPTED: events_pb2.REPLY_OUTCOME_INTERRUPTED,
    ReplyOutcome.FAILED: events_pb2.REPLY_OUTCOME_FAILED,
}


def response(output: outputs.Output) -> pb2.ConverseResponse:
    """The message for an output. Those that are frequent come first."""
    match output:
        case outputs.ReplyAudio():
            audio = pb2.ReplyAudio(reply_id=output.reply_id, audio=wire.audio_to_wire(output.audio))
            return pb2.ConverseResponse(reply_audio=audio)
        case outputs.ReplyText():
            text = events_pb2.ReplyText(reply_id=output.reply_id, text=output.text)
            return pb2.ConverseResponse(reply_text=text)
        case outputs.TranscriptOutput():
            return pb2.ConverseResponse(transcript=_transcript(output))
        case outputs.SpeechActivity():
            kind = events_pb2.SpeechActivityKind.Value(f"SPEECH_ACTIVITY_KIND_{output.kind}")
            activity = events_pb2.SpeechActivity(kind=kind, offset=wire.duration(output.offset_ms))
            return pb2.ConverseResponse(speech_activity=activity)
        case outputs.InputAcknowledged():
            acknowledged = events_pb2.InputAcknowledged(offset=wire.duration(output.offset_ms))
            return pb2.ConverseResponse(input_acknowledged=acknowledged)
        case outputs.ReplyPhrase():
            phrase = pb2.ReplyPhrase(reply_id=output.reply_id, phrase=_phrase(output.phrase))
            return pb2.ConverseResponse(phrase=phrase)
        case outputs.ErrorOutput():
            return pb2.ConverseResponse(error=_error(output))
        case _:
            return _rare(output)


def _rare(output: outputs.Output) -> pb2.ConverseResponse:
    match output:
        case outputs.Ready():
            ready = events_pb2.SessionReady(
                conversation_id=output.conversation_id,
                session_id=output.session_id,
                turn_count=output.turn_count,
                service_level=events_pb2.ServiceLevel(level=0),
            )
            return pb2.ConverseResponse(ready=ready)
        case outputs.TurnCommittedOutput():
            created = Timestamp()
            created.FromDatetime(output.create_time)
            committed = events_pb2.TurnCommitted(
                turn_id=output.turn_id,
                revision=output.revision,
                text=output.text,
                create_time=created,
                conversation_offset=wire.duration(output.conversation_offset_ms),
            )
            return pb2.ConverseResponse(turn_committed=committed)
        case outputs.ReplyStartedOutput():
            started = events_pb2.ReplyStarted(reply_id=output.reply_id, turn_id=output.turn_id)
            return pb2.ConverseResponse(reply_started=started)
        case outputs.ReplyEndedOutput():
            return pb2.ConverseResponse(reply_ended=_ended(output))
        case outputs.ServiceLevelOutput():
            level = events_pb2.ServiceLevel(level=output.level, reason=output.reason)
            return pb2.ConverseResponse(service_level=level)
        case outputs.DrainingOutput():
            deadline = Timestamp()
            deadline.FromDatetime(output.deadline)
            return pb2.ConverseResponse(draining=events_pb2.Draining(deadline=deadline))
        case _:
            raise TypeError(f"no message for {type(output).__name__}")


def _transcript(output: outputs.TranscriptOutput) -> events_pb2.Transcript:
    words = [
        recognition_pb2.RecognizedWord(
            text=word.text,
            start_offset=wire.duration(word.start_offset_ms),
            end_offset=wire.duration(word.end_offset_ms),
        )
        for word in output.words
    ]
    return events_pb2.Transcript(
        turn_id=output.turn_id,
        text=output.text,
        is_final=output.is_final,
        stability=output.stability,
        language_code=output.language_code,
        words=words,
    )


def _phrase(phrase: Phrase) -> synthesis_pb2.PhraseMark:
    mark = synthesis_pb2.PhraseMark(
        index=phrase.index, text=phrase.text, start_offset=wire.duration(phrase.start_offset_ms)
    )
    if phrase.duration_ms is not None:
        mark.duration.CopyFrom(wire.duration(phrase.duration_ms))
    for word in phrase.words:
        mark.words.add(text_offset=word.text_offset, start_offset=wire.duration(word.start_offset_ms))
    return mark


def _error(output: outputs.ErrorOutput) -> events_pb2.ConversationError:
    return events_pb2.ConversationError(
        status=status_from_fault(output.fault, DOMAIN),
        turn_id=output.turn_id,
        reply_id=output.reply_id,
        fatal=output.is_fatal,
    )


def _ended(output: outputs.ReplyEndedOutput) -> events_pb2.ReplyEnded:
    ended = events_pb2.ReplyEnded(
        reply_id=output.reply_id,
        outcome=_OUTCOMES[output.outcome],
        heard_text=output.heard_text,
        prompt_token_count=output.prompt_token_count,
        completion_token_count=output.completion_token_count,
        audio_duration=wire.duration(output.audio_ms),
        played_duration=wire.duration(output.played_ms),
    )
    if output.latency is not None:
        ended.latency.CopyFrom(_latency(output.latency))
    return ended


def _latency(latency: Latency) -> events_pb2.Latency:
    return events_pb2.Latency(
        endpointing=wire.duration(latency.endpointing_ms),
        asr_final=wire.duration(latency.asr_final_ms),
        llm_first_token=wire.duration(latency.llm_first_token_ms),
        tts_first_audio=wire.duration(latency.tts_first_audio_ms),
        playback_first_audio=wire.duration(latency.playback_first_audio_ms),
        voice_to_voice=wire.duration(latency.voice_to_voice_ms),
    )
