"""Evidence: five minutes of testnet on a bad day: answers dropped, connections cut, the process killed; the books stay equal.

    ./dev evidence testnet_faults [--minutes 5] [--kills 10] [--seed 1] [--keep FOLDER]

`claire run --mode testnet` trades several orders a second against a simulator in a process of its own, with every limit of the
venue in force. The venue drops the answer to every fifth order and cuts every connection each 20 seconds; the process is
killed with SIGKILL ten times, evenly, and continued. At the end the run's books are held against the venue's, and its journal
is replayed.

Prints one JSON document; exits 1 if there is one difference.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.support.beside import DROPPED, Beside, lively
from tests.support.killing import BUSY, KilledRun, Moment

SYMBOLS = (
    *("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT", "DOGEUSDT", "ADAUSDT", "TRXUSDT"),
    *("AVAXUSDT", "LINKUSDT", "LTCUSDT", "DOTUSDT"),
)
USDT = 1_000_000
PAUSE = "risk.cooldown_s=10"
"""Between two positions in one symbol: more losing exits in five minutes than are allowed would end the trading."""
CUT_EVERY_S = 20.0


class Cutter(threading.Thread):
    """Cuts every connection now and then."""

    def __init__(self, beside: Beside) -> None:
        """Prepare for one simulator."""
        super().__init__(name="cutter")
        self.cuts = 0
        self._beside = beside
        self._over = threading.Event()

    def run(self) -> None:
        """Cut until told to stop."""
        while not self._over.wait(CUT_EVERY_S):
            self._beside.fault("disconnect", how="cut" if self.cuts % 2 else "close")
            self.cuts += 1

    def stop(self) -> None:
        """Stop, and wait until it has."""
        self._over.set()
        self.join()


def main() -> None:
    """Trade, kill, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the run directory in this folder")
    given = parser.parse_args()
    lasts_s = given.minutes * 60
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, Progress(*columns, console=Console(stderr=True)) as progress:
        folder = given.keep or Path(temporary)
        bar = progress.add_task("testnet on a bad day", total=lasts_s)
        with Beside(folder / "venue", *lively(given.seed, SYMBOLS, usdt=USDT)) as beside:
            beside.bad_day()
            cutter = Cutter(beside)
            with KilledRun(folder, beside, (*BUSY, PAUSE, f"paper.balance.USDT={USDT}"), seed=given.seed) as run:
                cutter.start()
                try:
                    for number in range(1, given.kills + 1):
                        due = began + lasts_s * number / (given.kills + 1)
                        while (left := due - time.monotonic()) > 0:
                            progress.update(bar, completed=time.monotonic() - began)
                            time.sleep(min(left, 0.5))
                            run.check()
                        run.kill(Moment.ANY)
                        run.go_on()
                        print(f"kill {number} of {given.kills}", file=sys.stderr)
                    while time.monotonic() - began < lasts_s:
                        progress.update(bar, completed=time.monotonic() - began)
                        time.sleep(0.5)
                        run.check()
                    run.wait_until_trading()
                finally:
                    cutter.stop()
                run.end()
                figures = run.figures
    print(
        json.dumps(
            {
                "minutes": given.minutes,
                "answers_dropped_pct": DROPPED * 100,
                "disconnects": cutter.cuts,
                "kills": figures.kills,
                "restarts": figures.restarts,
                "first_order_after_restart_s": sorted(figures.recovery_s),
                "submits": figures.submits,
                "orders_at_the_venue": figures.orders,
                "fills": figures.fills,
                "lost_answers": figures.lost_answers,
                "unknown_outcomes": figures.unknown_outcomes,
                "order_states": dict(sorted(figures.states.items())),
                "journal_entries": figures.journal_entries,
                "differences": figures.differences,
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )
    for difference in figures.differences[:20]:
        print(difference, file=sys.stderr)
    raise SystemExit(1 if figures.differences else 0)


if __name__ == "__main__":
    main()
