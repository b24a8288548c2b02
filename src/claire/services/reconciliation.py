"""Continuous reconciliation: asks the venue for open orders, executions and balances, and compares them with what is on record.

A difference takes entries off at once and halts when it stays; it is never traded away, and nothing is booked because of it. An
execution that is missing here is fetched by the ordinary look for its order, and so becomes an ordinary report of the venue.
What is compared, and what follows, is engine/reconcile.py; here is when, and with what.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final, Protocol

from msgspec import Struct

from claire.adapters.venues.mexc.pushes import BalancePush
from claire.adapters.venues.mexc.replies import OrderInfo, OwnTrade
from claire.adapters.venues.mexc.restored import RECONCILIATION
from claire.engine.externals import (
    ExternalMove,
    Externals,
    move_of_transfer,
    moves_of_fill,
    opening_moves,
    outside_moves,
)
from claire.engine.reconcile import (
    IN_DOUBT,
    RESTING,
    YOUNG_MS,
    Check,
    Difference,
    Found,
    Mismatch,
    Names,
    Seen,
    TheirFill,
    Verdict,
    compare_balances,
    compare_fills,
    compare_orders,
    holdings,
)
from claire.model.decisions import TradingState
from claire.model.errors import ClaireError
from claire.model.instrument import Instrument
from claire.services.ownrecord import OwnRecord
from claire.services.theirs import exact_units, their_fill, their_order

SOURCE: Final = RECONCILIATION
"""Who locks, in `ControlEvent.operator`."""
MS: Final = 1_000_000
NOTED: Final = 10_000
"""Things that are said once, and remembered for that."""
OVERLAP_MS: Final = 60_000
"""How far before the last complete look executions are asked for again: the venue may list one late."""
ACTIVE_MS: Final = 600_000
"""A symbol's executions are asked for at every turn for so long after the last change of an order in it."""
MOST_GUESSED: Final = 20
"""Symbols whose executions are asked for at most to explain a balance, beyond those that something points at."""
QUIET_MS: Final = 1_000
"""An order that changed less than this ago may still be moving its assets."""
MOST_BUSY_TURNS: Final = 10
"""Looks in a row that met orders on their way, after which balances are judged all the same."""
BUSY_AGAIN_S: Final = 3.0
"""When balances are looked at again that orders were just moving."""
LOOKED_FOR: Final = (Difference.FILL_NOT_BOOKED, Difference.ORDER_NOT_OPEN_THERE, Difference.ORDER_OPEN_THERE)
"""Differences that the look at their order resolves where only a push was lost. They lock at once and halt when they stay,
whatever they are worth: nearly every order is worth more than the percent that would halt."""
LOOKED_AGAIN_S: Final = 3.0
"""When it is compared again whether that look brought home what was missing."""
BLIND_AFTER: Final = 3
"""Turns in a row that failed after which entries stop: what cannot be compared is not known."""
FEE_ASSETS: Final = ("MX",)
"""Third assets that the venue may take fees in."""


_Key = tuple[Difference, str, int]
"""A difference, what it is about, and by how much the sides differ: what has to stay equal for it to be the same one."""


class Pace(Struct, frozen=True):
    """How often each comparison has its turn, in seconds."""

    open_orders_s: float = 10.0
    fills_s: float = 15.0
    balances_s: float = 30.0

    def of(self, check: Check) -> float:
        """Return the time between two turns."""
        return {Check.ORDERS: self.open_orders_s, Check.FILLS: self.fills_s, Check.BALANCES: self.balances_s}[check]


class VenueView(Protocol):
    """What the venue says, without a word of ours."""

    async def open_orders(self) -> Sequence[OrderInfo]:
        """List every open order of the account."""

    async def fills_since(self, symbol: str, start_ms: int) -> Sequence[OwnTrade]:
        """List every execution of the account in a symbol since a moment of the venue's clock."""

    async def balances(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        """Return free and locked by asset."""


class Counters(Struct):
    """What reconciliation did."""

    looks: dict[Check, int] = {}
    failed: dict[Check, int] = {}
    differences_total: int = 0
    """Comparisons that found one."""
    external_moves_total: int = 0
    compared_ms: dict[Check, int] = {}
    """When each comparison was last complete, by the venue's clock."""


class Reconciliation:
    """Compares, and locks. One for each account that a process trades."""

    def __init__(
        self,
        record: OwnRecord,
        view: VenueView,
        *,
        symbols: Sequence[str],
        prefix: str,
        now_ms: Callable[[], int],
        on_lock: Callable[[str, TradingState, str], None],
        on_external: Callable[[ExternalMove], None],
        on_note: Callable[[str], None],
        look: Callable[[int], None],
        externals: Externals | None = None,
        since_ms: int = 0,
        pace: Pace | None = None,
        halted: str = "",
        locked: bool = False,
    ) -> None:
        """Prepare; `settle` compares once, `run` goes on comparing.

        Args:
            record: Our side; attached to the pipeline, and one of its recorders.
            view: Their side.
            symbols: What this run trades.
            prefix: What this run's client order ids begin with.
            now_ms: The venue's clock.
            on_lock: Called with source, state and reason when what may be sent changes.
            on_external: Called with every move of what is external, before it counts; has to keep it durably.
            on_note: Called with what a person should know.
            look: Called with an order's number: its ordinary look by REST is wanted.
            externals: What earlier processes of this run kept; None or empty: the first start.
            since_ms: From when on executions are looked through first, by the venue's clock; after a restart: some time before
                the end of the process before. 0: now.
            pace: How often.
            halted: Why an earlier process of this run halted, where no operator has released that yet.
            locked: An earlier process of this run left a lock of reconciliation behind.
        """
        self.verdict = Verdict()
        self.counters = Counters()
        self.externals = externals or Externals()
        self._record = record
        self._view = view
        self._symbols = tuple(symbols)
        self._prefix = prefix
        self._now_ms = now_ms
        self._on_lock = on_lock
        self._on_external = on_external
        self._on_note = on_note
        self._look = look
        self._pace = pace or Pace()
        self._start_ms = since_ms or now_ms()
        self._busy_turns = 0
        self._read_ms: dict[str, int] = {}
        self._asked: dict[str, None] = {}
        self._turn = 0
        self._first_seen: dict[Check, dict[_Key, int]] = {}
        self._outside: dict[str, tuple[int, int]] = {}
        self._noted: dict[str, None] = {}
        self._due: dict[Check, float] = {}
        self._regular: dict[Check, float] = {}
        self._hurried = asyncio.Event()
        self._said = TradingState.REDUCE_ONLY if locked else TradingState.ACTIVE
        if halted:
            self.verdict.halted, self._said = halted, TradingState.HALTED

    # -- what it hears ---------------------------------------------------------------------------------------------------

    def balance_changed(self, push: BalancePush) -> None:
        """Take what the private stream says about a balance: deposits, withdrawals and the like become external.

        What was there when the baseline was taken is in it.
        """
        if not self._is_opened or push.ts_event_ns <= self.externals.opened_ns:
            return
        change = push.available_change + push.frozen_change
        evidence = f"{push.ts_event_ns} {push.available} {push.frozen}"
        move = move_of_transfer(push.asset, push.cause, exact_units(change), evidence, push.ts_event_ns)
        if move is not None:
            self._take((move,))

    def foreign_seen(self, symbol: str) -> None:
        """Take the hint that somebody else traded a symbol on this account: its executions are looked through next."""
        self._ask(symbol)

    def declare(self, move: ExternalMove) -> None:
        """Take an operator's word that coins came or went which are not Claire's (`adjusting.external_of`).

        Before the first baseline nothing is to be said: it will have them.
        """
        if self._is_opened:
            self._take((move,))

    def release(self, operator: str, reason: str) -> None:
        """Take back a halt; what still differs keeps entries off.

        Args:
            operator: Who says so.
            reason: Why.
        """
        self.verdict.release()
        self._on_note(f"{operator} released the halt of reconciliation: {reason}")
        self._tell(f"released by {operator}: {reason}")

    # -- what it does ----------------------------------------------------------------------------------------------------

    async def settle(self, timeout_s: float) -> list[Mismatch]:
        """Compare everything until what differs is old enough to count; return what does.

        For the start, before anything is sent: with no order on its way. At an account's first start it takes the baseline.

        Raises:
            ClaireError: the venue did not say, or orders did not come to rest in time.
        """
        end_s = asyncio.get_running_loop().time() + timeout_s
        todo = dict.fromkeys(Check)
        found: dict[Check, list[Mismatch]] = {}
        because = ""
        while todo:
            wait_s = BUSY_AGAIN_S
            try:
                if not self._is_opened:
                    await self._take_baseline()
                for check in tuple(todo):
                    found[check], again_s = await self._compare(check, is_regular=True)
                    if again_s is None or found[check]:
                        del todo[check]
                    else:
                        wait_s = min(wait_s, again_s)
                because = "what differs was too young to count, or orders kept moving"
            except ClaireError as error:
                because = str(error)
            if todo and asyncio.get_running_loop().time() + wait_s > end_s:
                raise ClaireError(
                    f"the venue and the books could not be compared within {timeout_s:g} s ({', '.join(todo)}): {because}."
                    " See that the venue answers and that nothing else trades on this account, and start again"
                )
            if todo:
                await asyncio.sleep(wait_s)
        return [mismatch for each in found.values() for mismatch in each]

    async def run(self) -> None:
        """Compare, each at its pace, until cancelled."""
        loop = asyncio.get_running_loop()
        self._due = {check: loop.time() + self._pace.of(check) for check in Check}
        self._regular = dict(self._due)
        while True:
            check = min(self._due, key=lambda each: self._due[each])
            wait_s = self._due[check] - loop.time()
            if wait_s > 0:
                self._hurried.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._hurried.wait()
                continue
            await self._take_turn(check, loop.time())

    async def _take_turn(self, check: Check, now_s: float) -> None:
        is_regular = now_s >= self._regular[check]
        if is_regular:
            self._regular[check] = now_s + self._pace.of(check)
        self._due[check] = self._regular[check]
        try:
            _, again_s = await self._compare(check, is_regular=is_regular)
        except ClaireError as error:
            failed = self.counters.failed[check] = self.counters.failed.get(check, 0) + 1
            self._failed(check, failed, error)
            return
        self.counters.failed[check] = 0
        if again_s is not None:
            self._due[check] = min(self._due[check], now_s + max(0.25, again_s))

    def _failed(self, check: Check, count: int, error: ClaireError) -> None:
        self._on_note(f"{check} could not be compared ({count} in a row): {error}")
        if count >= BLIND_AFTER:
            self.verdict.reasons[check] = f"{check} could not be compared {count} times in a row: {error}"
            self._tell(self.verdict.reason)

    # -- one comparison --------------------------------------------------------------------------------------------------

    async def _compare(self, check: Check, *, is_regular: bool) -> tuple[list[Mismatch], float | None]:
        """Look and compare once; return what counts, and when to look again although it is not its turn."""
        busy: Mapping[str, None] = {}
        if check is Check.ORDERS:
            found = await self._compare_orders()
        elif check is Check.FILLS:
            found = await self._compare_fills()
        else:
            found, busy = await self._compare_balances()
        now_ms = self._now_ms()
        self.counters.looks[check] = self.counters.looks.get(check, 0) + 1
        if not busy:
            self.counters.compared_ms[check] = now_ms
        ripe, wait_ms = self._sort(check, found.differences, busy, now_ms)
        for mismatch in ripe:
            if mismatch.order_no:
                self._look(mismatch.order_no)
        if ripe:
            self.counters.differences_total += 1
        if ripe or not (busy or wait_ms):  # a look that could not judge all does not take a lock back either
            self.verdict.judge(check, ripe, self._worst_pct(ripe), is_regular=is_regular)
            self._tell(self.verdict.reason)
        again_s = wait_ms / 1_000 + 0.05 if wait_ms else None
        if any(mismatch.difference in LOOKED_FOR for mismatch in ripe):
            again_s = LOOKED_AGAIN_S if again_s is None else min(again_s, LOOKED_AGAIN_S)
        if busy:
            again_s = BUSY_AGAIN_S if again_s is None else min(again_s, BUSY_AGAIN_S)
        return ripe, again_s

    def _worst_pct(self, ripe: Sequence[Mismatch]) -> float:
        """What the worst difference is worth, in % of equity, of those that no look brings home."""
        counted = [each for each in ripe if not each.order_no or each.difference not in LOOKED_FOR]
        return max((self._record.worth_pct(mismatch) for mismatch in counted), default=0.0)

    async def _compare_orders(self) -> Found:
        theirs = [their_order(info) for info in await self._view.open_orders()]
        found = compare_orders(Names.of(self._record.orders(), self._prefix), theirs)
        for order in found.foreign_orders:
            self._note_once(
                f"order {order.venue_order_id}",
                f"an order on {order.symbol} is open that is not Claire's (venue id {order.venue_order_id}); it is left alone",
            )
            self._asked[order.symbol] = None
        return found

    async def _compare_fills(self) -> Found:
        instruments = self._record.books.instruments
        theirs: list[TheirFill] = []
        since: dict[str, int] = {}
        read: dict[str, int] = {}
        for symbol in self._symbols_to_read():
            read[symbol] = self._now_ms()
            start_ms = since[symbol] = self._read_ms.get(symbol, self._start_ms) - OVERLAP_MS
            quote = instruments[symbol].quote if symbol in instruments else self._record.books.currency
            try:
                listed = await self._view.fills_since(symbol, start_ms)
            except ClaireError as error:
                if symbol in self._symbols:
                    raise
                self._note_once(f"fills {symbol}", f"executions in {symbol}, not traded here, cannot be read: {error}")
                continue
            theirs += [their_fill(trade, quote) for trade in listed]
        found = compare_fills(Names.of(self._record.orders(), self._prefix), theirs, since)
        for fill in found.foreign_fills:
            if fill.ts_ms * MS >= self.externals.opened_ns:
                base, quote = self._assets(fill.symbol)
                self._take(moves_of_fill(fill, base, quote))
        self._read_ms |= read
        for symbol in read:
            self._asked.pop(symbol, None)
        return found

    async def _compare_balances(self) -> tuple[Found, Mapping[str, None]]:
        """Compare what no order is moving right now; return also what could not be compared."""
        busy = self._moving()
        theirs = await self._totals()
        busy |= self._moving()
        ours = self._ours()
        self._busy_turns = self._busy_turns + 1 if busy else 0
        if self._busy_turns > MOST_BUSY_TURNS:
            busy = {}  # an account that never rests: what differs twice by the same amount is no order on its way
        still = {asset: units for asset, units in ours.items() if asset not in busy}
        found = compare_balances(still, theirs, self.externals.baseline)
        self._take_outside(ours, theirs)
        for seen in found.differences:
            self._explain(seen.mismatch.asset)
        return found, busy

    async def _take_baseline(self) -> None:
        theirs = await self._totals()
        self._take(opening_moves(self._ours(), theirs, self._record.books.currency, self._now_ms() * MS))
        self._start_ms = self._now_ms()

    async def _totals(self) -> dict[str, int]:
        listed = await self._view.balances()
        return {asset: exact_units(free) + exact_units(locked) for asset, (free, locked) in listed.items()}

    # -- inside ----------------------------------------------------------------------------------------------------------

    @property
    def _is_opened(self) -> bool:
        return self.externals.is_opened(self._record.books.currency)

    def _ours(self) -> dict[str, int]:
        """What the books hold of every asset that this run may move."""
        instruments = self._record.books.instruments
        traded = [instruments[symbol] for symbol in self._symbols]
        watched = [asset for each in traded for asset in (each.base, each.quote)]
        return dict.fromkeys((*watched, *FEE_ASSETS), 0) | holdings(self._record.books)

    def _moving(self) -> dict[str, None]:
        """Assets that an order may be moving right now."""
        now_ms = self._now_ms()
        found: dict[str, None] = {}
        for order in self._record.orders():
            if order.state in IN_DOUBT or now_ms - order.changed_ms < QUIET_MS:
                found |= dict.fromkeys((order.base, order.quote, *FEE_ASSETS))
        return found

    def _sort(
        self, check: Check, differences: Sequence[Seen], unjudged: Mapping[str, None], now_ms: int
    ) -> tuple[list[Mismatch], int]:
        """Return the differences that are old enough to count, and in how many ms the next one will be (0: none waits)."""
        before = self._first_seen.get(check, {})
        seen = {key: first_ms for key, first_ms in before.items() if key[1] in unjudged}
        ripe, wait_ms = [], 0
        for each in differences:
            mismatch = each.mismatch
            key = (mismatch.difference, mismatch.subject, mismatch.theirs - mismatch.ours - mismatch.external)
            seen[key] = before.get(key, now_ms)
            left_ms = (each.since_ms or seen[key]) + YOUNG_MS - now_ms
            if left_ms <= 0:
                ripe.append(mismatch)
            else:
                wait_ms = min(wait_ms or left_ms, left_ms, YOUNG_MS)
        self._first_seen[check] = seen
        return ripe, wait_ms

    def _symbols_to_read(self) -> list[str]:
        """Symbols in which something happened of late, those that something points at, and one other in turn."""
        now_ms = self._now_ms()
        found = dict(self._asked)
        for order in self._record.orders():
            if now_ms - order.changed_ms < ACTIVE_MS or order.state in RESTING:
                found[order.symbol] = None
        if self._symbols:
            found[self._symbols[self._turn % len(self._symbols)]] = None
            self._turn += 1
        return list(found)

    def _explain(self, asset: str) -> None:
        """Have those executions looked through that may explain a balance, before it counts."""
        if asset == self._record.books.currency:
            for symbol in self._symbols[:MOST_GUESSED]:
                self._ask(symbol)
            return
        for symbol in self._symbols:
            if asset in self._assets(symbol):
                self._ask(symbol)

    def _ask(self, symbol: str) -> None:
        self._asked[symbol] = None
        if self._due:
            self._due[Check.FILLS] = 0.0
            self._hurried.set()

    def _assets(self, symbol: str) -> tuple[str, str]:
        instrument: Instrument | None = self._record.books.instruments.get(symbol)
        if instrument is not None:
            return instrument.base, instrument.quote
        currency = self._record.books.currency
        return symbol.removesuffix(currency), currency

    def _take_outside(self, ours: Mapping[str, int], theirs: Mapping[str, int]) -> None:
        """Let assets that the books have nothing to do with be what they are, once they are so at two looks."""
        now_ms = self._now_ms()
        waiting: dict[str, tuple[int, int]] = {}
        for move in outside_moves(tuple(ours), theirs, self.externals, now_ms * MS):
            units, first_ms = self._outside.get(move.asset, (0, 0))
            if units != move.units:
                waiting[move.asset] = (move.units, now_ms)
                self._ask(move.asset + self._record.books.currency)
            elif now_ms - first_ms < YOUNG_MS:
                waiting[move.asset] = (units, first_ms)
            else:
                self._take((move,))
        self._outside = waiting

    def _take(self, moves: Sequence[ExternalMove]) -> None:
        for move in moves:
            if (move.asset, move.evidence_id) not in self.externals.seen:
                self._on_external(move)
                self.externals.take(move)
                self.counters.external_moves_total += 1
                if move.units:
                    self._on_note(move.text)

    def _tell(self, reason: str) -> None:
        state = self.verdict.state
        if state is not self._said:
            self._said = state
            self._on_lock(SOURCE, state, reason or "the venue and the books agree again")

    def _note_once(self, name: str, text: str) -> None:
        if name not in self._noted and len(self._noted) < NOTED:
            self._noted[name] = None
            self._on_note(text)
