"""Conversations through four real processes with scripted engines: order, interruption, history, text only."""

import pytest

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley_client import Fault, Parley
from parley_servicekit.grpc_faults import fault_from_status
from support.person import conversing
from support.scripted_stack import ANSWER, HEARD
from support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_turn_comes_in_the_documented_order(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        await person.say("question")
        ended = await person.reply()
    order = [
        "speech_activity",
        "transcript",
        "turn_committed",
        "reply_started",
        "reply_text",
        "phrase",
        "reply_audio",
        "reply_ended",
    ]
    kinds = [each.WhichOneof("response") for each in person.responses]
    firsts = [kinds.index(kind) for kind in order]
    assert firsts == sorted(firsts)
    assert ended.heard_text == "".join(ANSWER)
    assert (await person.wait_for("turn_committed")).turn_committed.text == HEARD


async def test_audio_of_a_phrase_never_comes_before_its_mark_and_has_no_gaps(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        await person.conversation.send_text("hello")
        await person.reply()
    expected_us, marked_us = 0, -1
    for response in person.responses:
        if response.HasField("phrase"):
            marked_us = response.phrase.phrase.start_offset.ToMicroseconds()
        if response.HasField("reply_audio"):
            audio = response.reply_audio.audio
            assert marked_us >= 0, "audio before any phrase mark"
            assert abs(audio.start_offset.ToMicroseconds() - expected_us) <= 1
            expected_us = audio.start_offset.ToMicroseconds() + audio.duration.ToMicroseconds()


async def test_the_first_phrase_sounds_while_the_rest_is_not_written_yet(scripted: Stack) -> None:
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text("ponder this")
        await person.wait_for("reply_audio")  # the chat model hangs after two deltas
        await person.conversation.interrupt()
        await person.reply()
    phrases = [each.phrase.phrase.text for each in person.responses if each.HasField("phrase")]
    assert phrases[0] == "This much is sure. "


async def test_an_interrupted_reply_stops_at_once_and_is_remembered_as_heard(scripted: Stack) -> None:
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text("something long")
        await person.wait_for("reply_audio", count=15)
        await person.conversation.report_playback(1, 700)
        await person.conversation.interrupt()
        ended = await person.reply()
        await person.conversation.send_text("hello")
        await person.reply(2)
    assert ended.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED
    assert ended.played_duration.ToMilliseconds() == 700
    assert person.written(1).startswith(ended.heard_text)
    index = next(index for index, each in enumerate(person.responses) if each.HasField("reply_ended"))
    late = [each for each in person.responses[index:] if each.HasField("reply_audio")]
    assert all(each.reply_audio.reply_id == 2 for each in late)
    async with Parley(scripted.gateway) as parley:
        turns = (await parley.get_conversation(person.conversation_id)).turns
    spoken = [turn for turn in turns if turn.speaker == history_pb2.SPEAKER_ASSISTANT]
    assert [turn.text for turn in spoken if turn.was_interrupted] == [ended.heard_text]


async def test_speech_over_a_reply_ends_it(scripted: Stack) -> None:
    async with conversing(scripted.gateway) as person:
        await person.conversation.send_text("something long")
        await person.wait_for("reply_audio", count=5)
        await person.say("stop")
        assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED
        assert (await person.reply(2)).outcome == events_pb2.REPLY_OUTCOME_COMPLETED


async def test_speech_over_a_reply_changes_nothing_where_barge_in_is_off(scripted: Stack) -> None:
    config = config_pb2.ConversationConfig()
    config.turn_taking.barge_in = config_pb2.BARGE_IN_OFF
    async with conversing(scripted.gateway, config) as person:
        await person.conversation.send_text("hello")
        await person.wait_for("reply_audio")
        await person.say("stop")
        assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_COMPLETED


async def test_text_only_conversations_need_no_audio(scripted: Stack) -> None:
    config = config_pb2.ConversationConfig(output_modes=[config_pb2.OUTPUT_MODE_TEXT])
    async with conversing(scripted.gateway, config, has_microphone=False) as person:
        await person.conversation.send_text("hello")
        ended = await person.reply()
    assert ended.heard_text == "".join(ANSWER)
    assert "reply_audio" not in person.kinds()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("please break", "UPSTREAM_CUT"), ("please hang", "REPLY_TIMEOUT"), ("be silent", "REPLY_EMPTY")],
)
async def test_a_reply_that_fails_ends_typed_and_the_session_goes_on(
    scripted: Stack, text: str, reason: str
) -> None:
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text(text)
        assert (await person.reply()).outcome == events_pb2.REPLY_OUTCOME_FAILED
        error = (await person.wait_for("error")).error
        assert fault_from_status(error.status).reason == reason
        assert error.reply_id == 1
        await person.conversation.send_text("hello")
        assert (await person.reply(2)).outcome == events_pb2.REPLY_OUTCOME_COMPLETED


async def test_an_update_holds_from_the_next_turn_on(scripted: Stack) -> None:
    update = config_pb2.ConfigUpdate(config=config_pb2.ConversationConfig(persona="magic-8-ball"))
    update.update_mask.paths.append("persona")
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send(pb2.ConverseRequest(update=update))
        await person.conversation.send_text("hello")
        await person.reply()
    assert "error" not in person.kinds()


async def test_a_second_session_takes_a_conversation_over(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley, parley.converse() as first:
        config = config_pb2.ConversationConfig(conversation_id=first.ready.conversation_id)
        async with parley.converse(config) as second:
            await first.send_text("hello")
            with pytest.raises(Fault, match="TAKEN_OVER"):
                async for _ in first:
                    pass
            await second.send_text("hello")
            async for response in second:
                if response.HasField("reply_ended"):
                    break


async def test_conversations_are_listed_renamed_and_deleted(scripted: Stack) -> None:
    async with conversing(scripted.gateway, has_microphone=False) as person:
        await person.conversation.send_text("hello")
        await person.reply()
        conversation_id = person.conversation_id
    async with Parley(scripted.gateway) as parley:
        await parley.rename_conversation(conversation_id, "früher Morgen 早上")
        page = await parley.list_conversations()
        assert page.conversations[0].title == "früher Morgen 早上"
        await parley.delete_conversation(conversation_id)
        with pytest.raises(Fault, match="CONVERSATION_NOT_FOUND"):
            await parley.get_conversation(conversation_id)


async def test_the_engines_answer_at_the_gateways_address(scripted: Stack) -> None:
    async with Parley(scripted.gateway) as parley:
        models = await parley.models()
        voices = await parley.voices()
        finished = [
            response async for response in parley.speak("Good morning.") if response.HasField("finished")
        ]
        with pytest.raises(Fault) as refusal:
            async for _ in parley.speak(""):
                pass
    assert all(models[name] for name in ("asr", "llm"))
    assert voices
    assert finished
    assert refusal.value.code.name == "INVALID_ARGUMENT"
