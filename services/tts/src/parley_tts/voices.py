"""`VoiceList`: finds the voice that a request asks for by name or language. Pure. Called by engines."""

import difflib
import re
from collections.abc import Sequence

from parley_servicekit import contract_faults
from parley_tts import faults
from parley_tts.ports import Capabilities, SpeechOptions, Voice

_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,6}")
_SUGGESTION_MAX_COUNT = 3


class VoiceList:
    """Voices by name. The first one is the default unless `default_name` names another."""

    def __init__(self, voices: Sequence[Voice], default_name: str = "") -> None:
        """Raises Fault (INVALID_ARGUMENT) when the default is not among the voices; ValueError for none."""
        if not voices:
            raise ValueError("no voices")
        self._by_name = {voice.name: voice for voice in voices}
        default = self.named(default_name, field="default_voice") if default_name else voices[0]
        self.voices = (default, *(voice for voice in voices if voice.name != default.name))

    def named(self, name: str, *, field: str = "synthesis.voice") -> Voice:
        """The voice of that name. Raises Fault naming `field`, with the nearest names."""
        voice = self._by_name.get(name)
        if voice is None:
            near = difflib.get_close_matches(name[:64], self._by_name, n=_SUGGESTION_MAX_COUNT, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "ListVoices tells the voices"
            raise faults.unknown_voice(hint, field)
        return voice

    def choose(self, name: str, language_code: str) -> Voice:
        """The named voice, else the best for the language, else the default. Raises Fault naming a field."""
        if language_code and not _LANGUAGE_CODE.fullmatch(language_code):
            raise contract_faults.invalid_field("synthesis.language_code", "not a BCP-47 language code")
        if name:
            voice = self.named(name)
            if language_code and not speaks(voice, language_code):
                raise faults.language_not_spoken(f"the voice speaks {', '.join(voice.language_codes[:5])}")
            return voice
        if not language_code:
            return self.voices[0]
        wanted = language_code.lower()
        for voice in self.voices:
            if any(code.lower() == wanted for code in voice.language_codes):
                return voice
        for voice in self.voices:
            if speaks(voice, language_code):
                return voice
        raise faults.language_not_spoken("no voice speaks this language")


def speaks(voice: Voice, language_code: str) -> bool:
    """Whether the voice speaks a language: `en` is spoken by an `en-us` voice and `en-us` by an `en` one."""
    return any(
        _is_within(code, language_code) or _is_within(language_code, code) for code in voice.language_codes
    )


def check_ranges(options: SpeechOptions, capabilities: Capabilities) -> None:
    """Raises Fault naming the option that the engine cannot honour."""
    for field, value, (lowest, highest) in (
        ("speed", options.speed, capabilities.speeds),
        ("pitch", options.pitch, capabilities.pitches),
    ):
        if not lowest <= value <= highest:
            what = f"{lowest:g} to {highest:g}" if lowest < highest else f"{lowest:g} only"
            raise contract_faults.not_honoured(
                f"synthesis.{field}", f"{capabilities.name} honours a {field} of {what}"
            )


def _is_within(code: str, wider: str) -> bool:
    return code.lower() == wider.lower() or code.lower().startswith(wider.lower() + "-")
