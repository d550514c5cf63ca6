"""Starts the tts process: `python -m parley_tts`, or `parley-tts`."""

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
    sys.exit(
        run(
            settings,
            new_start(settings),
            service_names=[SERVICE_NAME],
            message_max_bytes=_MESSAGE_MAX_BYTES,
            rpc_max_count=settings.max_streams + _RPC_HEADROOM_COUNT,
        )
    )


if __name__ == "__main__":
    main()
