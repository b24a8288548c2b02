"""The trading process of a trial: the production gate, latch, heart, sender, journal and ledger, and nothing that thinks.

    python -m claire.drill.killswitch.trader FOLDER URL probe|trade PER_SECOND SYMBOL=PRICE:QUANTITY ...

``trade`` puts one waiting order after the other at the venue, each on record before it is sent, as a live run does; ``probe``
asks the gate for far more, with orders that end at once, and keeps its ledger beside. A ledger that fails is told, and orders
go on without it: what has to stop them is the gate, not the trouble.

Keys come on standard input, then commands: ``go NUMBER`` takes the account and sends, ``down`` stops and lets go of the account,
``block SECONDS`` holds the event loop (SIGUSR2 ends that), ``end`` ends. Lines of JSON say what happened.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Final

from msgspec import Struct

from claire.adapters.journal.entries import Header
from claire.adapters.journal.writer import JournalWriter
from claire.adapters.store.ledger import SqlLedger
from claire.engine.ports import SourceInfo
from claire.gateway.answers import Answer
from claire.gateway.gate import Approval, Gate
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import Keys, from_parent
from claire.latch.epoch import AccountLock
from claire.latch.page import PageLatch
from claire.model.decisions import Intent, OrderEvent
from claire.model.errors import ClaireError
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.orders import OrderState, OrderType
from claire.safety.heart import Heart
from claire.safety.triggers import on_signal

BEAT_S: Final = 0.02
BOOKED_PER_S: Final = 20.0
"""Decisions that a probed process puts on record meanwhile."""
LATEST_S: Final = 0.02
"""What was missed longer ago than this is not made up for."""
WAKE: Final = signal.SIGUSR2
TYPES: Final = {"probe": "IMMEDIATE_OR_CANCEL", "trade": "LIMIT"}


class Woken(Exception):
    """The block is over before its time."""


class Wanted(Struct, frozen=True):
    """What is bought, far below the market."""

    symbol: str
    price: str
    quantity: str

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Read ``SYMBOL=PRICE:QUANTITY``."""
        symbol, _, rest = text.partition("=")
        price, _, quantity = rest.partition(":")
        return cls(symbol, price, quantity)

    def params(self, kind: str, name: str) -> list[tuple[str, str]]:
        """Return what is signed."""
        return [
            ("symbol", self.symbol), ("side", "BUY"), ("type", kind), ("quantity", self.quantity), ("price", self.price),
            ("newClientOrderId", name),
        ]  # fmt: skip

    def approval(self, number: int, kind: str, name: str, epoch: int) -> Approval:
        """Return the approval of that, as of now."""
        return Approval(
            number, name, self.symbol, Side.BUY, Decimal(self.quantity), kind, Decimal(self.price), False, epoch, time.time_ns()
        )  # fmt: skip


def say(**what: object) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps({"at_us": time.time_ns() // 1000, **what}) + "\n")
    sys.stdout.flush()


class Record:
    """Journal and ledger of a process; once they fail they stay away."""

    def __init__(self, folder: Path, wanted: list[Wanted]) -> None:
        """Open them."""
        self._instruments = {one.symbol: _instrument(one) for one in wanted}
        self._wanted = {one.symbol: one for one in wanted}
        now_ns = time.time_ns()
        run_dir = folder / f"run-{now_ns}"
        header = Header.of(
            run_id=run_dir.name,
            mode="testnet",
            code="drill",
            config_json="{}",
            source=SourceInfo("live", tuple(self._instruments), 0, now_ns, now_ns),
            instruments=self._instruments,
            created_at="",
        )
        self._journal = JournalWriter(run_dir, header)
        self._ledger = SqlLedger(
            run_dir / "ledger.sqlite", header, account_id=folder.name, venue="mexc", journal=self._journal
        )
        self.is_broken = False

    def keep(self, number: int, name: str, one: Wanted) -> None:
        """Put an order on record, durably, as before it is sent."""
        if self.is_broken:
            return
        instrument, now_ns = self._instruments[one.symbol], time.time_ns()
        lots = int(Decimal(one.quantity) / instrument.lot)
        ticks = int(Decimal(one.price) / instrument.tick)
        order = (number, "drill", one.symbol, Side.BUY)
        intent = Intent(
            number, number, "drill", "mexc", *order[1:], OrderType.LIMIT, lots, ticks, 0, False, name, now_ns, ticks
        )
        sent = OrderEvent(*order, OrderState.SENT, lots, 0, False, now_ns, client_order_id=name)
        try:
            for event in (intent, sent):
                self._journal.decided(number, event)
                self._ledger.decided(number, event)
        except ClaireError as error:
            self.is_broken = True
            say(record=str(error))

    def close(self) -> None:
        """Let go of both; what waits is dropped."""
        self._ledger.abandon()
        self._journal.abandon()


def _instrument(one: Wanted) -> Instrument:
    price, quantity = Decimal(one.price), Decimal(one.quantity)
    return Instrument.checked(one.symbol, Decimal(1).scaleb(_exponent(price)), Decimal(1).scaleb(_exponent(quantity)))


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


class Sending:
    """What sends during one trial, from taking the account to letting go of it."""

    def __init__(self, folder: Path, mode: str, number: int, wanted: list[Wanted]) -> None:
        """Take the account, as the start of a run does."""
        self.number = number
        self.kind = TYPES[mode]
        self.wanted = wanted
        self.lock = AccountLock(folder, pid=os.getpid())
        self.latch = PageLatch(folder)
        self.outcomes: Counter[str] = Counter()
        self.asked = 0
        self.began = time.monotonic()
        self.last = ""
        self.tasks: dict[asyncio.Task[None], None] = {}
        self.approved: Approval | None = None
        """The latest approval: it must not fire in a later epoch."""

    def gate(self, heart: Heart) -> Gate:
        """Return a gate that looks at this account's latch and epoch."""
        return Gate(
            latch=self.latch,
            account=self.lock,
            epoch=self.lock.epoch,
            on_verdict=lambda verdict: None if verdict.code else heart.sends(verdict.fence_ms),
        )

    def name(self) -> tuple[int, str, Wanted]:
        """Return number, client order id and content of the next order."""
        self.asked += 1
        return self.asked, f"k{self.number}x{self.asked}", self.wanted[self.asked % len(self.wanted)]

    async def submit(self, sender: OrderSender, number: int, name: str, one: Wanted) -> None:
        """Approve an order and hand it to the gateway, once; note what came of it, and say where that changes."""
        approval = self.approved = one.approval(number, self.kind, name, self.lock.epoch)
        sent = await sender.send(
            "/api/v3/order",
            one.params(self.kind, name),
            timestamp_ms=time.time_ns() // 1_000_000,
            approvals=[approval],
        )
        result = sent.result
        outcome = f"HTTP {result.status}" if isinstance(result, Answer) else getattr(result, "code", "") or "no answer"
        self.outcomes[outcome] += 1
        if outcome != self.last:
            self.last = outcome
            say(trial=self.number, gate=outcome)

    async def let_go(self) -> bool:
        """Send no more; return whether answers were still awaited."""
        waiting = [task for task in self.tasks if not task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        self.lock.release()
        self.latch.close()
        return bool(waiting)


class Trader:
    """The process."""

    def __init__(self, folder: Path, url: str, mode: str, per_second: float, wanted: list[Wanted], keys: Keys) -> None:
        """Begin to live, without the account."""
        self._folder = folder
        self._url = url
        self._mode = mode
        self._per_second = per_second
        self._wanted = wanted
        self._keys = keys
        self._record = Record(folder, wanted)
        self._sending: Sending | None = None
        self._sender: OrderSender | None = None
        self._old: Approval | None = None
        self._heart = Heart(folder)
        self._work: list[asyncio.Task[None]] = []

    async def beats(self) -> None:
        """Show that the process lives."""
        while True:
            self._heart.beat(None if self._sending is None else self._sending.latch)
            await asyncio.sleep(BEAT_S)

    async def go(self, number: int, recv_window_ms: int) -> None:
        """Take the account and send. What was approved before the account was armed again is tried first: it must not leave."""
        self._sending = sending = Sending(self._folder, self._mode, number, self._wanted)
        gate = sending.gate(self._heart)
        if self._record.is_broken:
            self._record.close()
            self._record = Record(self._folder, self._wanted)
        if self._sender is None:
            self._sender = OrderSender(Endpoint.parse(self._url), self._keys, recv_window_ms=recv_window_ms, gate=gate)
            await self._sender.__aenter__()
        self._sender.gate = gate
        old = ""
        if self._old is not None:
            one = next(one for one in self._wanted if one.symbol == self._old.symbol)
            sent = await self._sender.send(
                "/api/v3/order",
                one.params(self._old.type, self._old.client_order_id),
                timestamp_ms=time.time_ns() // 1_000_000,
                approvals=[self._old],
            )
            old = getattr(sent.result, "code", "") or "let through"
        say(going=number, epoch=sending.lock.epoch, old_approval=old)
        self._work = [asyncio.create_task(self._sends(sending))]
        if self._mode == "probe":
            self._work.append(asyncio.create_task(self._keeps(number)))

    async def _sends(self, sending: Sending) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            number, name, one = sending.name()
            if self._mode == "trade":
                self._record.keep(sending.number * 1_000_000 + number, name, one)
            if self._sender is not None:
                task = asyncio.create_task(sending.submit(self._sender, number, name, one))
                sending.tasks[task] = None
                task.add_done_callback(lambda done: sending.tasks.pop(done, None))
            due = max(due + 1 / self._per_second, clock() - LATEST_S)
            await asyncio.sleep(max(0.0, due - clock()))

    async def _keeps(self, trial: int) -> None:
        number = 0
        while True:
            number += 1
            self._record.keep(trial * 1_000_000 + number, f"b{trial}x{number}", self._wanted[0])
            await asyncio.sleep(1 / BOOKED_PER_S)

    async def down(self) -> None:
        """Stop sending and let go of the account."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        seconds = time.monotonic() - sending.began
        if await sending.let_go() and self._sender is not None:  # connections on which nothing may come any more
            await self._sender.__aexit__(None, None, None)
            self._sender = None
        self._old = sending.approved
        say(
            down=sending.number, asked=sending.asked, seconds=round(seconds, 4), outcomes=dict(sending.outcomes)
        )  # fmt: skip

    async def end(self) -> None:
        """End in order."""
        await self.down()
        if self._sender is not None:
            await self._sender.__aexit__(None, None, None)
        self._heart.end()
        self._record.close()


def _wake(_number: int, _frame: FrameType | None) -> None:
    raise Woken


def _block(seconds: float) -> None:
    """Hold the event loop."""
    signal.signal(WAKE, _wake)
    try:
        time.sleep(seconds)
    except Woken:
        return
    finally:
        signal.signal(WAKE, signal.SIG_IGN)


async def live(words: list[str]) -> None:
    """Do what standard input says, until it ends."""
    keys = from_parent(await asyncio.to_thread(sys.stdin.buffer.readline))
    folder = Path(words[0])
    signal.signal(WAKE, signal.SIG_IGN)
    on_signal(folder)
    trader = Trader(folder, words[1], words[2], float(words[3]), [Wanted.parse(word) for word in words[5:]], keys)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    beats = asyncio.create_task(trader.beats())
    say(up=os.getpid())
    while told := (await commands.readline()).decode().split():
        match told:
            case ["go", number]:
                await trader.go(int(number), int(words[4]))
            case ["down"]:
                await trader.down()
            case ["block", seconds]:
                _block(float(seconds))
            case _:
                break
    beats.cancel()
    await trader.end()


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1:]))
