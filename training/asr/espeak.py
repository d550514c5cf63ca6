"""espeak-ng in process, through the shared library of the ``espeakng-loader`` wheel.

Called by ``voices``. The library keeps one global voice and is not thread-safe: one instance per process.
"""

from __future__ import annotations

import ctypes
import functools
import re

import espeakng_loader
import numpy as np
import numpy.typing as npt

_SYNCHRONOUS = 2
_CHARACTERS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_PHONEMES_WITH_UNDERSCORES = ord("_") << 8
_CALLBACK_TYPE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """One loaded library; ``say`` returns the samples of one sentence."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data_path = espeakng_loader.get_data_path().encode()
        self.sample_rate_hz: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, 0)
        if self.sample_rate_hz <= 0:
            raise RuntimeError("espeak-ng did not start")
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._callback = _CALLBACK_TYPE(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: object) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(
        self, text: str, voice: str, *, words_per_minute: int, pitch: int, pitch_range: int, word_gap: int
    ) -> npt.NDArray[np.float32]:
        """Mono float32 in [-1, 1] at ``sample_rate_hz``; pitch and range 0-100, word gap in 10 ms."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"unknown espeak-ng voice {voice}")
        settings = (
            (_RATE, words_per_minute),
            (_PITCH, pitch),
            (_PITCH_RANGE, pitch_range),
            (_WORD_GAP, word_gap),
        )
        for parameter, value in (*settings, (_VOLUME, 80)):
            self._library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode() + b"\0"
        self._pieces.clear()
        self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _CHARACTERS_UTF8, None, None)
        joined = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        return joined.astype(np.float32) / 32768.0

    def phonemes(self, text: str) -> list[list[str]]:
        """American phonemes of every spoken word in espeak-ng's ASCII notation, stress marks removed.

        Words that run together ("of the") come as one.
        """
        self._library.espeak_SetVoiceByName(b"en-us")
        translate = self._library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        remaining = ctypes.c_char_p(text.encode())
        spoken: list[list[str]] = []
        while remaining:
            part = translate(ctypes.byref(remaining), _CHARACTERS_UTF8, _PHONEMES_WITH_UNDERSCORES)
            words = re.sub(r"[',%=:|!]", "", (part or b"").decode()).split()
            spoken += [[sound for sound in word.split("_") if sound] for word in words]
        return spoken


@functools.cache
def espeak() -> Espeak:
    """This process's instance."""
    return Espeak()
