"""A run that is being opened shows that it lives, for as long as that may take."""

import time
from pathlib import Path

from claire.latch.page import PageLatch
from claire.safety import heart
from claire.services.guarding import Guard


def beats(folder: Path) -> int:
    pulse = heart.read(folder)
    assert pulse is not None
    return pulse.beats


def test_the_heart_beats_while_a_run_is_opened_in_one_go(tmp_path: Path) -> None:
    own = heart.Heart(tmp_path)
    guard = Guard(tmp_path, PageLatch(tmp_path), own)
    with guard.recovering():
        time.sleep(1.0)  # as a journal that is read blocks everything else
        assert beats(tmp_path) >= 3
    after = beats(tmp_path)
    time.sleep(0.5)
    assert beats(tmp_path) == after
    own.end()


def test_a_run_that_hangs_while_it_is_opened_falls_silent(tmp_path: Path) -> None:
    own = heart.Heart(tmp_path)
    guard = Guard(tmp_path, PageLatch(tmp_path), own)
    with guard.recovering(limit_s=0.5):
        time.sleep(0.8)
        silent = beats(tmp_path)
        time.sleep(0.5)
        assert beats(tmp_path) == silent
    own.end()


def test_without_a_sentinel_nothing_beats(tmp_path: Path) -> None:
    with Guard(tmp_path, PageLatch(tmp_path)).recovering():
        assert heart.read(tmp_path) is None
