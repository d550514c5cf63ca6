"""Starts the llm process: `python -m parley_llm`, configured by `PARLEY_LLM_*` variables."""

import os
import sys

# Read when grpc is imported. The embedded engine starts another program, never a copy of this one, so there is
# nothing for gRPC to prepare, and to complain about, when uvloop forks.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from parley_llm.bootstrap import run_process
from parley_llm.settings import Settings
from parley_servicekit.settings import load_settings


def main() -> None:
    """Read the settings and serve; ends the process."""
    sys.exit(run_process(load_settings(Settings)))


if __name__ == "__main__":
    main()
