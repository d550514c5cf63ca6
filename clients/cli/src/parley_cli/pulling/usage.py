"""Which variables make the processes use the models that are there. Pure; used by `commands.pull`."""

from pathlib import Path

from parley_cli.pulling.catalogue import Kind, ModelEntry


def variables(entry: ModelEntry, place: Path) -> dict[str, str]:
    """What to set for one model; `place` is its folder, and means nothing for Ollama."""
    match entry.kind:
        case Kind.VAD:
            return {"PARLEY_ASR_VAD_MODEL_FILE": str(place / entry.file_name)}
        case Kind.ASR:
            found = {"PARLEY_ASR_ENGINE": "sherpa", "PARLEY_ASR_MODEL_FOLDER": str(place)}
            languages = ",".join(entry.languages)
            return found | ({"PARLEY_ASR_MODEL_LANGUAGES": languages} if languages else {})
        case Kind.TTS:
            # The process takes one language, the one that the voice speaks best.
            return {
                "PARLEY_TTS_ENGINE": "sherpa",
                "PARLEY_TTS_MODEL_FOLDER": str(place),
                "PARLEY_TTS_MODEL_LANGUAGE": entry.languages[0] if entry.languages else "en",
            }
        case Kind.OLLAMA:
            return {"PARLEY_LLM_ENGINE": "ollama", "PARLEY_LLM_MODEL": entry.name}
