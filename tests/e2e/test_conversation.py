"""Speech in, speech out, with the embedded engines through four real processes."""

import asyncio

import jiwer
import numpy as np
import pytest

from parley.gateway.v1 import conversation_config_pb2 as config_pb2
from parley.gateway.v1 import conversation_events_pb2 as events_pb2
from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley_audio.wav import write_wav
from parley_client import Parley
from support.person import conversing
from support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
_WORDS = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip()]
)


def word_error_rate(truth: str, heard: str) -> float:
    return jiwer.wer(_WORDS(truth), _WORDS(heard) or "-")


async def test_a_spoken_question_gets_a_spoken_answer(stack: Stack, tmp_path) -> None:
    async with conversing(stack.gateway) as person:
        await person.say("question")
        ended = await person.reply()
    committed = (await person.wait_for("turn_committed")).turn_committed
    assert word_error_rate("hello how are you today", committed.text) <= 0.2
    assert ended.outcome == events_pb2.REPLY_OUTCOME_COMPLETED
    assert ended.heard_text == person.written(1).strip()
    audio = person.audio(1)
    assert abs(len(audio) / 24_000 - ended.audio_duration.ToTimedelta().total_seconds()) < 0.001
    assert np.abs(audio).max() > 0.05
    partials = [
        each for each in person.responses if each.HasField("transcript") and not each.transcript.is_final
    ]
    assert partials, "there were no partial transcripts while the person spoke"


async def test_the_spoken_answer_is_what_was_written(stack: Stack, tmp_path) -> None:
    """Our own recogniser reads replies back. How well it can, its model card says; chance would be near 1."""
    written: list[str] = []
    heard: list[str] = []
    async with conversing(stack.gateway, has_microphone=False) as person:
        for count, text in enumerate(
            ("hello", "how are you", "what can you do", "who are you", "good night"), start=1
        ):
            await person.conversation.send_text(text)
            written.append((await person.reply(count)).heard_text)
    async with Parley(stack.gateway) as parley:
        for count in range(1, len(written) + 1):
            path = tmp_path / f"reply-{count}.wav"
            write_wav(path, person.audio(count), 24_000)
            finals = [
                response.transcript.text
                async for response in parley.transcribe(path.read_bytes())
                if response.HasField("transcript")
            ]
            heard.append(" ".join(finals))
    rate = word_error_rate(" ".join(written), " ".join(heard))
    print(f"{len(written)} replies read back: WER {rate:.2f}")
    assert rate <= 0.25


async def test_reply_audio_starts_with_the_first_phrase_not_with_the_whole_reply(stack: Stack) -> None:
    """How long the tiny chat model takes for the rest is luck; with a slow one, see tests/integration/gateway."""
    async with conversing(stack.gateway) as person:
        await person.say("story")
        reply = await person.reply()
    kinds = [each.WhichOneof("response") for each in person.responses]
    first_audio = kinds.index("reply_audio")
    phrases = [each.phrase.phrase.text for each in person.responses[:first_audio]]
    assert len("".join(phrases)) < len(reply.heard_text) / 2


async def test_the_latency_of_a_turn_is_five_stages_that_sum_to_the_whole(stack: Stack) -> None:
    async with conversing(stack.gateway) as person:
        await person.say("question")
        latency = (await person.reply()).latency
    stages = [latency.endpointing, latency.asr_final, latency.llm_first_token, latency.tts_first_audio]
    total_us = sum(each.ToMicroseconds() for each in [*stages, latency.playback_first_audio])
    assert abs(total_us - latency.voice_to_voice.ToMicroseconds()) <= 5
    # The turn cannot be over before the silence that ends it has passed.
    assert latency.endpointing.ToMilliseconds() >= 500


async def test_the_second_turn_remembers_the_first(stack: Stack) -> None:
    async with conversing(stack.gateway) as person:
        await person.say("follow_up_name")
        await person.reply(1)
        await person.say("ask_name")
        second = await person.reply(2)
    assert "lucy" in second.heard_text.lower()


async def test_speech_during_a_reply_ends_it_and_only_what_was_heard_is_remembered(stack: Stack) -> None:
    async with conversing(stack.gateway) as person:
        await person.say("story")
        await person.wait_for("reply_audio", count=12)
        await person.say("stop")
        first = await person.reply(1)
        await person.reply(2)
    assert first.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED
    assert person.written(1).startswith(first.heard_text)
    assert len(first.heard_text) < len(person.written(1).strip())
    end = next(index for index, each in enumerate(person.responses) if each.HasField("reply_ended"))
    assert not any(
        each.HasField("reply_audio") and each.reply_audio.reply_id == 1 for each in person.responses[end:]
    )
    async with Parley(stack.gateway) as parley:
        turns = (await parley.get_conversation(person.conversation_id)).turns
    assert (
        next(turn.text for turn in turns if turn.speaker == history_pb2.SPEAKER_ASSISTANT) == first.heard_text
    )


async def test_the_client_can_stop_a_reply(stack: Stack) -> None:
    async with conversing(stack.gateway) as person:
        await person.say("story")
        await person.wait_for("reply_audio", count=5)
        await person.conversation.interrupt()
        ended = await person.reply()
    assert ended.outcome == events_pb2.REPLY_OUTCOME_INTERRUPTED


async def test_a_persona_answers_in_its_own_way(stack: Stack) -> None:
    config = config_pb2.ConversationConfig(persona="magic-8-ball")
    async with conversing(stack.gateway, config) as person:
        await person.say("fortune")
        ended = await person.reply()
    assert 0 < len(ended.heard_text.split()) <= 20


async def test_push_to_talk_takes_what_is_said_between_press_and_release(stack: Stack) -> None:
    config = config_pb2.ConversationConfig()
    config.turn_taking.detection = config_pb2.TURN_DETECTION_PUSH_TO_TALK
    async with conversing(stack.gateway, config) as person:
        await person.conversation.start_turn()
        await person.say("question")
        await person.conversation.end_turn()
        committed = (await person.wait_for("turn_committed")).turn_committed
        await person.reply()
    assert word_error_rate("hello how are you today", committed.text) <= 0.2


async def test_two_people_talk_at_once_without_hearing_each_other(stack: Stack) -> None:
    async with conversing(stack.gateway) as one, conversing(stack.gateway) as other:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.say("follow_up_name"))
            tasks.create_task(other.say("weather"))
        await one.reply()
        await other.reply()
        first = (await one.wait_for("turn_committed")).turn_committed.text
        second = (await other.wait_for("turn_committed")).turn_committed.text
    assert "name" in first
    assert "name" not in second


async def test_silence_and_noise_are_not_answered(stack: Stack) -> None:
    noise = np.random.default_rng(7).normal(0, 0.02, 4 * 16_000).astype(np.float32)
    async with conversing(stack.gateway) as person:
        await person.play(np.zeros(2 * 16_000, np.float32))
        await person.play(noise)
        await person.play(np.zeros(2 * 16_000, np.float32))
    assert "turn_committed" not in person.kinds()
    assert "error" not in person.kinds()


async def test_a_conversation_goes_on_after_everything_was_killed_and_started_again(tmp_path) -> None:
    async with running_stack(tmp_path) as first_stack:
        async with conversing(first_stack.gateway) as person:
            await person.say("follow_up_name")
            await person.reply()
            conversation_id = person.conversation_id
        async with asyncio.TaskGroup() as tasks:
            for name in ("asr", "llm", "tts", "gateway"):
                tasks.create_task(first_stack.kill(name))
    async with running_stack(tmp_path) as second_stack:
        config = config_pb2.ConversationConfig(conversation_id=conversation_id)
        async with conversing(second_stack.gateway, config) as person:
            assert person.conversation.ready.turn_count == 1
            await person.say("ask_name")
            ended = await person.reply()
    assert "lucy" in ended.heard_text.lower()
