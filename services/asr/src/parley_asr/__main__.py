"""`python -m parley_asr` or `parley-asr`: the asr process."""

import sys

from parley_asr.bootstrap import SERVICE_NAME, rpc_max_count, starter
from parley_asr.settings import Settings
from parley_servicekit.process import run
from parley_servicekit.settings import load_settings


def main() -> None:
    """Run until told to stop; see parley_servicekit.process for exit codes."""
    settings = load_settings(Settings)
    sys.exit(
        run(
            settings,
            starter(settings),
            service_names=[SERVICE_NAME],
            linked_service_names=[SERVICE_NAME],
            rpc_max_count=rpc_max_count(settings),
        )
    )


if __name__ == "__main__":
    main()
