"""The model that comes along, through the settings that nobody changes: it loads, answers and knows when to stop."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from parley_llm.bootstrap import build_engine
from parley_llm.ports import Completion, Generation, Message, Sampling
from parley_llm.settings import Settings
from parley_servicekit.settings import read_settings

PATIENCE_S = 60.0
PERSONAS = Path(__file__).parents[3] / "training" / "domain" / "personas.json"


@pytest.mark.parametrize("question", ["hello", "what is your name", "what can you do"])
async def test_it_answers_and_stops(question: str) -> None:
    system_prompt = json.loads(PERSONAS.read_text())["personas"][0]["system_prompt"]
    messages = (Message("system", system_prompt), Message("user", question))
    engine = build_engine(read_settings(Settings))
    try:
        await engine.open()
        (name,) = engine.capabilities.models
        generation = Generation(messages, Sampling(), 200, name)
        answers = []
        for _ in range(2):
            async with asyncio.timeout(PATIENCE_S), aclosing(engine.open_stream(generation)) as stream:
                *pieces, end = [piece async for piece in stream]
            answers.append("".join(str(piece) for piece in pieces))
            assert isinstance(end, Completion)
            assert end.finish_reason == "stop"
    finally:
        await engine.close()
    assert name == "parley-tiny-chat"
    assert engine.capabilities.context_token_count >= 256
    assert answers[0] == answers[1]
    assert len(answers[0].split()) >= 2
