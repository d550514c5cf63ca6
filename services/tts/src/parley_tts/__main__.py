"""Starts the tts process: `python -m parley_tts`, or `parley-tts`."""

import os
import sys

from parley_servicekit.process import run
from parley_servicekit.settings import load_settings
from parley_tts.bootstrap import SERVICE_NAME, new_start
from parley_tts.settings import Settings

# A text of 1 MiB and its envelope.
_MESSAGE_MAX_BYTES = (1 << 20) + (1 << 16)
# Lists and health next to the admitted syntheses, so that those are refused by us, with a reason.
_RPC_HEADROOM_COUNT = 64


def main() -> None:
    """Run until told to stop."""
    settings = load_settings(Settings)
    if settings.engine == "sherpa":
        _silence_native_messages()
    sys.exit(
        run(
            settings,
            new_start(settings),
            service_names=[SERVICE_NAME],
            linked_service_names=[SERVICE_NAME],
            message_max_bytes=_MESSAGE_MAX_BYTES,
            rpc_max_count=settings.max_streams + _RPC_HEADROOM_COUNT,
        )
    )


def _silence_native_messages() -> None:
    """sherpa-onnx writes phrases that it cannot say to the standard error file, past our logs: shut it."""
    ours = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(ours, "w", buffering=1)


if __name__ == "__main__":
    main()
