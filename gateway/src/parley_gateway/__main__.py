"""`parley-gateway`: the gateway process."""

import sys

from parley_gateway.bootstrap import SERVICE_NAMES, starter
from parley_gateway.settings import Settings
from parley_servicekit.process import run
from parley_servicekit.settings import load_settings


def main() -> None:
    """Run until told to stop."""
    settings = load_settings(Settings)
    # Sessions are counted by the servicer; other calls (history, proxied engines) share the rest.
    rpc_max_count = settings.session_max_count + 256
    sys.exit(run(settings, starter(settings), service_names=SERVICE_NAMES, rpc_max_count=rpc_max_count))


if __name__ == "__main__":
    main()
