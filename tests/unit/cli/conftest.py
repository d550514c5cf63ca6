"""Consoles that remember: what a terminal would get, and what a file or a pipe would get."""

from io import StringIO

import pytest
from rich.console import Console

from parley_cli import captions


class Screen:
    """Both consoles of the command, as strings."""

    def __init__(self, *, is_terminal: bool, width: int) -> None:
        self.out_console = self._console(is_terminal=is_terminal, width=width)
        self.err_console = self._console(is_terminal=is_terminal, width=width)

    @property
    def out(self) -> str:
        return _written(self.out_console)

    @property
    def err(self) -> str:
        return _written(self.err_console)

    @staticmethod
    def _console(*, is_terminal: bool, width: int) -> Console:
        return Console(
            force_terminal=is_terminal,
            file=StringIO(),
            width=width,
            color_system=None,
            highlight=False,
            markup=False,
            emoji=False,
            _environ={},
        )


def _written(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def _shown_on(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setattr(captions, "out", screen.out_console)
    monkeypatch.setattr(captions, "err", screen.err_console)
    return screen


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return _shown_on(Screen(is_terminal=False, width=20_000), monkeypatch)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return _shown_on(Screen(is_terminal=True, width=40), monkeypatch)
