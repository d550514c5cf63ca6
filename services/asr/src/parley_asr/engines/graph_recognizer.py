"""`GraphRecognizer`: a CTC model of sounds with a decoding graph, under the names of `sherpa_onnx.OnlineRecognizer`.

Used by `sherpa_streaming` for a NeMo CTC folder that holds `graph.fst` and `lexicon.txt`. sherpa-onnx can search such
a graph with any streaming CTC model, but its Python factory for this family does not offer it, and its text would be
sounds: words come as numbers of the graph's ways to say them.
"""

from pathlib import Path
from typing import Any

from sherpa_onnx import online_recognizer as sherpa
from sherpa_onnx.lib import _sherpa_onnx

# Places of the graph that stay in the race at one moment: a bound on time and memory. With the embedded model 200 to
# 3,000 gave the same words within what chance does, in about the same time.
_ACTIVE_MAX_COUNT = 400


class GraphRecognizer:
    """A loaded model, its graph and its lexicon: line n is way n, a word (after ▁) or letters, and its sounds."""

    def __init__(
        self,
        model: Path,
        tokens: Path,
        graph: Path,
        lexicon: Path,
        *,
        thread_count: int,
        sample_rate_hz: int,
        provider: str,
    ) -> None:
        """Raises ValueError for an empty lexicon; sherpa-onnx ends the process for files that it cannot use."""
        self._spellings, self._sound_counts = read_lexicon(lexicon)
        self._recognizer = _sherpa_onnx.OnlineRecognizer(
            sherpa.OnlineRecognizerConfig(
                feat_config=sherpa.FeatureExtractorConfig(sampling_rate=sample_rate_hz, feature_dim=80),
                model_config=sherpa.OnlineModelConfig(
                    nemo_ctc=sherpa.OnlineNeMoCtcModelConfig(model=str(model)),
                    tokens=str(tokens),
                    num_threads=thread_count,
                    provider_config=sherpa.ProviderConfig(provider=provider),
                ),
                endpoint_config=sherpa.EndpointConfig(),
                ctc_fst_decoder_config=_sherpa_onnx.OnlineCtcFstDecoderConfig(
                    graph=str(graph), max_active=_ACTIVE_MAX_COUNT
                ),
                enable_endpoint=False,
                decoding_method="greedy_search",
            )
        )

    def create_stream(self) -> Any:
        """A fresh stream."""
        return self._recognizer.create_stream()

    def is_ready(self, stream: Any) -> bool:
        """Whether a window of audio waits."""
        return bool(self._recognizer.is_ready(stream))

    def decode_streams(self, streams: list[Any]) -> None:
        """Decode one window of each."""
        self._recognizer.decode_streams(streams)

    def get_result(self, stream: Any) -> str:
        """The words that are complete, as text."""
        return "".join(self.tokens(stream)).replace("▁", " ").strip()

    def tokens(self, stream: Any) -> list[str]:
        """The words that are complete, each after ▁; of a word outside the lexicon the letters of each sound."""
        return [self._spellings[way] for way in self._recognizer.get_result(stream).words]

    def timestamps(self, stream: Any) -> list[float]:
        """When the first sound of each of the `tokens` was heard, in seconds."""
        result = self._recognizer.get_result(stream)
        times_s: list[float] = []
        place = 0
        for way in result.words:
            times_s.append(result.timestamps[place])
            place += self._sound_counts[way]
        return times_s


def read_lexicon(path: Path) -> tuple[list[str], list[int]]:
    """What every line writes, and how many sounds it has."""
    fields = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    return [field[0] for field in fields], [len(field) - 1 for field in fields]
