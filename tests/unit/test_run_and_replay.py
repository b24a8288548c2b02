"""A run keeps what it did, and a replay finds whatever was changed in it."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from claire.adapters.config import load
from claire.adapters.journal.entries import encode
from claire.adapters.journal.frames import FRAME, HASH_BYTES, HEAD
from claire.adapters.journal.reader import JournalReader
from claire.adapters.marketdata import SyntheticMarket, SynthSettings
from claire.model.errors import JournalError, LedgerError, ReplayError, StrategyError
from claire.model.market import Trade
from claire.services.embedded import run_market
from claire.services.keeping import RunResult
from claire.services.replay import replay
from tests.support.markets import OFTEN

PARAMETERS = (
    *OFTEN,
    "lookback_s=20",
    "threshold_pct=0.03",
    "stop_loss_pct=0.05",
    "take_profit_pct=0.05",
    "max_hold_s=30",
    "paper.latency_ms=20",
)
MARKET = SynthSettings(seed=5, trades=3000)


def run(
    runs: Path, *more: str, mode: str = "paper", market: SynthSettings = MARKET, strategy: str = "momentum"
) -> RunResult:
    """One run over a small synthetic market."""
    settings = load(
        assignments=[*(PARAMETERS if strategy == "momentum" else ()), *more],
        symbols=["BTCUSDT"],
        strategy=strategy,
        mode=mode,
        environ={},
    ).settings
    return run_market(settings, SyntheticMarket(market), runs_dir=runs, mode=mode)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a finished paper run, with its inputs in the journal."""
    result = run(tmp_path_factory.mktemp("runs"))
    assert result.summary.fills > 10
    return result.run_dir


@pytest.fixture
def copy(paper: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(paper, tmp_path / paper.name))


@pytest.mark.parametrize("record", ["all", "traded", "decisions"])
@pytest.mark.parametrize("mode", ["paper", "backtest"])
def test_whatever_the_journal_keeps_a_run_replays_to_the_same_decisions(tmp_path, record, mode):
    result = run(tmp_path, f"journal.record={record}", mode=mode)
    again = replay(result.run_dir)
    assert again.identical
    assert again.decision_digest == result.summary.decision_digest
    assert again.decisions >= result.summary.decisions > 100
    kept = mode == "paper" and record != "decisions"
    assert again.inputs == ("the journal" if kept else "the generator, seed and settings as recorded")


def test_mode_and_what_is_kept_decide_nothing(tmp_path):
    digests = [
        run(tmp_path, f"journal.record={record}", mode=mode).summary.decision_digest
        for record, mode in (("all", "paper"), ("decisions", "paper"), ("all", "backtest"))
    ]
    assert len({*digests}) == 1


def test_segments_are_closed_and_compressed_and_still_replay(tmp_path):
    result = run(tmp_path, "journal.segment_mb=1", market=SynthSettings(seed=5, trades=60_000))
    names = sorted(path.name for path in (result.run_dir / "journal").iterdir())
    assert names[0] == "000001.jrn.gz"
    assert replay(result.run_dir).identical


def test_a_run_cut_off_anywhere_replays_as_far_as_its_journal_reaches(paper, tmp_path):
    journal = (paper / "journal/000001.jrn").read_bytes()
    first = encode(JournalReader(paper).header)
    header_end = HEAD.size + FRAME.size + len(first) + HASH_BYTES + 1
    reached = []
    for number, size in enumerate(range(header_end, len(journal), len(journal) // 60)):
        cut = tmp_path / f"cut{number}"
        (cut / "journal").mkdir(parents=True)
        (cut / "journal/000001.jrn").write_bytes(journal[:size])
        result = replay(cut)
        assert result.identical, (size, result.first_difference)
        assert result.truncated or size == len(journal)
        reached.append(result.decisions)
    assert reached == sorted(reached)
    assert reached[-1] > 100


def test_a_changed_parameter_names_the_first_decision_that_differs(paper):
    result = replay(paper, overrides=["threshold_pct=0.04"])
    assert not result.identical
    assert result.first_difference is not None
    assert result.first_difference.fields
    assert "changed for this replay: threshold_pct=0.04" in result.notes


def test_an_edited_configuration_is_found_and_named(copy):
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"threshold_pct":0.03', '"threshold_pct":0.07'))
    with pytest.raises(ReplayError, match=r"threshold_pct is 0.07, the run had 0.03.*--set threshold_pct=0.07"):
        replay(copy)


def test_an_edited_summary_is_found_and_named(copy):
    summary = copy / "summary.json"
    document = json.loads(summary.read_text())
    summary.write_text(json.dumps(document | {"final_equity": "2000"}))
    with pytest.raises(ReplayError, match="final_equity is 2000"):
        replay(copy)


def test_an_edited_fill_in_the_ledger_is_found_and_named(copy):
    with closing(sqlite3.connect(copy / "ledger.sqlite")) as database, database:
        database.execute("update fills set price = '1' where rowid = 3")
    with pytest.raises((ReplayError, LedgerError), match="fills"):
        replay(copy)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_found_with_its_entry_and_place(copy, share):
    segment = copy / "journal/000001.jrn"
    data = bytearray(segment.read_bytes())
    data[int(len(data) * share)] ^= 1
    segment.write_bytes(bytes(data))
    with pytest.raises(JournalError, match=r"000001.jrn: entry \d+, byte \d+"):
        replay(copy)


def recorded(folder: Path) -> Path:
    """A small market as a CSV file of a user."""
    path = folder / "BTCUSDT-mine.csv"
    source = SyntheticMarket(SynthSettings(seed=9, trades=2000))
    rules = source.instruments["BTCUSDT"]
    lines = ["ts_ms,price,qty,side"]
    for batch in source.batches():
        for e in batch:
            assert isinstance(e, Trade)
            price, quantity = rules.price_text(e.price_ticks), rules.quantity_text(e.quantity_lots)
            lines.append(f"{e.ts_event_ns // 1_000_000},{price},{quantity},{e.side.lower()}")
    path.write_text("\n".join(lines) + "\n")
    return path


def backtest(path: Path, runs: Path) -> RunResult:
    """A backtest over a user's file."""
    from claire.adapters.marketdata import open_source

    settings = load(
        assignments=PARAMETERS, symbols=["BTCUSDT"], strategy="momentum", mode="backtest", environ={}
    ).settings
    return run_market(settings, open_source(path, symbols=["BTCUSDT"]), runs_dir=runs, mode="backtest")


def test_a_recording_that_moved_is_found_with_data_and_one_that_changed_is_refused(tmp_path):
    path = recorded(tmp_path)
    result = backtest(path, tmp_path / "runs")
    assert replay(result.run_dir).identical
    moved = path.rename(tmp_path / "moved.csv")
    with pytest.raises(ReplayError, match=r"is not there any more.*--data FILE"):
        replay(result.run_dir)
    assert replay(result.run_dir, [moved]).identical
    text = moved.read_text()
    moved.write_text(text.replace("buy", "sell", 1))
    with pytest.raises(ReplayError, match="not the recording of this run"):
        replay(result.run_dir, [moved])


RAISING = """
from claire.strategies import Opinion, Strategy

class Raising(Strategy):
    seen = 0

    def on_trade(self, trade):
        self.seen += 1
        if self.seen == 1500:
            raise ZeroDivisionError("no idea")
        return Opinion.ENTER if self.seen % 7 == 0 else Opinion.NO_ENTRY
"""


def test_a_strategy_that_raises_stops_the_run_and_leaves_a_journal_that_replays(tmp_path):
    strategy = tmp_path / "raising.py"
    strategy.write_text(RAISING)
    with pytest.raises(StrategyError, match="ZeroDivisionError: no idea"):
        run(tmp_path / "runs", "take_profit_pct=0.01", "stop_loss_pct=0.01", strategy=str(strategy))
    (run_dir,) = (tmp_path / "runs").iterdir()
    reader = JournalReader(run_dir)
    assert reader.end() is None
    assert sum(1 for _ in reader.decisions()) > 20
    strategy.write_text(RAISING.replace("== 1500", "== -1"))
    again = replay(run_dir)
    assert again.identical
    assert any("recorded by claire" in note for note in again.notes)


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from claire.cli.main import main
sys.argv = ["claire", *sys.argv[2:]]
sys.exit(main())
"""


def test_a_disk_that_fills_up_stops_the_run_and_what_was_written_replays(tmp_path):
    sets = [word for setting in PARAMETERS for word in ("--set", setting)]
    command = ["run", "--source", "synth:seed=5", "--duration", "3h", "--speed", "max", "--runs", str(tmp_path), *sets]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "700000", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") <= 3, done.stderr
    assert "File too large" in done.stderr
    (run_dir,) = tmp_path.iterdir()
    assert replay(run_dir).identical


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.9999])
def test_a_finished_run_that_lost_its_tail_is_refused_and_says_how_much_is_missing(copy, kept):
    segment = copy / "journal/000001.jrn"
    data = segment.read_bytes()
    segment.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(JournalError, match=r"\d+ more were there when the run ended.*Restore"):
        replay(copy)


def test_a_finished_run_that_was_added_to_is_refused(copy):
    with (copy / "journal/000001.jrn").open("ab") as segment:
        segment.write(b"x\n")
    with pytest.raises(JournalError, match="added to afterwards"):
        replay(copy)


def test_a_tail_that_went_with_its_anchor_is_missed_by_the_summary(copy):
    segment = copy / "journal/000001.jrn"
    segment.write_bytes(segment.read_bytes()[:-200])
    (copy / "journal/HEAD.json").unlink()
    with pytest.raises(JournalError, match=r"summary.json says that the run ended in order"):
        replay(copy)


@pytest.mark.parametrize("name", ["config.json", "ledger.sqlite", "summary.json", "journal/HEAD.json"])
def test_a_file_that_is_gone_is_noted(copy, name):
    (copy / name).unlink()
    assert f"{name} is missing from the run" in replay(copy).notes


@pytest.mark.parametrize(
    "edit",
    [
        "update postings set amount = '1' where rowid = 5",
        "delete from postings where rowid = 7",
        "update round_trips set realised_pnl = '999' where rowid = 2",
        "delete from round_trips",
        "update regimes set regime = 'TREND'",
    ],
)
def test_edited_money_in_the_ledger_is_found_and_named(copy, edit):
    with closing(sqlite3.connect(copy / "ledger.sqlite")) as database, database:
        if "regimes" in edit and not database.execute("select count(*) from regimes").fetchone()[0]:
            edit = "delete from postings"
        database.execute(edit)
    with pytest.raises((ReplayError, LedgerError), match=r"postings|round_trips|regimes"):
        replay(copy)


def test_a_ledger_that_was_never_whole_does_not_hide_the_journal(copy):
    segment = copy / "journal/000001.jrn"
    segment.write_bytes(segment.read_bytes()[:-200])
    for name in ("journal/HEAD.json", "summary.json"):
        (copy / name).unlink()
    (copy / "ledger.sqlite").write_bytes(b"")
    result = replay(copy)
    assert result.identical
    assert any("before its ledger was whole" in note for note in result.notes)


STRANGE = """
import decimal
from claire.strategies import Opinion, Strategy

class Strange(Strategy):
    def on_trade(self, trade):
        {before}
        return Opinion.ENTER

    @property
    def strength(self):
        return {strength}

    @property
    def pct_change(self):
        return {pct_change}
"""


def strange(folder: Path, before: str = "", strength: str = "1.0", pct_change: str = "None") -> str:
    """A user's strategy with something odd in it."""
    path = folder / "strange.py"
    path.write_text(STRANGE.format(before=before or "pass", strength=strength, pct_change=pct_change))
    return str(path)


@pytest.mark.parametrize("number", ["decimal.Decimal('0.5')", "__import__('numpy').float64(0.5)", "1"])
def test_whatever_number_a_strategy_gives_is_journalled_as_a_plain_one(tmp_path, number):
    result = run(tmp_path / "runs", strategy=strange(tmp_path, strength=number, pct_change=number))
    assert result.summary.signals
    assert replay(result.run_dir).identical


@pytest.mark.parametrize("name", ["strength", "pct_change"])
@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "'abc'", "True", "[1]"])
def test_what_is_no_finite_number_is_the_strategys_fault(tmp_path, name, value):
    with pytest.raises(StrategyError, match=f"gave the {name} .* must be a finite number"):
        run(tmp_path / "runs", strategy=strange(tmp_path, **{name: value}))


@pytest.mark.parametrize("before", ["raise SystemExit(0)", "import sys; sys.exit()"])
def test_a_strategy_cannot_end_the_program(tmp_path, before):
    with pytest.raises(StrategyError, match="raised SystemExit"):
        run(tmp_path / "runs", strategy=strange(tmp_path, before=before))


def test_a_strategy_that_cannot_be_set_up_is_named(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("from claire.strategies import Strategy\nclass B(Strategy):\n    def __init__(self, *a): 1 / 0\n")
    with pytest.raises(StrategyError, match=r"broken.py\) cannot be set up for BTCUSDT: ZeroDivisionError"):
        run(tmp_path / "runs", strategy=str(path))


def test_what_a_strategy_prints_does_not_mix_with_results(tmp_path, capsys):
    result = run(tmp_path / "runs", strategy=strange(tmp_path, before="print('noise')"))
    replay(result.run_dir)
    heard = capsys.readouterr()
    assert heard.out == ""
    assert heard.err.count("noise") > MARKET.trades
