"""sherpa-onnx streaming recognition: implements `RecognitionEngine` for a model folder of any of four
families.

Opened by `bootstrap`, after `model_check` has loaded the same model in a throw-away process.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx

from parley_asr import faults
from parley_asr.engines.batch_decoder import BatchBegun, BatchDecoder, Decoded
from parley_asr.engines.graph_recognizer import GraphRecognizer
from parley_asr.engines.model_folder import Family, ModelFiles, find_model
from parley_asr.ports import (
    SAMPLE_RATE_HZ,
    Hypothesis,
    ModelCapabilities,
    Samples,
    StreamRequest,
    TimedWord,
)
from parley_servicekit import contract_faults

_NO_SAMPLES: Samples = np.zeros(0, dtype=np.float32)
_WORD_MAX_SAMPLE_COUNT = (
    SAMPLE_RATE_HZ  # a token has no end of its own: a word lasts until the next, at most this
)
_LAST_TOKEN_SAMPLE_COUNT = SAMPLE_RATE_HZ // 5
# From here on, each character of a script written without spaces is a word: CJK, kana, hangul, full width.
_CJK_FIRST = "⺀"


@dataclass(frozen=True)
class SherpaOptions:
    """What an operator may choose. The model is called as its folder. language_codes: empty = not known."""

    folder: Path
    description: str = ""
    language_codes: tuple[str, ...] = ()
    thread_count: int = 1
    provider: str = "cpu"
    batch_max_count: int = 64


class SherpaStreamingEngine:
    """A loaded recogniser and its decoding thread. Made by `open`."""

    def __init__(self, recognizer: Any, decoder: BatchDecoder, capabilities: ModelCapabilities) -> None:
        self.capabilities = capabilities
        self._recognizer = recognizer
        self._decoder = decoder

    @classmethod
    async def open(
        cls, options: SherpaOptions, batch_begun: BatchBegun = lambda _count, _waits_s: None
    ) -> "SherpaStreamingEngine":
        """Load the model. Raises Fault (FAILED_PRECONDITION); a model of wrong shape may end the process.

        batch_begun: told of every run of the model, in the decoding thread.
        """
        files = find_model(options.folder, options.provider)
        require_provider(options.provider)
        recognizer = await asyncio.to_thread(load_recognizer, files, options)
        capabilities = ModelCapabilities(
            name=options.folder.resolve().name,
            description=options.description or f"sherpa-onnx streaming {files.family.value} model",
            language_codes=options.language_codes,
            size_bytes=files.size_bytes,
        )
        tail_sample_count = files.tail_ms * SAMPLE_RATE_HZ // 1000
        decoder = BatchDecoder(recognizer, tail_sample_count, options.batch_max_count, batch_begun)
        return cls(recognizer, decoder, capabilities)

    @property
    def waiting_count(self) -> int:
        """Streams whose audio waits for the decoder."""
        return self._decoder.waiting_count

    async def open_stream(self, request: StreamRequest) -> "SherpaStream":
        """A fresh stream; hot words are not honoured by this adapter and end the request, not the process."""
        if request.hot_words:
            raise contract_faults.not_honoured("recognition.hot_words", "this model takes no hot words")
        return SherpaStream(self._decoder, self._recognizer.create_stream())

    async def close(self) -> None:
        """End the decoding thread."""
        await self._decoder.close()


class SherpaStream:
    """One utterance."""

    def __init__(self, decoder: BatchDecoder, stream: Any) -> None:
        self._decoder = decoder
        self._stream: Any = stream

    async def decode(self, samples: Samples) -> str:
        """The text so far. Returns once everything that fills a window is decoded."""
        return (await self._decode(samples, is_last=False)).text

    async def finish(self) -> Hypothesis:
        """The text of it all, with words at the times of their first tokens."""
        decoded = await self._decode(_NO_SAMPLES, is_last=True)
        return Hypothesis(decoded.text, words_of(decoded.tokens, decoded.times_s))

    def close(self) -> None:
        """The decoder may still hold the stream for the batch it is in; then it is freed."""
        self._stream = None

    async def _decode(self, samples: Samples, *, is_last: bool) -> Decoded:
        # Taken out while in use: after a cancelled call there is no telling what the stream has heard.
        stream, self._stream = self._stream, None
        if stream is None:
            raise faults.engine_closed()
        decoded = await self._decoder.decode(stream, samples, is_last=is_last)
        self._stream = stream
        return decoded


def load_recognizer(files: ModelFiles, options: SherpaOptions) -> Any:
    """Load a model, blocking. Raises Fault for what the library reports; it may also end the process."""
    try:
        return _load_recognizer(files, options)
    except Exception as error:
        raise faults.unusable_model(
            f"{options.folder.name} cannot be loaded: {' '.join(str(error).split())[:200]}"
        ) from error


def _load_recognizer(files: ModelFiles, options: SherpaOptions) -> Any:
    networks = {role: str(path) for role, path in files.networks.items()}
    if files.graph is not None and files.lexicon is not None:
        return GraphRecognizer(
            files.networks["model"],
            files.tokens,
            files.graph,
            files.lexicon,
            thread_count=options.thread_count,
            sample_rate_hz=SAMPLE_RATE_HZ,
            provider=options.provider,
        )
    factories = {
        Family.NEMO_CTC: sherpa_onnx.OnlineRecognizer.from_nemo_ctc,
        Family.ZIPFORMER2_CTC: sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc,
        Family.TRANSDUCER: sherpa_onnx.OnlineRecognizer.from_transducer,
        Family.PARAFORMER: sherpa_onnx.OnlineRecognizer.from_paraformer,
    }
    return factories[files.family](
        tokens=str(files.tokens),
        num_threads=options.thread_count,
        sample_rate=SAMPLE_RATE_HZ,
        provider=options.provider,
        **networks,
    )


def require_provider(provider: str) -> None:
    """The CPU wheel of sherpa-onnx takes `cuda` and silently computes on the CPU. Raises Fault instead."""
    installed = version("sherpa-onnx")
    if provider == "cuda" and "cuda" not in installed:
        raise faults.unusable_model(
            f"PARLEY_ASR_PROVIDER=cuda needs sherpa-onnx's CUDA wheel, but {installed} is the CPU one"
        )


def words_of(tokens: Iterable[str], times_s: Iterable[float]) -> tuple[TimedWord, ...]:
    """Tokens and the times in seconds at which they were emitted, joined to words.

    A token that begins with a space (or ▁) begins a word, and so does every character of a script without
    spaces.
    """
    texts: list[str] = []
    starts: list[int] = []
    last_start = 0
    for token, time_s in zip(tokens, times_s, strict=False):
        text = token.replace("▁", " ")
        bare = text.strip()
        last_start = round(time_s * SAMPLE_RATE_HZ)
        if text.startswith(" ") or not texts or bare[:1] >= _CJK_FIRST or texts[-1][-1:] >= _CJK_FIRST:
            texts.append(bare)
            starts.append(last_start)
        else:
            texts[-1] += bare
    last_end = last_start + _LAST_TOKEN_SAMPLE_COUNT
    ends = [min(end, start + _WORD_MAX_SAMPLE_COUNT) for start, end in pairwise(starts)]
    ends += [last_end] if starts else []
    return tuple(
        TimedWord(text, start, max(start, end))
        for text, start, end in zip(texts, starts, ends, strict=True)
        if text
    )
