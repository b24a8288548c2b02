"""A venue that does with orders what a test tells it to: acknowledge, fill in parts, refuse, cancel, repeat itself, be late."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from heapq import heappop, heappush

from claire.engine.pipeline import NEVER
from claire.model.decisions import Cancel, Intent, Submit, VenueReport
from claire.model.instrument import Instrument
from claire.model.market import MarketEvent, Side
from claire.model.money import decimal_of, round_units
from claire.model.orders import Evidence

Step = tuple[str, int, int]
"""(what, delay in ns, hundredths of what is left)."""


class ChaosVenue:
    """Follows one plan per order, then fills whole orders at once; never fills worse than `slippage_ticks`."""

    def __init__(
        self, instruments: dict[str, Instrument], plans: Iterator[Sequence[Step]], slippage_ticks: int, fee_bps: int
    ) -> None:
        self.instruments = instruments
        self.plans = plans
        self.slippage_ticks = slippage_ticks
        self.fee_bps = fee_bps
        self.outbox: list[tuple[int, int, VenueReport]] = []
        self.made = 0

    def submit(self, command: Submit, now_ns: int) -> None:
        intent = command.intent
        left, heard, due = intent.quantity_lots, False, now_ns
        for what, delay_ns, hundredths in (*next(self.plans, ()), ("fill", 0, 100)):
            due += delay_ns
            if what == "acknowledge":
                self._say(VenueReport(intent.order_no, due, Evidence.ACKNOWLEDGED))
                heard = True
            elif what == "fill":
                lots = min(left, max(1, left * hundredths // 100))
                left -= lots
                report = self._execution(intent, lots, hundredths, due)
                self._say(report)
                if hundredths % 3 == 0:  # said twice
                    self._say(VenueReport(**{f: getattr(report, f) for f in report.__struct_fields__}))
                heard = True
            elif what == "reject" and not heard:
                self._say(VenueReport(intent.order_no, due, Evidence.REJECTED, code="30004", reason="no"))
                return
            elif what == "cancel":
                self._say(VenueReport(intent.order_no, due, Evidence.CANCELED))
                return
            if not left:
                return

    def cancel(self, command: Cancel, now_ns: int) -> None:
        self._say(VenueReport(command.order_no, now_ns, Evidence.CANCEL_REFUSED))

    def before(self, ts_event_ns: int) -> None:
        """Its fills do not come from the market."""

    def after(self, event: MarketEvent) -> None:
        """Its fills do not come from the market."""

    @property
    def next_due_ns(self) -> int:
        return self.outbox[0][0] if self.outbox else NEVER

    def due(self, now_ns: int) -> list[VenueReport]:
        found = []
        while self.outbox and self.outbox[0][0] <= now_ns:
            found.append(heappop(self.outbox)[2])
        return found

    @property
    def is_idle(self) -> bool:
        return not self.outbox

    def _say(self, report: VenueReport) -> None:
        self.made += 1
        heappush(self.outbox, (report.ts_event_ns, self.made, report))

    def _execution(self, intent: Intent, lots: int, hundredths: int, due: int) -> VenueReport:
        self.made += 1
        instrument = self.instruments[intent.symbol]
        better = hundredths % (self.slippage_ticks + 2)
        if intent.side is Side.BUY:
            ticks = max(1, intent.price_ticks + self.slippage_ticks - better)
        else:
            ticks = max(1, intent.price_ticks - self.slippage_ticks + better)
        in_base = intent.side is Side.BUY and hundredths % 2 == 1
        if in_base:
            fee = round_units(lots * instrument.lot_units * self.fee_bps // 10_000, instrument.base_decimals)
            value = instrument.value_of(fee, ticks)
        else:
            fee = value = instrument.notional(ticks, lots) * self.fee_bps // 10_000
        return VenueReport(
            intent.order_no,
            due,
            trade_id=f"T{self.made}",
            price_ticks=ticks,
            quantity_lots=lots,
            fee=decimal_of(fee) if fee else Decimal(0),
            fee_asset=instrument.base if in_base else instrument.quote,
            fee_value=decimal_of(value),
        )
