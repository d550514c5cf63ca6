"""Unpacks an archive from elsewhere into a folder, believing nothing it says. Called by `installing`, in a thread."""

import bz2
import gzip
import tarfile
import threading
import zlib
from pathlib import Path, PurePosixPath
from typing import Self

from parley_cli.pulling.disk import flushed, writing
from parley_cli.pulling.faults import PullError

FILES_MAX_COUNT = 5_000
_MEMBERS_MAX_COUNT = 2 * FILES_MAX_COUNT
_PATH_MAX_CHARS = 300
_PATH_MAX_PARTS = 16
_PIECE_BYTES = 1 << 20
# Headers and the fill-up of each file to a whole block, on top of the files themselves.
_MEMBER_OVERHEAD_BYTES = 4_096
# tarfile takes what these announce into memory at once.
_LONG_HEADER_MAX_BYTES = 64 << 10
_LONG_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)
_BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError, RecursionError)


class StoppedError(Exception):
    """Whoever wanted the files has gone."""


class _Member(tarfile.TarInfo):
    """A header that is looked at before tarfile acts on it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _LONG_HEADERS and member.size > _LONG_HEADER_MAX_BYTES:
            raise _RefusedError("a header of more than 64 KiB")
        return member


class _RefusedError(Exception):
    """Something that no archive of a model holds; says what."""


class _Bounded:
    """What tarfile reads from; ends a stream that unpacks to more than it may, and one that nobody waits for."""

    def __init__(
        self, stream: gzip.GzipFile | bz2.BZ2File, left_bytes: int, stopped: threading.Event
    ) -> None:
        self._stream = stream
        self._left_bytes = left_bytes
        self._stopped = stopped

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if self._stopped.is_set():
            raise StoppedError
        content = self._stream.read(size)
        self._left_bytes -= len(content)
        if self._left_bytes < 0:
            raise _RefusedError("more than it may unpack to")
        return content


def unpack(name: str, archive: Path, into: Path, max_bytes: int, stopped: threading.Event) -> None:
    """Put what lies below the archive's only top folder into the empty folder `into`, macOS's own files left out.

    max_bytes: of all files together. Raises PullError (unsafe_archive, broken_archive, disk_filled) and StoppedError;
    then some files may lie there already.
    """
    opened = gzip.open if archive.name.endswith((".gz", ".tgz")) or _is_gzip(archive) else bz2.open
    try:
        with opened(archive, "rb") as stream:
            bounded = _Bounded(stream, max_bytes + _MEMBERS_MAX_COUNT * _MEMBER_OVERHEAD_BYTES, stopped)
            with tarfile.open(fileobj=bounded, mode="r|", tarinfo=_Member) as members:  # type: ignore[call-overload]
                _unpack_all(members, into, max_bytes)
            # The checksum of the compressed stream lies at its end.
            while bounded.read(_PIECE_BYTES):
                pass
    except _RefusedError as refused:
        raise PullError("unsafe_archive", name=name, why=refused) from None
    except tarfile.FilterError as error:
        raise PullError("unsafe_archive", name=name, why=type(error).__name__) from None
    except _BROKEN:
        raise PullError("broken_archive", name=name) from None


def _is_gzip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _unpack_all(members: tarfile.TarFile, into: Path, max_bytes: int) -> None:
    top = ""
    left_bytes = max_bytes
    for count, member in enumerate(members, start=1):
        if count > _MEMBERS_MAX_COUNT:
            raise _RefusedError(f"more than {_MEMBERS_MAX_COUNT} members")
        parts = _parts(member)
        if not parts or _is_of_macos(parts):
            continue
        top = top or parts[0]
        if parts[0] != top or (len(parts) == 1 and not member.isdir()):
            raise _RefusedError("more than one folder at its top")
        target = into.joinpath(*parts[1:])
        # The standard library's own look, behind ours; Pythons before 3.11.4 have none.
        if hasattr(tarfile, "data_filter"):
            tarfile.data_filter(member, str(into))
        if member.isdir():
            with writing(into):
                target.mkdir(parents=True, exist_ok=True)
            continue
        left_bytes -= member.size
        if left_bytes < 0:
            raise _RefusedError("more than it may unpack to")
        _write(members, member, target)
    if not top:
        raise _RefusedError("nothing in it")


def _parts(member: tarfile.TarInfo) -> tuple[str, ...]:
    """The path in pieces, empty for `./`. Only files and folders pass, and only paths that stay inside."""
    path = member.name
    is_file = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
    if not (member.isdir() or is_file):
        raise _RefusedError("a link, a device or a file with holes")
    if member.size < 0:  # an extended header may say so
        raise _RefusedError("a file of negative size")
    parts = tuple(part for part in PurePosixPath(path).parts if part != ".")
    is_inside = not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in path
    if not is_inside:
        raise _RefusedError("a path that leads out of its folder")
    if len(path) > _PATH_MAX_CHARS or len(parts) > _PATH_MAX_PARTS or not path.isprintable():
        raise _RefusedError("a path that is too long or not printable")
    return parts


def _is_of_macos(parts: tuple[str, ...]) -> bool:
    """What macOS packs beside the files: attributes (`._name`), how its Finder shows a folder."""
    return parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = members.extractfile(member)
    if content is None:
        raise _RefusedError("a member without content")
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = target.open("xb")
        except FileExistsError:
            raise _RefusedError("the same path twice") from None
    with file:
        while piece := content.read(_PIECE_BYTES):
            with writing(target.parent):
                file.write(piece)
    with writing(target.parent):
        flushed(target)
