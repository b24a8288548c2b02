"""The simulated disk forgets what was not synced, and nothing else."""

import errno
import os
import random
from pathlib import Path

import pytest

from claire.adapters.journal.disk import write_all, write_durably
from claire.drill.disk import SimDisk


def written(disk: SimDisk, path: Path, *parts: bytes, synced: int) -> None:
    """Write parts to a new file, syncing after the first `synced` of them."""
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, part in enumerate(parts, 1):
        write_all(disk, descriptor, part)
        if number <= synced:
            disk.fsync(descriptor)


@pytest.mark.parametrize("seed", range(30))
def test_what_was_synced_survives_a_crash_and_the_rest_may_not(tmp_path: Path, seed: int) -> None:
    disk = SimDisk(random.Random(seed))
    written(disk, tmp_path / "file", b"a" * 100, b"b" * 100, synced=1)
    disk.sync_folder(tmp_path)
    disk.power_off()
    disk.release()
    left = (tmp_path / "file").read_bytes()
    assert left[:100] == b"a" * 100
    assert 100 <= len(left) <= 200


def test_tails_are_cut_at_every_place_and_sometimes_garbled(tmp_path: Path) -> None:
    lengths, garbled = {}, 0
    for seed in range(200):
        disk = SimDisk(random.Random(seed))
        path = tmp_path / str(seed)
        written(disk, path, b"a" * 10, b"b" * 10, synced=1)
        disk.sync_folder(tmp_path)
        disk.power_off()
        disk.release()
        tail = path.read_bytes()[10:]
        lengths[len(tail)] = True
        garbled += tail != b"b" * len(tail)
    assert sorted(lengths) == list(range(11))
    assert 20 < garbled < 100


def test_names_may_be_lost_until_their_folder_is_synced(tmp_path: Path) -> None:
    found = {}
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "file").write_bytes(b"old")
        disk = SimDisk(random.Random(seed))
        temporary = folder / "file.tmp"
        written(disk, temporary, b"new", synced=1)
        disk.replace(temporary, folder / "file")
        disk.power_off()
        disk.release()
        found[(folder / "file").read_bytes()] = True
    assert sorted(found) == [b"new", b"old"]


def test_what_was_written_durably_is_there_after_any_crash(tmp_path: Path) -> None:
    for seed in range(20):
        disk = SimDisk(random.Random(seed))
        write_durably(tmp_path / "file", b"%d" % seed, disk)
        disk.power_off()
        disk.release()
        assert (tmp_path / "file").read_bytes() == b"%d" % seed


def test_a_full_disk_takes_half_and_says_so_and_a_failing_fsync_fails_once(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(1))
    descriptor = disk.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    disk.is_full = True
    with pytest.raises(OSError, match="No space") as full:
        write_all(disk, descriptor, b"a" * 100)
    assert full.value.errno == errno.ENOSPC
    assert (tmp_path / "file").stat().st_size == 50
    disk.is_full, disk.failing_syncs = False, 1
    with pytest.raises(OSError, match="Input/output"):
        disk.fsync(descriptor)
    disk.fsync(descriptor)
    disk.release()
    assert disk.failures == 2


def test_nothing_is_written_once_the_power_is_off(tmp_path: Path) -> None:
    disk = SimDisk(random.Random(1))
    descriptor = disk.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    disk.power_off()
    with pytest.raises(OSError, match="power is off"):
        write_all(disk, descriptor, b"late")
    with pytest.raises(OSError, match="power is off"):
        disk.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    disk.release()
