"""Environments of the peers: where they are, what is missing, and `python -m bench.peers.install [NAME…]` to make them.

Each library has its own under `.peers/`, made with pip from `requirements-*.txt`: 400 to 500 MB, a minute or two.
"""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = Path(".peers")
"""In the working directory, which is the repository's root, as for `bench/out`."""


class PeersMissingError(Exception):
    """A library that is to be compared with is not installed; the message says what to run."""


@dataclass(frozen=True)
class Peer:
    """A library. name: as `--vs` has it; id: as figures begin; module: its process; tuned: its best settings."""

    name: str
    id: str
    module: str
    requirements: str
    tuned: str

    @property
    def python(self) -> Path:
        """The interpreter of its environment, there or not."""
        return (_FOLDER / self.name / "bin" / "python").absolute()

    @property
    def is_installed(self) -> bool:
        """Whether the versions that are asked for have been installed to the end."""
        stamp = _FOLDER / self.name / "installed.txt"
        return self.python.exists() and stamp.exists() and stamp.read_text() == self.wanted

    @property
    def wanted(self) -> str:
        """Content of its requirements file."""
        return (_HERE / self.requirements).read_text()


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "pipecat",
            "pipecat",
            "pipecat_process",
            "requirements-pipecat.txt",
            "RTVI, turn tracking, idle detection and audio behind the recogniser off, words to the voice as they come",
        ),
        Peer(
            "livekit-agents",
            "livekit_agents",
            "livekit_process",
            "requirements-livekit.txt",
            "preemptive speech on, text transforms and timers off",
        ),
    )
}


def check_installed(names: Iterable[str]) -> None:
    """Raises PeersMissingError naming all that are missing."""
    missing = sorted(name for name in names if not PEERS[name].is_installed)
    if missing:
        raise PeersMissingError(
            f"not installed: {', '.join(missing)}; run `make bench-peers`, or "
            f"`python -m bench.peers.install {' '.join(missing)}` (400 to 500 MB each, under .peers/)"
        )


def install(peer: Peer) -> None:
    """Make its environment. CalledProcessError when pip fails; what pip says is shown."""
    home = _FOLDER / peer.name
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    requirements = _HERE / peer.requirements
    pip = [str(peer.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(requirements)], check=True)
    (home / "installed.txt").write_text(peer.wanted)


def main(names: list[str]) -> int:
    """Install what is named, or all. Exit code: 0 done, 1 pip failed, 2 wrong use."""
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        print(f"no such library: {', '.join(unknown)}; there are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    for peer in [PEERS[name] for name in names or PEERS]:
        if peer.is_installed:
            print(f"{peer.name}: installed")
            continue
        print(f"{peer.name}: installing (a minute or two)", flush=True)
        try:
            install(peer)
        except subprocess.CalledProcessError as error:
            print(f"{peer.name}: pip ended with {error.returncode}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
