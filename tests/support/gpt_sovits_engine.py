"""Opens the GPT-SoVITS engine against a server of the test's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parley_tts.engines.gpt_sovits import GptSovitsEngine, GptSovitsOptions
from parley_tts.engines.gpt_sovits_voices import ReferenceVoice

VOICES = (
    ReferenceVoice(
        name="anna", reference_audio_path="/voices/anna.wav", reference_text="Hi.", reference_language="en"
    ),
    ReferenceVoice(
        name="bo",
        reference_audio_path="/voices/bo.wav",
        reference_language="zh",
        language_codes=("zh-CN", "en", "zh-HK"),
    ),
)


@asynccontextmanager
async def gpt_sovits(*urls: str, **options: object) -> AsyncIterator[GptSovitsEngine]:
    settings = {"warms_up": False, "settle_ms": 0, **options}
    engine = GptSovitsEngine(urls, VOICES, GptSovitsOptions(**settings))  # type: ignore[arg-type]
    await engine.open()
    try:
        await engine.ensure_available()
        yield engine
    finally:
        await engine.close()
