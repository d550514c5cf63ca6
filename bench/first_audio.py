"""How soon the tts service is heard: against the engine called directly, and against waiting for whole sentences.

For the scenario `services`. A chat model is imitated that writes a word per delta at a steady pace.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from parley.tts.v1 import synthesis_service_pb2 as pb2
from parley.tts.v1 import synthesis_service_pb2_grpc as pb2_grpc
from parley_servicekit.grpc_client import open_channel
from parley_tts.phrases import PhraseCutter
from parley_tts.ports import SpeechOptions, SynthesisEngine

WORD_MS = 30.0
_DEADLINE_S = 60.0
_Request = pb2.StreamingSynthesizeRequest

REPLIES = (
    "Yes, you can. The museum opens at ten, and on Thursdays it stays open until nine in the evening.",
    "It looks as if it will rain tomorrow morning, so take an umbrella with you when you leave the house.",
    "The train to the coast leaves from platform four at a quarter past eight, and it takes about two hours.",
    "Well, that depends on how much time you have. With a whole day I would walk along the river first.",
    "Boil the potatoes for twenty minutes, let them cool down a little, and peel them while they are warm.",
    "I am not sure about that. Could you tell me the name of the street, or something that is close to it?",
    "There are three chairs in the kitchen and two more in the garden, which should be enough for all of us.",
    "Of course. The word comes from Latin, where it meant a small stone that people used for counting.",
    "Your sister called this afternoon and asked whether you would like to have dinner with her on Sunday.",
    "Light from the sun takes about eight minutes to reach us, because the distance is so very large.",
    "First turn off the water, then loosen the nut below the basin and put a bucket under it.",
    "Good idea, but the shop closes at six today and it will not be open again before Monday morning.",
)
"""What a chat model says in a conversation: a short sentence first, or a long one with clauses."""


@dataclass(frozen=True)
class Delays:
    """First delta to first audio in milliseconds, pairs in the order in which they were measured."""

    ours_ms: list[float]
    other_ms: list[float]


async def against_engine(address: str, engine: SynthesisEngine, texts: Sequence[str], count: int) -> Delays:
    """Each text at once through the service, and its first phrase by the engine called in this process."""
    delays = Delays([], [])
    channel = open_channel(address)
    try:
        stub = pb2_grpc.SynthesisServiceStub(channel)
        for turn in range(count + 1):  # the first one warms up
            text = texts[turn % len(texts)]
            measured = (
                await _through_service(stub, _at_once(text)),
                await _directly(engine, _first_phrase(text)),
            )
            if turn:
                delays.ours_ms.append(measured[0])
                delays.other_ms.append(measured[1])
    finally:
        await channel.close()
    return delays


async def against_sentences(address: str, texts: Sequence[str]) -> Delays:
    """Each text word by word, and each text with its sentences held back until they are whole; the same service."""
    delays = Delays([], [])
    channel = open_channel(address)
    try:
        stub = pb2_grpc.SynthesisServiceStub(channel)
        await _through_service(stub, _at_once(texts[0]))
        for text in texts:
            delays.ours_ms.append(await _through_service(stub, _word_by_word(text)))
            delays.other_ms.append(await _through_service(stub, _by_sentence(text)))
    finally:
        await channel.close()
    return delays


async def _through_service(stub: Any, pieces: AsyncIterator[str]) -> float:
    """Milliseconds from when the first word is written (an empty piece says that it is, and held back) to audio."""
    call = stub.StreamingSynthesize(timeout=_DEADLINE_S)
    await call.write(_Request(config=pb2.SynthesisConfig()))
    await call.initial_metadata()
    began_s: list[float] = []

    async def write() -> None:
        async for piece in pieces:
            if not began_s:
                began_s.append(time.perf_counter())
            if piece:
                await call.write(_Request(text=piece))
        await call.write(_Request(end_of_text=pb2.EndOfText()))

    try:
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write(), name="first_audio.write")
            while not (await call.read()).HasField("audio"):
                pass
            taken_ms = (time.perf_counter() - began_s[0]) * 1000
            writing.cancel()
    finally:
        call.cancel()
    return taken_ms


async def _directly(engine: SynthesisEngine, phrase: str) -> float:
    began_s = time.perf_counter()
    async for piece in engine.open_stream(SpeechOptions()).speak(phrase):
        if hasattr(piece, "shape"):
            break
    return (time.perf_counter() - began_s) * 1000


def _first_phrase(text: str) -> str:
    cutter = PhraseCutter()
    cutter.push(text)
    cutter.finish()
    phrase = cutter.next_phrase()
    if phrase is None:
        raise ValueError("there is nothing to speak in the text")
    return phrase.spoken.text


async def _at_once(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield f"{word} "


async def _word_by_word(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield f"{word} "
        await asyncio.sleep(WORD_MS / 1000)


async def _by_sentence(text: str) -> AsyncIterator[str]:
    held = ""
    async for piece in _word_by_word(text):
        held += piece
        if piece.rstrip().endswith((".", "?", "!")):
            yield held
            held = ""
        else:
            yield ""
