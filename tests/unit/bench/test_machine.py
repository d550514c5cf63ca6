"""The machine is described without saying whose it is or where things lie."""

import getpass
import json
import socket
from pathlib import Path

from bench.machine import described_machine, spin_noise


def test_the_description_names_no_host_no_person_and_no_path() -> None:
    described = described_machine()
    told = json.dumps(described)
    assert described["cores"]
    assert "/" not in told.replace("1/", "")
    assert str(Path.home()) not in told
    for name in (socket.gethostname(), getpass.getuser()):
        assert f'"{name}"' not in told


def test_noise_is_a_share_and_lengths() -> None:
    noise = spin_noise(0.05)
    assert 0 <= noise["stolen_share"] <= 2
    assert 0 <= noise["p99_ms"] <= noise["longest_ms"]
