"""A folder of a sherpa-onnx TTS model: which family it is, and how it is loaded.

Called by `sherpa_voice` and, in a throw-away process, by `sherpa_check`. Families: VITS (Piper, Coqui, MMS…),
Kokoro, Kitten, Matcha.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parley_tts import faults

_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class SherpaModelFiles:
    """`files`: the family's keyword arguments, with paths."""

    family: str
    files: dict[str, str]
    rule_files: str
    size_bytes: int


def find_model(folder: Path, language_code: str = "") -> SherpaModelFiles:
    """What lies in `folder`. Raises Fault (FAILED_PRECONDITION) that says what is missing."""
    models = sorted(_visible(folder, "*.onnx"), key=lambda path: ("int8" in path.name, path.name))
    tokens = folder / "tokens.txt"
    if not models or not tokens.is_file():
        raise faults.unusable("the model folder holds no .onnx file, or no tokens.txt")
    lexicons = sorted(folder.glob("lexicon*.txt"))
    files = {"tokens": str(tokens)}
    if lexicons:
        files["lexicon"] = ",".join(map(str, lexicons))
    if (folder / "espeak-ng-data").is_dir():
        files["data_dir"] = str(folder / "espeak-ng-data")
    vocoders = [path for path in models if path.name.startswith(("vocos", "hifigan"))]
    if (folder / "voices.bin").is_file():
        files |= {"model": str(models[0]), "voices": str(folder / "voices.bin")}
        family = "kitten" if _is_kitten(models[0]) else "kokoro"
        if family == "kokoro" and not lexicons:
            files["lang"] = language_code
    elif vocoders and len(models) > len(vocoders):
        acoustic = next(path for path in models if path not in vocoders)
        files |= {"acoustic_model": str(acoustic), "vocoder": str(vocoders[0])}
        family = "matcha"
    else:
        files["model"] = str(models[0])
        family = "vits"
    rules = ",".join(str(path) for path in _visible(folder, "*.fst"))
    size_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return SherpaModelFiles(family, files, rules, size_bytes)


def load_model(found: SherpaModelFiles, num_threads: int) -> Any:
    """The loaded `sherpa_onnx.OfflineTts`. May end the process when the files do not fit the family."""
    import sherpa_onnx  # noqa: PLC0415 - the extra `sherpa`

    family_config = {
        "vits": sherpa_onnx.OfflineTtsVitsModelConfig,
        "kokoro": sherpa_onnx.OfflineTtsKokoroModelConfig,
        "kitten": sherpa_onnx.OfflineTtsKittenModelConfig,
        "matcha": sherpa_onnx.OfflineTtsMatchaModelConfig,
    }[found.family](**found.files)
    model_config = sherpa_onnx.OfflineTtsModelConfig(
        **{found.family: family_config}, num_threads=num_threads, provider="cpu"
    )
    # One sentence a callback: audio comes, and a stop is heard, after each.
    config = sherpa_onnx.OfflineTtsConfig(model=model_config, rule_fsts=found.rule_files, max_num_sentences=1)
    if not config.validate():
        raise faults.unusable(f"sherpa-onnx does not take these files as a {found.family} model")
    return sherpa_onnx.OfflineTts(config)


def _visible(folder: Path, pattern: str) -> list[Path]:
    """By name, without dotfiles: macOS leaves `._model.onnx` beside `model.onnx`."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _is_kitten(model: Path) -> bool:
    """Kokoro and Kitten have the same files; the name or the metadata at the model's end tell."""
    if "kitten" in model.name or "kitten" in model.parent.name:
        return True
    with model.open("rb") as file:
        file.seek(max(0, model.stat().st_size - _TAIL_BYTES))
        return b"kitten" in file.read()
