"""Sound files that people name: read at the wanted rate, or refused with a reason and a name."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from parley_audio.pcm import AudioError
from parley_audio.wav import write_wav
from parley_cli.sound_files import check_writable, read_samples


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_any_rate_becomes_the_wanted_one(tmp_path: Path, rate_hz: int) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(rate_hz, np.float32), rate_hz)
    assert abs(len(read_samples(tmp_path / "a.wav", 16_000)) - 16_000) <= 1


def test_stereo_becomes_mono(tmp_path: Path) -> None:
    stereo = np.stack([np.full(1600, 0.5), np.full(1600, -0.5)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 16_000)
    assert np.abs(read_samples(tmp_path / "a.wav", 16_000)).max() < 1e-3


@pytest.mark.parametrize("content", [b"", b"RIFF", b"this is no sound" * 100])
def test_a_file_that_is_no_sound_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav: not a sound file"):
        read_samples(file, 16_000)


def test_a_sound_file_without_sound_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(AudioError, match="no sound in it"):
        read_samples(tmp_path / "a.wav", 16_000)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_samples(tmp_path / "a.wav", 16_000)


def test_a_new_file_in_a_folder_may_be_written_and_is_not_made_by_asking(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_may_be_written_and_is_not_changed_by_asking(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"kept")
    check_writable(file)
    assert file.read_bytes() == b"kept"


def test_a_folder_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        check_writable(tmp_path)
    assert raised.value.filename == str(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        check_writable(tmp_path / "missing" / "a.wav")
    assert raised.value.filename == str(tmp_path / "missing")


def test_a_parent_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path / "file" / "a.wav")
