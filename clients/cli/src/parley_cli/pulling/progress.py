"""`PullProgress`: how far a pull is: a bar on a terminal, a line now and then elsewhere. Used by `commands.pull`."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from parley_cli.messages import message

_STEP_PERCENT = 10


class PullProgress:
    """One model after the other. `begin` names it, then `moved` as often as one likes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_live = console.is_terminal
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(complete_style="green", finished_style="green", pulse_style="bright_black"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self._is_live,
        )
        self._bar: TaskID | None = None
        self._name = ""
        self._shown = (0, -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self, name: str) -> None:
        """The next model."""
        self.end()
        self._name = name
        self._shown = (0, -1)
        self._bar = self._bars.add_task(name, total=None)
        self._bars.start()

    def end(self) -> None:
        """Take its bar away, so that other lines have the terminal for themselves."""
        if self._bar is not None:
            self._bars.stop()
            self._bars.remove_task(self._bar)
            self._bar = None

    def moved(self, done_bytes: int, total_bytes: int) -> None:
        """So much of so much is here."""
        if self._is_live and self._bar is not None:
            self._bars.update(self._bar, completed=done_bytes, total=total_bytes)
            return
        step = 100 * done_bytes // max(1, total_bytes) // _STEP_PERCENT
        # Ollama fetches several files, each with a total of its own.
        last_total_bytes, last_step = self._shown
        if total_bytes == last_total_bytes and step <= last_step:
            return
        self._shown = (total_bytes, step)
        size = f"{decimal(done_bytes)} / {decimal(total_bytes)}"
        self._console.print(f"  {self._name}: {step * _STEP_PERCENT} % ({size})")

    def checking(self) -> None:
        """All is here; what follows has no measure."""
        text = message("pull_checking", name=self._name)
        if self._is_live and self._bar is not None:
            self._bars.update(self._bar, description=text, total=None)
        else:
            self._console.print(f"  {text}")
