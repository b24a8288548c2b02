"""Small journals for tests: a header, inputs of every kind, decisions of every kind."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from claire.adapters.journal.entries import Header
from claire.adapters.journal.writer import JournalWriter
from claire.engine.ports import Input, Recorded, SourceInfo
from claire.model.decisions import (
    Adopted,
    AllocationDecision,
    Code,
    ControlEvent,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    PositionDusted,
    Regime,
    RegimeChanged,
    Reserved,
    RoundTrip,
    Signal,
    TradingState,
    VenueReport,
)
from claire.model.instrument import Instrument
from claire.model.market import Depth, Side, Timer, TopOfBook, Trade
from claire.model.orders import Evidence, OrderState, OrderType

T0 = 1_700_000_000_000_000_001
"""A moment that a float cannot hold."""

INSTRUMENTS = {
    "PEPEUSDT": Instrument.checked("PEPEUSDT", Decimal("0.00000001"), Decimal(1)),
    "BTCUSDT": Instrument.checked("BTCUSDT", Decimal("0.01"), Decimal("0.00001"), min_notional=Decimal(5)),
}


def header(**changes: Any) -> Header:
    """A header as a paper run writes it."""
    values: dict[str, Any] = {
        "run_id": "20231114-2213-abc",
        "mode": "paper",
        "code": "0.1.0+deadbeef",
        "config_json": '{"config_version":1}',
        "source": SourceInfo("recorded", ("PEPEUSDT", "BTCUSDT"), 6, T0, T0 + 5, sha256="ab" * 32, path="day.zip"),
        "instruments": INSTRUMENTS,
        "created_at": "2023-11-14T22:13:20Z",
    }
    return Header.of(**values | changes)


def inputs() -> list[Input]:
    """Eight inputs, one or more of every kind."""
    return [
        Trade("PEPEUSDT", T0, 120, 5000, Side.BUY, None, "t1"),
        Trade("BTCUSDT", T0 + 1, 3_700_000, 12, Side.SELL, -0.25, "t2", T0 + 7),
        TopOfBook("BTCUSDT", T0 + 2, 3_699_999, 5, 3_700_001, 6),
        Depth("BTCUSDT", T0 + 3, ((3_699_999, 5), (3_699_990, 0)), ((3_700_001, 6),), snapshot=True),
        Timer(T0 + 4, "candles"),
        VenueReport(1, T0 + 4, Evidence.ACKNOWLEDGED, venue_order_id="PAPER-1"),
        VenueReport(1, T0 + 5, None, "PAPER-T-1", 120, 5000, Decimal("0.000003"), "USDT", Decimal("0.000003")),
        Trade("PEPEUSDT", T0 + 6, 121, 1, Side.SELL),
    ]


def decisions() -> list[Recorded]:
    """One story: an entry that fills, an exit that is denied, and everything that follows from them."""
    order = ("momentum", "PEPEUSDT", Side.BUY)
    return [
        RegimeChanged("PEPEUSDT", Regime.UNKNOWN, Regime.TREND, 30.1, 0.7, T0),
        AllocationDecision("PEPEUSDT", Decimal("0.50"), "TREND", T0),
        Signal(1, *order, T0, 120, "entry", 0.75, 3.1),
        Intent(1, 1, "paper", "paper", *order, OrderType.MARKET, 5000, 0, T0 + 60, False, "c-1", T0, 120),
        OrderEvent(1, *order, OrderState.SENT, 5000, 0, False, T0, client_order_id="c-1"),
        OrderEvent(1, *order, OrderState.OPEN, 5000, 0, False, T0 + 4, venue_order_id="PAPER-1"),
        Fill(1, *order, 120, 4000, Decimal("0.000003"), "USDT", Decimal("0.000003"), False, False, T0 + 5, "PAPER-T-1"),
        Fill(1, *order, 121, 1000, Decimal("0.000001"), "USDT", Decimal("0.000001"), False, False, T0 + 5, "PAPER-T-2"),
        OrderEvent(1, *order, OrderState.FILLED, 5000, 5000, False, T0 + 5, venue_order_id="PAPER-1"),
        Signal(2, "momentum", "PEPEUSDT", Side.SELL, T0 + 6, 121, "stop_loss"),
        Denial(2, "momentum", "PEPEUSDT", Side.SELL, Code.STALE_PRICE, T0 + 6, Decimal("1500.5"), Decimal(1000), "ms", "old"),
        PositionDusted("momentum", "PEPEUSDT", Decimal("0.5"), T0 + 6, 121),
        RoundTrip("momentum", "PEPEUSDT", T0 + 5, T0 + 6, 5000, 5000, Decimal("1.2E-6"), Decimal("1.21E-6"),
                  Decimal("-1E-18"), Decimal("4E-6"), "stop_loss", T0 + 6),
        ControlEvent(TradingState.REDUCE_ONLY, "lunch", "ada", T0 + 7),
        Adopted("gone", "momentum", "PEPEUSDT", Decimal("12.5"), "ada", "renamed", T0 + 7),
        Reserved(2, *order, "USDT", Decimal("1.25"), Decimal("1.2"), 1000, T0 + 8),
    ]  # fmt: skip


def write_story(writer: JournalWriter) -> None:
    """Write the eight inputs and all decisions, a few at a time."""
    for number, event in enumerate(inputs(), 1):
        writer.inputs(number, (event,))
    for number, decided in enumerate(decisions()):
        writer.decided(min(8, number + 1), decided)
    writer.note("operator", "paused for lunch")


def written(run_dir: Path, *, segment_bytes: int = 32 << 20, finished: bool = True) -> Path:
    """Write a small journal and return its folder."""
    writer = JournalWriter(run_dir, header(), segment_bytes=segment_bytes)
    write_story(writer)
    if finished:
        writer.finish('{"trades_in":2}', "d1:" + "0" * 64)
    writer.close()
    return run_dir / "journal"
