"""Reads the metadata of an ONNX file without loading it, so that a bad model is refused before the library
sees it.

Used by `model_folder`. Format: protocol buffers, message ModelProto of onnx.proto, whose field 14
(metadata_props) repeats {1: key, 2: value}; every other field is skipped, the graph by seeking over it.
"""

from pathlib import Path
from typing import BinaryIO

_METADATA_FIELD = 14
_ENTRY_MAX_BYTES = 1 << 20
_ENTRY_MAX_COUNT = 1000
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


class OnnxFormatError(ValueError):
    """The file is not an ONNX model."""


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of a model. Raises OnnxFormatError, and OSError for a file that cannot be read."""
    metadata: dict[str, str] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            field, wire_type = divmod(_varint(file), 8)
            if wire_type == _BYTES:
                length = _varint(file)
                if file.tell() + length > size:
                    raise OnnxFormatError("a field reaches beyond the end of the file")
                if field != _METADATA_FIELD:
                    file.seek(length, 1)
                    continue
                if length > _ENTRY_MAX_BYTES or len(metadata) >= _ENTRY_MAX_COUNT:
                    raise OnnxFormatError("the metadata is too large")
                key, value = _entry(file, file.tell() + length)
                metadata[key] = value
            elif wire_type == _VARINT:
                _varint(file)
            elif wire_type in (_FIXED_64, _FIXED_32):
                file.seek(8 if wire_type == _FIXED_64 else 4, 1)
            else:
                raise OnnxFormatError("not an ONNX model")
    return metadata


def _entry(file: BinaryIO, end: int) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    while file.tell() < end:
        field, wire_type = divmod(_varint(file), 8)
        length = _varint(file)
        if wire_type != _BYTES or file.tell() + length > end:
            raise OnnxFormatError("a metadata entry is malformed")
        texts[field] = file.read(length).decode("utf-8", errors="replace")
    return texts[1], texts[2]


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise OnnxFormatError("the file is cut off")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise OnnxFormatError("not an ONNX model")
