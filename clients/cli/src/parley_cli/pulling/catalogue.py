"""The catalogue of models: what `parley models pull` can fetch, from where, and what it must look like then."""

import re
import tomllib
from enum import StrEnum
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from parley_cli.pulling.addresses import AddressError, checked
from parley_cli.pulling.faults import PullError

_FILE_MAX_BYTES = 1 << 20
_ARCHIVES = (".tar.bz2", ".tar.gz", ".tgz")
_OLLAMA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}")
_FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_INEXACT_SIZE_FACTOR = 1.5

Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
"""Hexadecimal; empty where the publisher tells none."""
ByteCount = Annotated[int, Field(gt=0, le=64 << 30)]


class Kind(StrEnum):
    """Which service a model is for, and how it is fetched."""

    ASR = "asr"
    VAD = "vad"
    TTS = "tts"
    OLLAMA = "ollama"


class KnownFile(BaseModel):
    """A file that a model's folder must hold; size and digest where they are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, max_length=200)
    size_bytes: ByteCount | None = None
    sha256: Sha256 = ""

    @field_validator("path")
    @classmethod
    def _refuse_paths_out(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or "\\" in path:
            raise ValueError("a path within the model's folder")
        return path


class ModelEntry(BaseModel):
    """One model. Ollama fetches its own by name; the others have an address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    is_default: bool = False
    url: str = ""
    size_bytes: ByteCount | None = None
    """Of the download, expected."""
    is_size_exact: bool = False
    unpacked_bytes: ByteCount | None = None
    """Of an archive's files together, expected."""
    sha256: Sha256 = ""
    """Of the download."""
    files: tuple[KnownFile, ...] = ()
    licence: str = Field(min_length=1, max_length=100)
    languages: tuple[str, ...] = ()
    """BCP-47; empty = any."""
    description: str = Field("", max_length=100)

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(checked(self.url).path).name

    @property
    def is_archive(self) -> bool:
        """Whether the download is a folder in one file."""
        return self.file_name.endswith(_ARCHIVES)

    @property
    def download_max_bytes(self) -> int:
        """More is refused."""
        return _bound(self.size_bytes, is_exact=self.is_size_exact)

    @property
    def unpacked_max_bytes(self) -> int:
        """More is refused."""
        return _bound(self.unpacked_bytes, is_exact=False)

    @model_validator(mode="after")
    def _match_kind(self) -> Self:
        if self.kind is Kind.OLLAMA:
            if not _OLLAMA_NAME.fullmatch(self.name):
                raise ValueError("name: not a model's name for Ollama")
            if self.url or self.sha256 or self.files or self.unpacked_bytes:
                raise ValueError("Ollama has addresses, files and checksums of its own")
            return self
        if not _FOLDER_NAME.fullmatch(self.name):
            raise ValueError("name: at most 64 small letters, digits and hyphens")
        try:
            name = self.file_name
        except AddressError:
            raise ValueError("url: https, or http on this machine, without a password") from None
        if not name or name in (".", ".."):
            raise ValueError("url: names no file")
        if self.size_bytes is None:
            raise ValueError("size_bytes is missing")
        if self.is_archive != (self.unpacked_bytes is not None):
            raise ValueError("unpacked_bytes: needed for an archive, and only there")
        return self


class Catalogue(BaseModel):
    """All models, in the order in which they are fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[ModelEntry, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _refuse_doubles(self) -> Self:
        names = [entry.name for entry in self.models]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise ValueError(f"named twice: {', '.join(doubles)}")
        return self

    def chosen(self, names: list[str]) -> list[ModelEntry]:
        """The named models, or the default ones. Raises PullError for a name that is none."""
        if not names:
            return [entry for entry in self.models if entry.is_default]
        known = {entry.name: entry for entry in self.models}
        for name in names:
            if name not in known:
                raise PullError("unknown_model", name=name)
        return [known[name] for name in dict.fromkeys(names)]


def read_catalogue(file: Path | None, ollama_model: str) -> Catalogue:
    """The one that comes along, or `file`; `ollama_model`, where given, takes the place of the default one of Ollama.

    Raises PullError.
    """
    shown = file.name if file else "catalogue.toml"
    try:
        read = _read(file) if file else _shipped()
        catalogue = Catalogue.model_validate(tomllib.loads(read))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PullError("bad_catalogue", file=shown, why=f"{place}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PullError("bad_catalogue", file=shown, why=str(error)) from None
    except OSError as error:
        raise PullError("bad_catalogue", file=shown, why=(error.strerror or "unreadable").lower()) from None
    return _with_ollama_model(catalogue, ollama_model) if ollama_model else catalogue


def _with_ollama_model(catalogue: Catalogue, name: str) -> Catalogue:
    if not _OLLAMA_NAME.fullmatch(name):
        raise PullError("bad_ollama_model", name=name[:80])
    if any(entry.name == name and entry.is_default for entry in catalogue.models):
        return catalogue
    licence = f"see ollama.com/library/{name.partition(':')[0]}"[:100]
    wanted = ModelEntry(
        name=name, kind=Kind.OLLAMA, is_default=True, licence=licence, description="chat model"
    )
    others = [
        entry
        for entry in catalogue.models
        if entry.name != name and not (entry.kind is Kind.OLLAMA and entry.is_default)
    ]
    return Catalogue(models=(*others, wanted))


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(_FILE_MAX_BYTES + 1)
    if len(content) > _FILE_MAX_BYTES:
        raise PullError("bad_catalogue", file=file.name, why=f"larger than {_FILE_MAX_BYTES} bytes")
    return content.decode()


def _shipped() -> str:
    return resources.files("parley_cli.pulling").joinpath("catalogue.toml").read_text(encoding="utf-8")


def _bound(expected_bytes: int | None, *, is_exact: bool) -> int:
    if expected_bytes is None:
        raise ValueError("no size is expected")
    return expected_bytes if is_exact else int(expected_bytes * _INEXACT_SIZE_FACTOR)
