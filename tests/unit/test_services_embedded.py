"""A run over a synthetic or a recorded market that was stopped goes on to the same end as one that never was."""

import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from claire.adapters.config import Settings, load
from claire.adapters.journal.reader import JournalReader
from claire.adapters.marketdata import SyntheticMarket, SynthSettings, open_sources
from claire.engine.pipeline import Pipeline
from claire.engine.ports import Input, MarketSource, Recorded
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.errors import JournalError, LedgerError, ReplayError
from claire.model.market import Candle, Trade
from claire.services.embedded import continue_market, run_market
from claire.services.keeping import RunResult
from claire.services.replay import replay
from claire.strategies.base import Opinion
from claire.strategies.momentum import Momentum

PARAMETERS = (
    "lookback_s=20",
    "threshold_pct=0.03",
    "stop_loss_pct=0.05",
    "take_profit_pct=0.05",
    "max_hold_s=30",
    "paper.latency_ms=20",
    "journal.segment_mb=1",
    "risk.cooldown_s=0",
)
MARKET = SynthSettings(seed=5, trades=3000)
FAST = 1e9
"""A pace that never waits, but looks at each event whether to stop, and has each intent durable as a live run has."""


def configured(*more: str, mode: str = "paper") -> Settings:
    return load(
        assignments=[*PARAMETERS, *more], symbols=["BTCUSDT"], strategy="momentum", mode=mode, environ={}
    ).settings


def recording(folder: Path) -> Path:
    """A small market as a file of a user's."""
    path = folder / "BTCUSDT-mine.csv"
    source = SyntheticMarket(SynthSettings(seed=9, trades=2000))
    rules = source.instruments["BTCUSDT"]
    lines = ["ts_ms,price,qty,side"]
    for batch in source.batches():
        for trade in batch:
            assert isinstance(trade, Trade)
            price, quantity = rules.price(trade.price_ticks), rules.quantity(trade.quantity_lots)
            lines.append(f"{trade.ts_event_ns // 1_000_000},{price},{quantity},{trade.side.value.lower()}")
    path.write_text("\n".join(lines) + "\n")
    return path


class Copier:
    """Looks on, and copies the run directory as a kill would leave it: what a process holds in memory is not in the copy."""

    def __init__(self, runs: Path, into: Path, every: int) -> None:
        self.copies: list[Path] = []
        self._runs = runs
        self._into = into
        self._every = every
        self._seen = 0

    def _look(self) -> None:
        self._seen += 1
        if self._seen % self._every == 1:
            (run_dir,) = (path for path in self._runs.iterdir() if path.is_dir())
            self.copies.append(Path(shutil.copytree(run_dir, self._into / f"{self._seen:05d}" / run_dir.name)))

    def decided(self, input_no: int, event: Recorded) -> None:
        self._look()

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        self._look()

    def candle(self, candle: Candle) -> None:
        self._look()

    def postings(self, postings: Sequence[Posting]) -> None:
        self._look()

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        self._look()


def said(result: RunResult) -> dict[str, Any]:
    """What a run came to, but for its name and how long it took."""
    found: dict[str, Any] = msgspec.to_builtins(result.summary)
    for name in ("run_id", "elapsed_s", "trades_per_s", "peak_rss_mb", "continued"):
        found.pop(name, None)
    return found


def rows(run_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the ledger has, but for ids that name the run and marks of the journal."""
    found = {}
    with closing(sqlite3.connect(run_dir / "ledger.sqlite")) as database:
        for (table,) in database.execute("select name from sqlite_master where type = 'table'").fetchall():
            if table in ("runs", "alembic_version") or table.startswith("sqlite_"):
                continue
            columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
            kept = ", ".join(
                name for name in columns if name not in ("run_id", "client_order_id", "intent_id", "signal_id")
            )
            found[table] = sorted(database.execute(f"select {kept} from {table}").fetchall(), key=repr)  # noqa: S608
    return found


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], MarketSource]:
    path = recording(tmp_path_factory.mktemp("recording"))

    def opened(kind: str) -> MarketSource:
        return SyntheticMarket(MARKET) if kind == "synthetic" else open_sources([path])

    return opened


@pytest.mark.parametrize(
    ("kind", "record", "mode", "speed"),
    [
        ("synthetic", "all", "paper", FAST),
        ("synthetic", "decisions", "paper", FAST),
        ("recorded", "traded", "paper", FAST),
        ("recorded", "all", "backtest", None),
    ],
)
def test_a_run_killed_anywhere_and_gone_on_with_comes_to_what_it_would_have_been(
    tmp_path, market, kind, record, mode, speed
):
    """Also where the one that goes on is killed, before it has caught up or after."""
    runs = tmp_path / "runs"
    runs.mkdir()
    copier = Copier(runs, tmp_path / "copies", 45)
    settings = configured(f"journal.record={record}", mode=mode)
    whole = run_market(settings, market(kind), runs_dir=runs, mode=mode, speed=speed, observers=(copier,))
    assert whole.summary.fills > 3
    assert len(copier.copies) > 2
    for number, copy in enumerate(copier.copies):
        again = Copier(copy.parent, tmp_path / f"again{number}", 97)
        result = continue_market(copy, speed=speed if number % 2 else None, observers=(again,))
        assert said(result) == said(whole)
        assert rows(copy) == rows(whole.run_dir)
        assert replay(copy).decision_digest == whole.summary.decision_digest
        for twice in again.copies[1:2]:
            assert said(continue_market(twice)) == said(whole)
            assert replay(twice).identical
            assert rows(twice) == rows(whole.run_dir)


def stopping_after(events: int) -> Callable[[], bool]:
    left = [events]

    def ask() -> bool:
        left[0] -= 1
        return left[0] < 0

    return ask


@pytest.mark.parametrize("record", ["all", "decisions"])
def test_a_run_that_was_ended_in_order_goes_on_and_never_back(tmp_path, record):
    settings = configured(f"journal.record={record}")
    whole = run_market(settings, SyntheticMarket(MARKET), runs_dir=tmp_path / "whole", mode="paper", speed=FAST)
    runs = tmp_path / "runs"
    runs.mkdir()
    result = run_market(
        settings, SyntheticMarket(MARKET), runs_dir=runs, mode="paper", speed=FAST, should_stop=stopping_after(300)
    )
    reached = [result.summary.market_events]
    assert reached == [300]
    for events in (0, 0, 900, 1400):
        result = continue_market(result.run_dir, speed=FAST, should_stop=stopping_after(events))
        assert result.summary.interrupted
        assert replay(result.run_dir).decision_digest == result.summary.decision_digest
        reached.append(result.summary.market_events)
    assert reached[:3] == [300, 300, 300]
    assert reached == sorted(reached)
    assert 300 < reached[3] < reached[4]
    for _ in range(2):
        result = continue_market(result.run_dir)
        assert said(result) == said(whole)
        assert replay(result.run_dir).identical
    there, wanted = rows(result.run_dir), rows(whole.run_dir)
    more = there.pop("portfolio_snapshots")  # each end has one
    assert all(row in more for row in wanted.pop("portfolio_snapshots"))
    assert there == wanted


def test_what_is_on_record_is_not_paced(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    copier = Copier(runs, tmp_path / "copies", 120)
    whole = run_market(
        configured(), SyntheticMarket(MARKET), runs_dir=runs, mode="paper", speed=FAST, observers=(copier,)
    )
    copy = copier.copies[-1]
    reader = JournalReader(copy)
    *_, last = (event for _, event in reader.inputs())
    left_s = (market_end(whole) - last.ts_event_ns) / 1e9
    began = time.monotonic()
    assert said(continue_market(copy, speed=left_s)) == said(whole)
    assert 0.7 < time.monotonic() - began < 10


def market_end(result: RunResult) -> int:
    *_, last = (event for _, event in JournalReader(result.run_dir).inputs())
    return last.ts_event_ns


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was killed in the middle."""
    runs = tmp_path / "runs"
    runs.mkdir()
    copier = Copier(runs, tmp_path / "copies", 150)
    run_market(configured(), SyntheticMarket(MARKET), runs_dir=runs, mode="paper", speed=FAST, observers=(copier,))
    return copier.copies[1]


def test_an_end_that_was_torn_is_cut(stopped):
    segment = max((stopped / "journal").glob("*.jrn"))
    segment.write_bytes(segment.read_bytes() + b"\x00\x01\x02" * 30)
    result = continue_market(stopped)
    assert result.summary.market_events == 3000
    assert replay(stopped).identical


def test_a_run_without_its_ledger_is_refused(stopped):
    for path in stopped.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(LedgerError, match="its ledger does not know the run"):
        continue_market(stopped)


def test_a_journal_that_was_changed_is_refused(stopped):
    segment = max((stopped / "journal").glob("*.jrn"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(bytes(data))
    with pytest.raises(JournalError, match=r"000001.jrn: entry \d+, byte \d+"):
        continue_market(stopped)


def test_a_program_that_decides_otherwise_is_refused(stopped, monkeypatch):
    monkeypatch.setattr(Momentum, "on_trade", lambda *_: Opinion.NO_ENTRY)
    with pytest.raises(
        ReplayError, match=r"this program decides otherwise .* Decision 1, signal, is not decided any more"
    ):
        continue_market(stopped)


def test_a_recording_that_moved_is_found_and_another_is_not_taken(tmp_path):
    path = recording(tmp_path)
    runs = tmp_path / "runs"
    runs.mkdir()
    result = run_market(
        configured(), open_sources([path]), runs_dir=runs, mode="paper", speed=FAST, should_stop=stopping_after(500)
    )
    moved = path.rename(tmp_path / "elsewhere.csv")
    with pytest.raises(ReplayError, match="say where it lies now with --data FILE"):
        continue_market(result.run_dir)
    other = tmp_path / "other.csv"
    other.write_text(moved.read_text() + "\n")
    with pytest.raises(ReplayError, match="not the recording of this run"):
        continue_market(result.run_dir, [other])
    assert continue_market(result.run_dir, [moved]).summary.market_events == 2000


def test_two_processes_do_not_go_on_with_one_run(stopped):

    def also(_: Pipeline) -> None:
        continue_market(stopped)

    with pytest.raises(JournalError, match="another process writes this run"):
        continue_market(stopped, on_progress=also)
    assert continue_market(stopped).summary.market_events == 3000


def test_a_capital_that_is_too_small_for_the_venues_minimum_is_told(tmp_path):
    small = ("paper.balance.USDT=40", "instruments.BTCUSDT.min_notional=5")
    result = run_market(configured(*small), SyntheticMarket(MARKET), runs_dir=tmp_path, mode="paper")
    assert result.summary.fills == 0
    _, told, advice = result.summary.warnings
    assert re.search("at the last price, momentum-1 cannot enter BTCUSDT with less than [0-9.]+ USDT", told)
    assert advice.startswith("What helps: ")
    assert replay(result.run_dir).identical


def test_a_capital_that_is_large_enough_needs_no_word(tmp_path):
    result = run_market(configured(), SyntheticMarket(MARKET), runs_dir=tmp_path, mode="paper")
    (about_the_market,) = result.summary.warnings
    assert about_the_market.startswith("STUB")
