"""Every engine that can run here, opened and closed around a test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_tts.engines.espeak import EspeakEngine
from parley_tts.engines.scripted import ScriptedEngine, SpeechScript
from parley_tts.engines.sherpa_voice import SherpaVoiceEngine, SherpaVoiceOptions
from parley_tts.ports import SynthesisEngine
from support.fake_gpt_sovits import fake_gpt_sovits
from support.gpt_sovits_engine import gpt_sovits
from support.tiny_vits import write_tiny_vits


@pytest.fixture(params=["scripted", "espeak", "sherpa", "gpt_sovits"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SynthesisEngine]:
    if request.param == "gpt_sovits":
        async with fake_gpt_sovits() as fake, gpt_sovits(fake.url) as opened:
            yield opened
        return
    made: SynthesisEngine
    if request.param == "scripted":
        made = ScriptedEngine(SpeechScript(first_audio_delay_ms=1))
    elif request.param == "espeak":
        made = EspeakEngine(child_count=1)
    else:
        write_tiny_vits(tmp_path / "babble", speaker_count=2)
        made = SherpaVoiceEngine(tmp_path / "babble", SherpaVoiceOptions(num_threads=1))
    await made.open()
    try:
        await made.ensure_available()
        yield made
    finally:
        await made.close()
