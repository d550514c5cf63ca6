"""The process in which espeak-ng runs: it is not thread-safe, may crash, and is GPL-3, which ours is not.

Started by `espeak_process` as `python -m parley_tts.engines.espeak_child`. Frames on standard input and
output: length (u32, little-endian), kind (one byte), payload. One request at a time:

    in   S  JSON {voice, rate, pitch, text}      C  stop speaking
    out  H  JSON {sample_rate_hz, voices, variants}, once     A  s16le samples
         W  two u32: character offset, sample offset          D  done (after S, always)     E  reason, then D

It ends when its standard input does, so it does not outlive its parent.
"""

import ctypes
import json
import os
import select
import signal
import struct
import sys
from typing import Any

import espeakng_loader

_HEADER = struct.Struct("<IB")
_FRAME_MAX_BYTES = 1 << 20
_AUDIO_SYNCHRONOUS = 2
_DONT_EXIT = 1 << 15
_BUFFER_MS = 60
_CHARS_UTF8 = 1
_RATE, _PITCH = 1, 3
_EVENT_LIST_END, _EVENT_WORD = 0, 1
_PR_SET_PDEATHSIG = 1
# Of several voices that speak a language espeak-ng marks the less typical ones with a higher number.
_TYPICAL_PRIORITY = 5


class _EventName(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventName),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_char)),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class EspeakChild:
    """Serves requests from one pair of pipes until the input ends."""

    def __init__(self, requests_fd: int, answers_fd: int) -> None:
        self._requests_fd = requests_fd
        self._answers_fd = answers_fd
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        data_path = espeakng_loader.get_data_path().encode()
        self._sample_rate_hz = self._library.espeak_Initialize(
            _AUDIO_SYNCHRONOUS, _BUFFER_MS, data_path, _DONT_EXIT
        )
        if self._sample_rate_hz <= 0:
            raise RuntimeError("espeak-ng did not initialise")
        self._callback = _Callback(self._on_speech)  # kept alive as long as the library may call it
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def serve(self) -> None:
        """Answer requests until the parent is gone."""
        hello = {
            "sample_rate_hz": self._sample_rate_hz,
            "voices": self._list_voices(None),
            "variants": self._list_voices(b"variant\0\0"),
        }
        self._answer(b"H", json.dumps(hello).encode())
        while True:
            kind, payload = self._read_frame()
            if kind == b"S":
                self._speak(json.loads(payload))

    def _speak(self, request: dict[str, Any]) -> None:
        if request["voice"] != self._voice:
            if self._library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
                self._answer(b"E", b"VOICE")
                self._answer(b"D", b"")
                return
            self._voice = request["voice"]
        self._library.espeak_SetParameter(_RATE, request["rate"], 0)
        self._library.espeak_SetParameter(_PITCH, request["pitch"], 0)
        text = request["text"].encode()
        status = self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        if status != 0:
            self._answer(b"E", b"SYNTHESIS")
        self._answer(b"D", b"")

    def _on_speech(self, samples: Any, sample_count: int, events: Any) -> int:
        """Called by espeak-ng in `espeak_Synth` with the next audio; 1 stops it."""
        index = 0
        while events and events[index].type != _EVENT_LIST_END:
            event = events[index]
            if event.type == _EVENT_WORD and event.text_position > 0:
                self._answer(b"W", struct.pack("<II", event.text_position - 1, max(event.sample, 0)))
            index += 1
        if samples and sample_count > 0:
            self._answer(b"A", ctypes.string_at(samples, 2 * sample_count))
        return 1 if self._is_stopped() else 0

    def _is_stopped(self) -> bool:
        """Whether the parent said stop; what it sends while we speak can be nothing else."""
        readable, _, _ = select.select([self._requests_fd], [], [], 0)
        return bool(readable) and self._read_frame()[0] == b"C"

    def _list_voices(self, languages: bytes | None) -> list[dict[str, Any]]:
        wanted = None
        if languages is not None:
            wanted = _Voice()
            wanted.languages = ctypes.cast(
                ctypes.create_string_buffer(languages), ctypes.POINTER(ctypes.c_char)
            )
        found = self._library.espeak_ListVoices(None if wanted is None else ctypes.byref(wanted))
        voices = []
        index = 0
        while found[index]:
            voice = found[index].contents
            languages_by_priority = _read_languages(voice.languages)
            voices.append(
                {
                    "description": voice.name.decode().strip(),
                    "identifier": voice.identifier.decode(),
                    "languages": [
                        code
                        for place, (priority, code) in enumerate(languages_by_priority)
                        if place == 0 or priority <= _TYPICAL_PRIORITY
                    ],
                    "priority": min(priority for priority, _ in languages_by_priority),
                }
            )
            index += 1
        return voices

    def _read_frame(self) -> tuple[bytes, bytes]:
        length, kind = _HEADER.unpack(self._read_exactly(_HEADER.size))
        if length > _FRAME_MAX_BYTES:
            raise ValueError("frame too long")
        return bytes([kind]), self._read_exactly(length)

    def _read_exactly(self, count: int) -> bytes:
        parts = []
        while count > 0:
            part = os.read(self._requests_fd, count)
            if not part:
                os._exit(0)  # the parent is gone; also out of espeak-ng's callback
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _answer(self, kind: bytes, payload: bytes) -> None:
        frame = memoryview(_HEADER.pack(len(payload), kind[0]) + payload)
        while frame:
            try:
                frame = frame[os.write(self._answers_fd, frame) :]
            except BrokenPipeError:
                os._exit(0)


def _read_languages(packed: Any) -> list[tuple[int, str]]:
    """espeak-ng's list: a priority byte and a zero-terminated code each, ended by a zero byte."""
    languages = []
    place = 0
    while packed[place] != b"\0":
        priority = packed[place][0]
        code = ctypes.string_at(ctypes.addressof(packed.contents) + place + 1)
        languages.append((priority, code.decode()))
        place += len(code) + 2
    return languages


def main() -> None:
    """Take over standard input and output; what the library prints goes nowhere."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us with the parent, which still may drain
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers_fd = os.dup(1)
    os.dup2(2, 1)
    EspeakChild(0, answers_fd).serve()


if __name__ == "__main__":
    main()
