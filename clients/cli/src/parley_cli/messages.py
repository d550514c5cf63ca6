"""The lines that people see, in English and in Chinese (where LC_ALL, LC_MESSAGES or LANG begins with zh)."""

import os

from parley_cli.messages_chinese import CHINESE
from parley_cli.messages_english import ENGLISH


def message(key: str, **values: object) -> str:
    """A line in the language of the environment. KeyError for a key that is not one."""
    return (CHINESE if _is_chinese() else ENGLISH)[key].format(**values)


def headings(*names: str) -> tuple[str, ...]:
    """The headings of a table's columns."""
    return tuple(message(f"head_{name}") for name in names)


def _is_chinese() -> bool:
    # The first that is set decides, as POSIX has it.
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return locale.lower().startswith("zh")
