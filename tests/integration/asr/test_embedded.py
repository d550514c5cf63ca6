"""The asr process as it is shipped: no setting, no download, real speech. tests/quality measures how well it hears."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
from integration.asr.calls import END, Client, chunks, config, milliseconds, silence, story

from parley.asr.v1 import recognition_service_pb2 as pb
from parley_audio.files import decode_file
from support.processes import started_process

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEECH = Path(__file__).parents[2] / "support" / "speech"
RECORDINGS = {
    entry["file"]: entry["text"]
    for entry in json.loads((SPEECH / "transcripts.json").read_text(encoding="utf-8"))["recordings"]
}


def recording(name: str) -> npt.NDArray[np.float32]:
    return np.concatenate(list(decode_file(SPEECH / name)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    async with started_process("parley_asr") as process:
        opened = Client(process.grpc_address)
        yield opened
        await opened.close()


def finals(responses: list[pb.StreamingRecognizeResponse]) -> list[pb.Transcript]:
    return [response.transcript for response in responses if response.transcript.is_final]


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_spoken_sentence_is_one_utterance_with_words(client: Client, name: str) -> None:
    speech = recording(name)
    audio = np.concatenate((silence(700), speech, silence(1200)))
    responses = await client.recognize_live([config(), *chunks(audio), END])
    told = story(responses)
    assert told[:2] == ["model:parley-tiny-english", "STARTED"] and told[-2] == "ENDED"
    (final,) = finals(responses)
    # A model this small mishears words, but hears about as many as were said.
    said_count, heard_count = len(RECORDINGS[name].split()), len(final.text.split())
    assert said_count / 2 <= heard_count <= said_count * 2
    assert final.text == final.text.lower()
    assert " ".join(word.text for word in final.words) == final.text
    assert 650 <= milliseconds(final.start_offset) < milliseconds(final.end_offset)
    assert milliseconds(final.end_offset) <= 700 + len(speech) // 16 + 100


async def test_partials_come_while_the_sentence_is_spoken(client: Client) -> None:
    audio = np.concatenate((silence(500), recording("story.wav"), silence(1000)))
    responses = await client.recognize_live([config(), *chunks(audio), END])
    kinds = [response.WhichOneof("response") for response in responses]
    partials = [
        response.transcript.text
        for response in responses
        if response.WhichOneof("response") == "transcript" and not response.transcript.is_final
    ]
    assert len(partials) >= 3 and len(partials[0].split()) < len(partials[-1].split())
    ended = [index for index, word in enumerate(kinds) if word == "speech_activity"][-1]
    assert kinds.index("transcript") < ended


@pytest.mark.parametrize("kind", ["white noise", "hum", "silence"])
async def test_what_is_not_speech_has_no_transcript(client: Client, kind: str) -> None:
    seconds = np.arange(5 * 16_000) / 16_000
    audio = {
        "white noise": np.random.default_rng(0).standard_normal(len(seconds)) * 0.05,
        "hum": 0.1 * np.sin(2 * np.pi * 50 * seconds),
        "silence": np.zeros(len(seconds)),
    }[kind]
    responses = await client.recognize_live([config(), *chunks(audio.astype(np.float32)), END])
    assert story(responses) == ["model:parley-tiny-english"]


async def test_a_recording_of_several_sentences_has_a_transcript_each(client: Client) -> None:
    wav = (SPEECH / "goodbye.wav").read_bytes()
    single = [
        response.transcript.text for response in await client.recognize(wav) if response.transcript.text
    ]
    assert len(single) == 1
    parts = [recording(name) for name in ("stop.wav", "question.wav", "weather.wav")]
    audio = np.concatenate([piece for part in parts for piece in (silence(500), part, silence(1500))])
    raw = (audio * 32767).astype("<i2").tobytes()
    responses = await client.recognize(raw, input_audio=config().config.input_audio)
    assert [response.transcript.utterance_index for response in responses if response.transcript.text] == [
        0,
        1,
        2,
    ]


async def test_the_shipped_model_says_what_it_is(client: Client) -> None:
    (model,) = (await client.stub.ListModels(pb.ListModelsRequest(), timeout=5)).models
    assert model.name == "parley-tiny-english" and list(model.language_codes) == ["en"]
    assert 0 < model.size_bytes <= 10 << 20
    assert "synthetic" in model.description
