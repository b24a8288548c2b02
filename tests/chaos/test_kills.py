"""SIGKILL at random moments under load, restart, again and again: the books equal the venue's, and the journal replays."""

from pathlib import Path

from tests.support.beside import Beside, lively
from tests.support.killing import BUSY, KilledRun, kill_over_and_over

KILLS = 20
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
USDT = 1_000_000
SETTINGS = (*BUSY, f"paper.balance.USDT={USDT}", "mexc.recv_window_ms=500", "risk.cooldown_s=4")


def test_after_twenty_kills_the_books_equal_the_venues_and_the_journal_replays(tmp_path: Path) -> None:
    with Beside(tmp_path / "venue", *lively(20, SYMBOLS, usdt=USDT)) as beside:
        beside.bad_day()
        with KilledRun(tmp_path, beside, SETTINGS, seed=20) as run:
            figures = kill_over_and_over(run, KILLS)
    assert figures.differences == []
    assert (figures.kills, figures.restarts) == (KILLS, KILLS)
    assert figures.orders >= KILLS
    assert figures.unknown_outcomes > 0
    assert len(figures.moments) >= 5
