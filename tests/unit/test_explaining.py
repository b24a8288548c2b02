"""One decision told from the journal: refused or made, and what became of it, with the numbers that the run had."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from claire.adapters.journal.reader import JournalReader
from claire.cli.main import main
from claire.model.decisions import Denial, Fill, Intent, Signal
from claire.model.errors import UsageError
from claire.services.explaining import Explanation, explain

LIVELY = ["lookback_s=5", "threshold_pct=0.05", "take_profit_pct=0.2", "stop_loss_pct=0.2", "risk.max_symbol_pct=6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with fills and denials."""
    folder = tmp_path_factory.mktemp("runs")
    sets = [word for one in LIVELY for word in ("--set", one)]
    words = ["--source", "synth:trades=60000,seed=3,rate=20", "--set", "allocation.mode=full", *sets]
    assert main(["backtest", *words, "--runs", str(folder), "--json"]) == 0
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def decided(run: Path) -> list[Any]:
    return [entry.event for entry in JournalReader(run).decisions()]


def first(decided: list[Any], kind: type) -> Any:
    return next(event for event in decided if isinstance(event, kind))


def what(told: Explanation) -> list[str]:
    return [line.what.partition(" ")[0] for line in told.lines]


def test_an_order_is_told_from_the_signal_to_the_books(run, decided):
    intent = first(decided, Intent)
    told = explain(run, str(intent.order_no))
    kinds = what(told)
    there = ["signal", "reserved", "order", "INTENT", "SENT", "fill", "booked", "FILLED"]
    assert [kind for kind in kinds if kind in there] == there
    fill = next(event for event in decided if isinstance(event, Fill) and event.order_no == intent.order_no)
    text = next(line.numbers for line in told.lines if line.what == "fill")
    assert f"{fill.fee.normalize():f} {fill.fee_asset}" in text
    assert told.verdict.startswith(f"order {intent.order_no} (BUY ")
    assert "ended FILLED" in told.verdict


def test_every_line_of_the_journal_names_its_entry(run, decided):
    told = explain(run, "1")
    entries = {number: entry for number, _, entry in JournalReader(run).walk()}
    for line in told.lines:
        if line.entry:
            assert line.entry in entries
        else:
            assert line.what.startswith(("booked", "lock", "equity"))


@pytest.mark.parametrize("name", ["{}", "o{}", "C"])
def test_an_order_has_several_names(run, decided, name):
    intent = first(decided, Intent)
    word = intent.client_order_id if name == "C" else name.format(intent.order_no)
    assert explain(run, word).verdict == explain(run, f"s{intent.signal_no}").verdict


def test_a_refusal_is_told_with_both_numbers_compared(run, decided):
    denial = first(decided, Denial)
    told = explain(run, f"s{denial.signal_no}")
    assert told.verdict == f"signal {denial.signal_no} was refused: {denial.code}"
    text = next(line.numbers for line in told.lines if line.what == "refused")
    assert f"{denial.value.normalize():f}" in text
    assert denial.because in text
    assert "order" not in what(told)


def test_an_exit_tells_its_round_trip(run, decided):
    sell = next(event for event in decided if isinstance(event, Intent) and event.reduce_only)
    told = explain(run, str(sell.order_no))
    trip = next(line for line in told.lines if line.what == "round trip")
    profit, fees = Decimal(trip.record["realised_pnl"]), Decimal(trip.record["fees"])
    assert f"= {(profit - fees).normalize():f}" in trip.numbers
    assert any("reduces only" in line.numbers for line in told.lines)


@pytest.mark.parametrize("word", ["0", "99999", "s99999", "Cnobody", "x"])
def test_what_is_not_there_is_refused_with_what_is(run, word):
    with pytest.raises(UsageError, match=r"has no (order|signal)"):
        explain(run, word)


def test_the_command_prints_a_table_and_json(run, decided, capsys):
    assert main(["explain", "1", "--runs", str(run.parent)]) == 0
    out = capsys.readouterr().out
    assert "ended FILLED" in out.splitlines()[0]
    assert "position/" in out
    assert main(["explain", "1", "--runs", str(run.parent), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == run.name
    assert told["lines"][-1]["numbers"]
    assert first(decided, Signal).signal_no == 1
