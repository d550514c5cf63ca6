"""Settings of the asr process, read once by `__main__` from PARLEY_ASR_* variables."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import DirectoryPath, Field, FilePath, model_validator
from pydantic_settings import SettingsConfigDict

from parley_servicekit.settings import CommaSeparated, Port, ProcessSettings

Milliseconds = Annotated[int, Field(ge=0)]


class Settings(ProcessSettings):
    """What an operator may choose; every field is PARLEY_ASR_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="PARLEY_ASR_")

    port: Port = 50051
    metrics_port: Port = 9465
    engine: Literal["embedded", "sherpa", "scripted"] = "embedded"
    """embedded: the shipped model; sherpa: the one in `model_folder`; scripted: `script_file`, for tests."""
    model_folder: DirectoryPath | None = None
    """Folder of a streaming sherpa-onnx model: tokens.txt and its .onnx files. Only with engine=sherpa."""
    model_languages: CommaSeparated = ()
    """BCP-47 codes of the model in `model_folder`; empty = not known, then no language is refused."""
    vad_model_file: FilePath | None = None
    """A Silero voice activity model (v4 or v5 shape, such as silero_vad.onnx); empty = the shipped one."""
    script_file: FilePath | None = None
    """What the scripted engine hears; see engines/scripted.py."""
    num_threads: int = Field(1, ge=1, le=64)
    """Threads of one decoding batch. 1: a small streaming model gains nothing from more."""
    audio_threads: int = Field(2, ge=1, le=64)
    """Threads for voice activity detection, shared by all streams."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Where the recogniser computes. cuda needs sherpa-onnx's CUDA wheel and is refused without it."""
    batch_max_count: int = Field(64, ge=1, le=512)
    """Streams decoded in one run of the model: beyond 64 hardly anything is saved."""
    max_streams: int = Field(40, ge=1, le=10_000)
    """Live recognitions at once; more get RESOURCE_EXHAUSTED. 40 keep one modern core below half."""
    max_recordings: int = Field(2, ge=1, le=100)
    """Recordings (Recognize) at once: each takes all the time that live streams leave."""
    recording_max_bytes: int = Field(512 << 20, ge=1024, le=512 << 20)
    """Size of a recording's file. It is spooled to a nameless temporary file."""
    recording_max_ms: int = Field(6 * 3_600_000, ge=1000, le=24 * 3_600_000)
    """Length of a recording: a small file may hold days of silence."""
    recording_upload_timeout_ms: int = Field(300_000, ge=1000, le=3_600_000)
    """Longest pause between two chunks of a recording before it is given up."""
    recording_timeout_ms: int = Field(3_600_000, ge=1000, le=24 * 3_600_000)
    """Longest time that recognising a recording may take."""
    min_speech_ms: int = Field(96, ge=32, le=1000)
    """Speech in a row before SpeechStarted: shorter reacts sooner to an interruption, and to clicks."""
    utterance_max_ms: int = Field(60_000, ge=1000, le=600_000)
    """An utterance that goes on longer is ended and the next one begins."""
    decode_timeout_ms: int = Field(10_000, ge=100, le=600_000)
    """Longest wait for the recogniser in one call before the utterance is given up."""
    model_check_timeout_ms: int = Field(120_000, ge=1000, le=3_600_000)
    """Longest trial load of the model at start."""

    @model_validator(mode="after")
    def _match_engine(self) -> Self:
        for field, engine in (("model_folder", "sherpa"), ("script_file", "scripted")):
            is_set = getattr(self, field) is not None
            if is_set != (self.engine == engine):
                verb = "needs" if not is_set else "is only for"
                if is_set:
                    raise ValueError(f"{self.variable(field)} {verb} {self.variable('engine')}={engine}")
                raise ValueError(f"{self.variable('engine')}={engine} {verb} {self.variable(field)}")
        if self.engine == "scripted" and self.vad_model_file is not None:
            raise ValueError(f"{self.variable('vad_model_file')} is not read by the scripted engine")
        return self


_MODELS = Path(__file__).parent / "models"
EMBEDDED_MODEL_FOLDER = _MODELS / "parley-tiny-english"
EMBEDDED_VAD_MODEL_FILE = _MODELS / "parley-vad.onnx"
