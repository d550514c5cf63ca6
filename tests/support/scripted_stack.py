"""A gateway in front of scripted services: what is heard, answered and spoken is known, and how slowly."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.stack import Stack, running_stack

HEARD = "hello how are you today"
ANSWER = ["I ", "am ", "very ", "well, ", "thank ", "you. ", "It ", "is ", "nice ", "to ", "hear ", "you."]
LLM_SCRIPT = {
    "answers": [
        # First, because what was never answered is still part of what is asked next.
        {"when_asked": "hello", "deltas": ANSWER, "first_delta_ms": 20, "delta_ms": 10},
        {"when_asked": "long", "deltas": ["word after word, "], "repeat": 200, "delta_ms": 20},
        {
            "when_asked": "break",
            "deltas": ["This ", "breaks, "],
            "fail_after": 2,
            "fail_reason": "UPSTREAM_CUT",
        },
        {"when_asked": "hang", "deltas": [], "hang_after": 0},
        {"when_asked": "ponder", "deltas": ["This much is sure. ", "And "], "hang_after": 2},
        {"when_asked": "silent", "deltas": []},
        {"deltas": ANSWER, "first_delta_ms": 20, "delta_ms": 10},
    ]
}


@asynccontextmanager
async def scripted_stack(
    home: Path,
    environment: Mapping[str, str] | None = None,
    asr_script: Mapping[str, Any] | None = None,
    llm_script: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stack]:
    """All four processes with scripted engines."""
    asr, llm = home / "asr.json", home / "llm.json"
    asr.write_text(json.dumps(asr_script or {"utterances": [{"text": HEARD}]}))
    llm.write_text(json.dumps(llm_script or LLM_SCRIPT))
    scripted = {
        "PARLEY_ASR_ENGINE": "scripted",
        "PARLEY_ASR_SCRIPT_FILE": str(asr),
        "PARLEY_LLM_ENGINE": "scripted",
        "PARLEY_LLM_SCRIPT_FILE": str(llm),
        "PARLEY_TTS_ENGINE": "scripted",
    }
    async with running_stack(home, scripted | dict(environment or {})) as stack:
        yield stack
