"""`PartFile`: a download that may be unfinished, and what it takes to go on with it. Used by `download`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parley_cli.pulling.disk import write_whole, writing

_NOTE_MAX_BYTES = 16 << 10


class _Note(BaseModel):
    """What the server said about the file whose beginning lies here."""

    model_config = ConfigDict(frozen=True)

    url: str
    validator: str = Field(max_length=1024)
    total_bytes: int = Field(ge=0)


class PartFile:
    """`<name>.part` and a note beside it. Methods raise PullError where the folder cannot be written."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.path = folder / f"{name}.part"
        self._note_path = folder / f"{name}.part.json"
        self._url = url
        self._note = self._read_note()

    @property
    def size_bytes(self) -> int:
        """How much is here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str:
        """ETag or date of the file that was begun; empty where it cannot be gone on with."""
        return self._note.validator if self._note and self.size_bytes else ""

    @property
    def total_bytes(self) -> int:
        """How much the whole was said to be; 0 where nothing was begun."""
        return self._note.total_bytes if self._note else 0

    @property
    def is_complete(self) -> bool:
        """Whether all that the server promised is here."""
        return 0 < self.total_bytes == self.size_bytes

    def begin(self, validator: str, total_bytes: int) -> None:
        """Start anew with an empty file."""
        with writing(self.path.parent):
            self.path.write_bytes(b"")
            self._note = _Note(url=self._url, validator=validator, total_bytes=total_bytes)
            write_whole(self._note_path, self._note.model_dump_json())

    def append(self, content: bytes) -> None:
        """Add to the end."""
        with writing(self.path.parent), self.path.open("ab", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]

    def discard(self) -> None:
        """Remove it."""
        with writing(self.path.parent):
            self.path.unlink(missing_ok=True)
            self._note_path.unlink(missing_ok=True)
        self._note = None

    def _read_note(self) -> _Note | None:
        try:
            with self._note_path.open("rb") as file:
                note = _Note.model_validate_json(file.read(_NOTE_MAX_BYTES))
        except (OSError, ValidationError):
            return None
        return note if note.url == self._url else None
