"""`PullError`: why a model cannot be fetched. Raised by everything in `pulling`, told by `commands.pull`."""

from parley_cli.messages import message
from parley_cli.running import FAILED, WRONG_USE

_WRONG_USES = frozenset(
    ["unknown_model", "bad_catalogue", "bad_ollama_url", "bad_ollama_model", "folder_unusable"]
)


class PullError(Exception):
    """One failure. `reason` names the message `pull_<reason>`, which `values` fill in."""

    def __init__(self, reason: str, **values: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values

    @property
    def words(self) -> str:
        """What happened and what to do about it, in the language of the environment."""
        return message(f"pull_{self.reason}", **self.values)

    @property
    def exit_code(self) -> int:
        """2 where the command was used wrongly, else 1."""
        return WRONG_USE if self.reason in _WRONG_USES else FAILED
