"""Loads a sherpa-onnx TTS model and lets it speak once, in a process of its own: a wrong model ends the process.

Started by `sherpa_voice` as `python -m parley_tts.engines.sherpa_check FOLDER LANGUAGE THREADS`. The last line of
its output is JSON {sample_rate_hz, speaker_count}.
"""

import json
import sys
from pathlib import Path

from parley_tts.engines.sherpa_model import find_model, load_model


def main() -> None:
    """Exit code 0: the model is good."""
    folder, language_code, num_threads = sys.argv[1:4]
    model = load_model(find_model(Path(folder), language_code), int(num_threads))
    model.generate("Yes.", sid=0, speed=1.0)
    told = {"sample_rate_hz": model.sample_rate, "speaker_count": model.num_speakers}
    print(json.dumps(told), flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()
