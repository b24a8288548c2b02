"""One decision, from the strategy's wish to the books: why a signal was refused or an order made, and what became of it.

Everything is read from the run's journal, whose chain is verified on the way, and the postings from its ledger; a run may be
asked while it runs. Each line names the journal entry that it rests on.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from claire.adapters.config import parameters, restore
from claire.adapters.config.schema import Settings
from claire.adapters.journal.entries import Commanded, Decided, Entry, Gated, Header, Report, Resumed
from claire.adapters.journal.reader import JournalReader
from claire.adapters.store import tables
from claire.adapters.store.database import read_ledger
from claire.gateway.gate import CODES as GATE_CODES
from claire.model.decisions import (
    CODE_MEANING,
    AllocationDecision,
    Asked,
    ControlEvent,
    Denial,
    Fill,
    Intent,
    OrderEvent,
    RegimeChanged,
    Reserved,
    RoundTrip,
    Signal,
    TradingState,
    VenueReport,
)
from claire.model.errors import ConfigError, UsageError, did_you_mean
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.money import plain_text
from claire.model.orders import TERMINAL
from claire.services.keeping import LEDGER

EVERY: Final = 65_536
"""Journal entries between two signs of progress."""


class Line(Struct, frozen=True):
    """One thing that happened."""

    ts_ns: int
    """Market time; 0: it is no moment."""
    what: str
    numbers: str
    entry: int = 0
    """Of the journal; 0: it rests on another record, which `what` names."""
    record: dict[str, Any] = {}
    """The entry itself."""


class Explanation(Struct, frozen=True):
    """A decision and what became of it."""

    run: str
    asked: str
    verdict: str
    """In a sentence."""
    lines: list[Line]
    cut_off: str = ""
    """What of the journal is missing; empty: nothing."""


class Wanted(Struct):
    """Which decision is meant: a signal or an order, by its ordinal."""

    signal_no: int = 0
    order_no: int = 0


def explain(run_dir: Path, word: str, on_progress: Callable[[int], None] | None = None) -> Explanation:
    """Tell the story of one signal or order.

    Args:
        run_dir: The run directory.
        word: ``7`` or ``o7`` (order 7), ``s12`` (signal 12), a client order id, or the venue's order id.
        on_progress: Called now and then with the number of journal entries read.

    Raises:
        UsageError: the run has no such order or signal.
        JournalError: the journal was altered.
        LedgerError: the ledger cannot be read.
    """
    wanted = _wanted(run_dir, word)
    reader = JournalReader(run_dir)
    story = _Story(wanted)
    for number, _, entry in reader.walk():
        story.take(number, entry)
        if on_progress is not None and not number % EVERY:
            on_progress(number)
    if story.is_empty:
        there = f"it has {story.signals} signals (s1 …) and {story.orders} orders (1 …)"
        raise UsageError(f"run {run_dir.name} has no {_named(wanted)}; {there}")
    lines = story.told()
    if wanted.order_no and (run_dir / LEDGER).exists():
        lines = _with_books(run_dir, wanted.order_no, lines)
    return Explanation(run_dir.resolve().name, word, story.verdict, lines, str(reader.truncated or ""))


def _wanted(run_dir: Path, word: str) -> Wanted:
    kind, number = word[:1].lower(), word[1:]
    if word.isdigit():
        return Wanted(order_no=int(word))
    if kind in ("s", "o") and number.isdigit():
        return Wanted(signal_no=int(number)) if kind == "s" else Wanted(order_no=int(number))
    orders, run = tables.orders.c, run_dir.resolve().name
    with read_ledger(run_dir / LEDGER) as connection:
        query = sa.select(orders.order_no, orders.client_order_id, orders.order_id).where(orders.run_id == run)
        known = list(connection.execute(query))
    for order_no, client_order_id, order_id in known:
        if word in (client_order_id, order_id):
            return Wanted(order_no=order_no)
    names = [name for _, *both in known for name in both if name]
    raise UsageError(
        f"run {run} has no order {word}.{did_you_mean(word, names)} Give the number of an order (7), of a signal (s12), a"
        " client order id, or the venue's"
    )


def _named(wanted: Wanted) -> str:
    return f"order {wanted.order_no}" if wanted.order_no else f"signal {wanted.signal_no}"


class _Story:
    """What belongs to one decision, picked out of a journal in one passing."""

    def __init__(self, wanted: Wanted) -> None:
        self.signals = 0
        self.orders = 0
        self._wanted = wanted
        self._settings: Settings | None = None
        self._instruments: dict[str, Instrument] = {}
        self._before: dict[str, Line] = {}
        """What was in force when the signal came, by what it is about."""
        self._locks: dict[str, ControlEvent] = {}
        self._pending: dict[int, tuple[int, Signal]] = {}
        self._reserved: tuple[int, Reserved] | None = None
        self._asked: dict[str, tuple[int, Asked]] = {}
        self._context: list[Line] = []
        self._lines: list[Line] = []
        self._signal: Signal | None = None
        self._denial: Denial | None = None
        self._last: OrderEvent | None = None
        self._fills: list[Fill] = []
        self._ended = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it was found."""
        return self._signal is None

    def told(self) -> list[Line]:
        """Return the lines, in the order in which it happened; first what was in force."""
        return [*self._context, *self._lines]

    def take(self, number: int, entry: Entry) -> None:
        """Look at one entry."""
        if isinstance(entry, Header):
            self._instruments = entry.instruments
            self._settings = restore(entry.config_json).settings
        elif isinstance(entry, Resumed) and entry.settings_json:
            self._settings = restore(entry.settings_json).settings
        elif isinstance(entry, Decided):
            self._decided(number, entry.event)
        elif isinstance(entry, Commanded):
            self._commanded(number, entry.event)
        elif isinstance(entry, Gated) and self._is_ours(entry.order_no):
            meaning = GATE_CODES.get(entry.verdict, "")
            self._add(number, entry.ts_ms * 1_000_000, "gate", f"{entry.verdict} {meaning}".strip(), entry)
        elif isinstance(entry, Report) and self._is_ours(entry.report.order_no):
            self._reported(number, entry.report)

    def _decided(self, number: int, event: Any) -> None:
        if isinstance(event, Signal):
            self.signals += 1
            self._pending[event.signal_no] = (number, event)
            if event.signal_no == self._wanted.signal_no:
                self._begin(event.signal_no)
        elif isinstance(event, Denial):
            self._denied(number, event)
        elif isinstance(event, Reserved):
            self._reserved = (number, event)
        elif isinstance(event, Intent):
            self._approved(number, event)
        elif isinstance(event, OrderEvent | Fill):
            if self._is_ours(event.order_no):
                self._became(number, event)
        elif isinstance(event, RoundTrip):
            self._round_trip(number, event)
        else:
            self._note(number, event)

    def _note(self, number: int, event: Any) -> None:
        """Remember what is in force for the signals to come."""
        if isinstance(event, ControlEvent):
            if event.state is TradingState.ACTIVE:
                self._locks.pop(event.operator, None)
            else:
                self._locks[event.operator] = event
        elif isinstance(event, AllocationDecision):
            text = f"{plain_text(event.fraction)} of the ordinary size ({event.reason})"
            self._before[f"allocation {event.symbol}"] = _line(number, event.ts_event_ns, "allocation", text, event)
        elif isinstance(event, RegimeChanged):
            text = f"{event.after} (ADX {event.adx:.1f}, ATR {event.atr_pct:.3f} %)"
            self._before[f"regime {event.symbol}"] = _line(number, event.ts_event_ns, "regime", text, event)

    def _commanded(self, number: int, event: Asked) -> None:
        self._asked[event.symbol] = (number, event)
        if event.order_no and self._is_ours(event.order_no):
            text = f"by {event.operator}: {event.reason}".rstrip(": ")
            self._add(number, event.ts_event_ns, "cancel asked", text, event)

    def _begin(self, signal_no: int) -> None:
        """Take a signal, with what was in force when it came."""
        number, signal = self._pending.pop(signal_no)
        self._signal = signal
        for about in ("regime", "allocation"):
            if f"{about} {signal.symbol}" in self._before and signal.side is Side.BUY:
                self._context.append(self._before[f"{about} {signal.symbol}"])
        for source, lock in self._locks.items():
            self._context.append(_line(0, lock.ts_event_ns, "lock", f"{lock.state} by {source}: {lock.reason}", lock))
        if signal.reason == "operator" and signal.symbol in self._asked:
            at, asked = self._asked[signal.symbol]
            text = f"{asked.symbol} by {asked.operator}: {asked.reason}".rstrip(": ")
            self._add(at, asked.ts_event_ns, "close asked", text, asked)
        price = self._price(signal.symbol, signal.price_ticks)
        parts = [f"{signal.side} {signal.symbol} at {price}, because: {signal.reason}"]
        if signal.pct_change is not None:
            parts.append(f"change {signal.pct_change:+.4f} %")
        if signal.side is Side.BUY:
            parts.append(f"strength {signal.strength:g}")
        parts.append(self._parameters(signal.strategy_id))
        self._add(number, signal.ts_event_ns, f"signal {signal_no}", "; ".join(filter(None, parts)), signal)

    def _denied(self, number: int, event: Denial) -> None:
        self._pending.pop(event.signal_no, None)
        if self._signal is None or event.signal_no != self._signal.signal_no:
            return
        self._denial = event
        found, limit = plain_text(event.value), plain_text(event.limit)
        text = f"{event.code}: {found} compared with {limit} {event.unit}: {event.because}. {CODE_MEANING[event.code]}"
        self._add(number, event.ts_event_ns, "refused", text, event)

    def _approved(self, number: int, event: Intent) -> None:
        self.orders += 1
        if not self._is_ours(event.order_no) and (
            self._signal is None or event.signal_no != self._signal.signal_no or self._wanted.order_no
        ):
            self._pending.pop(event.signal_no, None)
            return
        self._wanted.order_no = event.order_no
        if self._signal is None:
            self._begin(event.signal_no)
        if self._reserved is not None and self._reserved[1].order_no == event.order_no:
            at, reserved = self._reserved
            cash, exposure = plain_text(reserved.cash), plain_text(reserved.exposure)
            text = f"{cash} {reserved.cash_asset} of cash, {exposure} {reserved.cash_asset} of exposure, until it has ended"
            self._add(at, reserved.ts_event_ns, "reserved", text, reserved)
        price = self._price(event.symbol, event.limit_ticks) if event.limit_ticks else "the market's price"
        value = self._value(event.symbol, event.quantity_lots, event.price_ticks)
        kind = (
            f"{event.type} {event.side} {self._quantity(event.symbol, event.quantity_lots)} {event.symbol} at {price}"
        )
        parts = [kind, f"worth {value} at its decision price", f"client order id {event.client_order_id}"]
        if event.reduce_only:
            parts.append("reduces only")
        elif self._settings is not None:
            parts.append(
                f"size: risk.position_pct {plain_text(self._settings.risk.position_pct)} % of equity × allocation, in whole lots"
            )
        self._add(number, event.ts_event_ns, f"order {event.order_no}", "; ".join(parts), event)

    def _became(self, number: int, event: OrderEvent | Fill) -> None:
        if isinstance(event, Fill):
            self._fills.append(event)
            price, quantity = (
                self._price(event.symbol, event.price_ticks),
                self._quantity(event.symbol, event.quantity_lots),
            )
            fee = f"fee {plain_text(event.fee)} {event.fee_asset}, {'maker' if event.is_maker else 'taker'}"
            name = f", trade {event.trade_id}" if event.trade_id else ""
            self._add(number, event.ts_event_ns, "fill", f"{quantity} at {price}, {fee}{name}", event)
            return
        self._last = event
        filled = self._quantity(event.symbol, event.filled_lots)
        text = f"{filled} of {self._quantity(event.symbol, event.quantity_lots)} filled"
        for extra in (event.code, event.reason, event.venue_order_id and f"venue id {event.venue_order_id}"):
            text += f"; {extra}" if extra else ""
        self._add(number, event.ts_event_ns, str(event.state), text, event)

    def _reported(self, number: int, report: VenueReport) -> None:
        said = report.evidence.value if report.evidence is not None else f"execution {report.trade_id}"
        because = " ".join(filter(None, (report.code, report.reason)))
        self._add(number, report.ts_event_ns, "venue says", f"{said} {because}".strip(), report)

    def _round_trip(self, number: int, event: RoundTrip) -> None:
        signal = self._signal
        if self._ended or signal is None or (signal.strategy_id, signal.symbol) != (event.strategy_id, event.symbol):
            return
        if not self._fills:
            return
        self._ended = True
        entry, leave = plain_text(event.entry_price), plain_text(event.exit_price)
        net = plain_text(event.realised_pnl - event.fees)
        text = (
            f"in at {entry}, out at {leave} ({event.reason}): profit {plain_text(event.realised_pnl)}"
            f" − fees {plain_text(event.fees)} = {net}"
        )
        self._add(number, event.ts_event_ns, "round trip", text, event)

    @property
    def verdict(self) -> str:
        """Say in a sentence how it ended."""
        signal = self._signal
        if signal is None:
            return ""
        if self._denial is not None:
            return f"signal {signal.signal_no} was refused: {self._denial.code}"
        last = self._last
        if last is None:
            return f"signal {signal.signal_no} was not answered before the journal ends"
        of = self._quantity(last.symbol, last.quantity_lots)
        name = f"order {last.order_no} ({last.side} {of} {last.symbol})"
        if last.state not in TERMINAL:
            return f"{name} is {last.state}; it has not ended"
        lots = sum(fill.quantity_lots for fill in self._fills)
        if not lots:
            return f"{name} ended {last.state}; nothing was filled"
        ticks = Decimal(sum(fill.price_ticks * fill.quantity_lots for fill in self._fills))
        instrument = self._instruments[last.symbol]
        average = plain_text(round(ticks / lots * instrument.tick, 12).normalize())
        fees: dict[str, Decimal] = {}
        for fill in self._fills:
            fees[fill.fee_asset] = fees.get(fill.fee_asset, Decimal(0)) + fill.fee
        paid = ", ".join(f"{plain_text(fee)} {asset}" for asset, fee in fees.items() if fee) or "none"
        return f"{name} ended {last.state}: {self._quantity(last.symbol, lots)} at {average} on average; fees: {paid}"

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _is_ours(self, order_no: int) -> bool:
        return order_no == self._wanted.order_no != 0

    def _add(self, number: int, ts_ns: int, what: str, numbers: str, record: Any) -> None:
        self._lines.append(_line(number, ts_ns, what, numbers, record))

    def _price(self, symbol: str, ticks: int) -> str:
        return plain_text(self._instruments[symbol].price(ticks))

    def _quantity(self, symbol: str, lots: int) -> str:
        instrument = self._instruments[symbol]
        return f"{plain_text(instrument.quantity(lots))} {instrument.base}"

    def _value(self, symbol: str, lots: int, ticks: int) -> str:
        instrument = self._instruments[symbol]
        return f"{plain_text(instrument.price(ticks) * instrument.quantity(lots))} {instrument.quote}"

    def _parameters(self, strategy_id: str) -> str:
        if self._settings is None:
            return ""
        try:
            found = parameters(self._settings, strategy_id)
        except (ConfigError, KeyError):
            return ""  # the run went on without that strategy; its positions are only left
        return "with " + ", ".join(f"{name}={value}" for name, value in found.items()) if found else ""


def _line(number: int, ts_ns: int, what: str, numbers: str, record: Any) -> Line:
    fields = {"kind": type(record).__name__.lower(), **msgspec.structs.asdict(record)}
    return Line(ts_ns, what, numbers, number, msgspec.to_builtins(fields, str_keys=True))


def _with_books(run_dir: Path, order_no: int, lines: list[Line]) -> list[Line]:
    """Put what the books say into the story: the equity that was known before, and behind each fill how it was booked."""
    run, postings, looks = run_dir.resolve().name, tables.postings.c, tables.portfolio_snapshots.c
    began_ns = next(line.ts_ns for line in lines if line.what.startswith(("signal", "order")))
    with read_ledger(run_dir / LEDGER) as connection:
        booked = connection.execute(
            sa.select(tables.postings)
            .where(postings.run_id == run, postings.cause.like(f"order {order_no} fill%"))
            .order_by(postings.transaction_no, postings.line_no)
        ).mappings()
        transactions: dict[str, list[Any]] = {}
        for row in booked:
            transactions.setdefault(row["cause"], []).append(row)
        look = (
            connection.execute(
                sa.select(tables.portfolio_snapshots)
                .where(looks.run_id == run, looks.ts_event_ns <= began_ns)
                .order_by(looks.ts_event_ns.desc())
                .limit(1)
            )
            .mappings()
            .first()
        )
    told = []
    if look is not None:
        text = f"{plain_text(look['equity'])} at the last look before, {plain_text(look['cash'])} of it cash"
        told.append(Line(look["ts_event_ns"], "equity", text, 0, {"equity": plain_text(look["equity"])}))
    for line in lines:
        told.append(line)
        if line.what == "fill":
            cause = f"order {order_no} fill {line.record['trade_id']}".rstrip()
            found = transactions.pop(cause, [])
            told += [_booked(cause, found)] if found else []
    return told + [_booked(cause, found) for cause, found in transactions.items()]


def _booked(cause: str, rows: list[Any]) -> Line:
    moves = [
        f"{row['book']} {'+' if row['amount'] > 0 else ''}{plain_text(row['amount'])} {row['asset']}" for row in rows
    ]
    number = rows[0]["transaction_no"]
    return Line(
        rows[0]["ts_event_ns"], f"booked ({number})", ", ".join(moves), 0, {"transaction_no": number, "cause": cause}
    )
