"""What a person sees while a run goes on: a live table on a terminal, a line now and then elsewhere.

It watches as one more recorder of the pipeline, decides nothing, and writes to stderr, so that stdout stays the result's.
"""

import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from claire.cli.output import grouped, money, percent, say, utc
from claire.engine.pipeline import Pipeline
from claire.engine.ports import Input, Recorded
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.decisions import Denial, Fill, Intent, RegimeChanged, RoundTrip, Signal
from claire.model.market import Candle
from claire.model.money import decimal_text

if TYPE_CHECKING:
    from rich.console import RenderableType

FRAME_S = 0.15
"""Between two pictures of the table."""
LINE_S = 5.0
"""Between two lines where there is no terminal."""
LAST = 6
"""Fills shown."""


class Screen:
    """Counts what happens and shows it; the pipeline calls it as a recorder, the run as its progress."""

    def __init__(self, title: str, total: int) -> None:
        """Show `title` above all; `total` is how many market events there will be."""
        self.title = title
        self.total = total
        self.signals = 0
        self.orders = 0
        self.fills = 0
        self.round_trips = 0
        self.denials: Counter[str] = Counter()
        self.last_denial: Denial | None = None
        self.last_fills: deque[Fill] = deque(maxlen=LAST)
        self.regimes: dict[str, str] = {}
        self.every_s = LINE_S
        self._next = 0.0

    # -- as a recorder ---------------------------------------------------------------------------------------------

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Inputs are counted by the pipeline."""

    def decided(self, input_no: int, event: Recorded) -> None:
        """Count one decision."""
        match event:
            case Signal():
                self.signals += 1
            case Intent():
                self.orders += 1
            case Denial():
                self.denials[event.code] += 1
                self.last_denial = event
            case Fill():
                self.fills += 1
                self.last_fills.append(event)
            case RoundTrip():
                self.round_trips += 1
            case RegimeChanged():
                self.regimes[event.symbol] = event.after

    def candle(self, candle: Candle) -> None:
        """Candles are not shown."""

    def postings(self, postings: Sequence[Posting]) -> None:
        """Postings follow from fills, which are."""

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """The account is read from the pipeline when a picture is made."""

    # -- as progress -----------------------------------------------------------------------------------------------

    def __call__(self, pipeline: Pipeline) -> None:
        """Show the state, if the last picture is old enough."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.every_s
            self.show(pipeline)

    def show(self, pipeline: Pipeline) -> None:
        """Say one line."""
        denied = ", ".join(f"{code} {count}" for code, count in self.denials.items())
        books = pipeline.stages.portfolio.state.books
        when = utc(pipeline.now_ns) if pipeline.now_ns else "no trade yet"
        say(
            f"{'  '.join(filter(None, (when, self._done(pipeline), self._prices(pipeline))))}"
            f"  equity {money(decimal_text(books.equity_units), books.currency)} {books.currency}"
            f"  signals {self.signals}  fills {self.fills}  denied {sum(self.denials.values())}"
            + (f" ({denied})" if denied else "")
        )

    def __enter__(self) -> "Screen":
        """Nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    # -- words -----------------------------------------------------------------------------------------------------

    def _done(self, pipeline: Pipeline) -> str:
        return f"{100 * pipeline.market_events / self.total:.0f} %" if self.total else ""

    def _prices(self, pipeline: Pipeline) -> str:
        instruments = pipeline.stages.portfolio.state.books.instruments
        known = [(symbol, mark) for symbol, mark in pipeline.marks.items() if mark.price_ticks]
        return "  ".join(f"{symbol} {instruments[symbol].price(mark.price_ticks):,}" for symbol, mark in known[:3])


class LiveScreen(Screen):
    """The table on a terminal."""

    def __init__(self, title: str, total: int) -> None:
        """Take over stderr until left."""
        from rich.console import Console
        from rich.live import Live

        super().__init__(title, total)
        self.every_s = FRAME_S
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)

    def __enter__(self) -> "LiveScreen":
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was; the summary follows."""
        self._live.stop()

    def show(self, pipeline: Pipeline) -> None:
        """Draw the table."""
        self._live.update(self.picture(pipeline), refresh=True)

    def picture(self, pipeline: Pipeline) -> "RenderableType":
        """The whole screen as it is now."""
        from rich.console import Group
        from rich.markup import escape
        from rich.panel import Panel
        from rich.table import Table

        state = pipeline.stages.portfolio.state
        books = state.books
        currency = books.currency
        equity, start = books.equity_units, state.start_units
        gain = Decimal(100 * (equity - start)) / start if start else Decimal(0)
        colour = "green" if gain >= 0 else "red"

        facts = Table.grid(padding=(0, 2), expand=True)
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(ratio=1)
        when = f"{utc(pipeline.now_ns)} UTC" if pipeline.now_ns else "no trade yet"
        facts.add_row("market time", f"{when}   {self._done(pipeline)}")
        facts.add_row("price", f"{self._prices(pipeline)}   [dim]trades[/] {grouped(pipeline.trades_in)}")
        facts.add_row("regime", "  ".join(f"{symbol} {regime}" for symbol, regime in self.regimes.items()) or "UNKNOWN")
        facts.add_row(
            "equity",
            f"[bold]{money(decimal_text(equity), currency)} {currency}[/]  [{colour}]{percent(gain)}[/]"
            f"   [dim]drawdown[/] {pipeline.stages.portfolio.max_drawdown_pct:.2f} %",
        )
        facts.add_row("position", self._positions(pipeline))
        facts.add_row(
            "signals",
            f"{self.signals}   [dim]orders[/] {self.orders}   [dim]fills[/] {self.fills}"
            f"   [dim]round trips[/] {self.round_trips}",
        )
        parts: list[RenderableType] = [facts]
        if self.denials:
            parts.append(self._denied())
        if self.last_fills:
            parts.append(self._fills(pipeline))
        return Panel(
            Group(*parts),
            title=f"[bold]{escape(self.title)}[/]",
            subtitle="[dim]Ctrl-C ends the run in order[/]",
            width=92,
        )

    def _denied(self) -> "RenderableType":
        from rich.text import Text

        codes = "   ".join(f"{code} {count}" for code, count in self.denials.most_common())
        text = Text(f" DENIED {sum(self.denials.values())}   {codes} ", style="bold white on red")
        if self.last_denial:
            last = self.last_denial
            numbers = f"{last.value.normalize():f} {last.unit}, limit {last.limit.normalize():f}"
            text.append(f"\n last: {last.because} ({numbers})", style="red on default")
        return text

    def _positions(self, pipeline: Pipeline) -> str:
        books = pipeline.stages.portfolio.state.books
        words = []
        for (_, symbol), position in books.positions.items():
            if position.is_flat:
                continue
            instrument = books.instruments[symbol]
            mark = pipeline.marks[symbol].price_ticks
            average = position.bought_value / position.bought_lots
            move = 100 * (mark / average - 1)
            quantity = decimal_text(position.base_units)
            words.append(f"{quantity} {instrument.base} at {instrument.price(round(average)):,}  {percent(move)}")
        return "   ".join(words) or "[dim]none[/]"

    def _fills(self, pipeline: Pipeline) -> "RenderableType":
        from rich.table import Table

        table = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("last fills", "", "symbol"):
            table.add_column(heading)
        for heading in ("quantity", "price", "fee"):
            table.add_column(heading, justify="right")
        instruments = pipeline.stages.portfolio.state.books.instruments
        for fill in reversed(self.last_fills):
            instrument = instruments[fill.symbol]
            table.add_row(
                utc(fill.ts_event_ns)[11:],
                f"[{'green' if fill.side == 'BUY' else 'magenta'}]{fill.side}[/]",
                fill.symbol,
                instrument.quantity_text(fill.quantity_lots),
                f"{instrument.price(fill.price_ticks):,}",
                f"{fill.fee:.6f} {fill.fee_asset}",
            )
        return table


class Bar:
    """A progress bar for what takes longer than two seconds; a line now and then where there is no terminal."""

    AFTER_S = 2.0

    def __init__(self, what: str, total: int) -> None:
        """Count up to `total` market events of `what`."""
        self._what = what
        self._total = max(total, 1)
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._next = self._started + (self.AFTER_S if self._terminal else LINE_S)
        self._shown = False

    def __call__(self, pipeline: Pipeline) -> None:
        """Show how far it is, if it takes long."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.2 if self._terminal else LINE_S)
        share = min(1.0, pipeline.market_events / self._total)
        left = (now - self._started) * (1 / share - 1) if share else 0.0
        words = f"{self._what} {100 * share:3.0f} %  {grouped(pipeline.market_events)} events  {left:.0f} s left"
        if self._terminal:
            filled = round(30 * share)
            print(f"\r\033[K[{'#' * filled}{'.' * (30 - filled)}] {words}", end="", file=sys.stderr, flush=True)
            self._shown = True
        else:
            say(words)

    def __enter__(self) -> "Bar":
        """Start counting."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
