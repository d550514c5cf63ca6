"""The gateway: orchestrates recognition, chat and synthesis into one spoken conversation."""

__version__ = "0.1.0"
