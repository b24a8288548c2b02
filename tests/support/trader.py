"""A trading process that does nothing but send, past the real gate: `python -m tests.support.trader FOLDER URL PER_SECOND`.

Keys come on standard input, then commands: ``block SECONDS`` stops its event loop for so long, ``end`` ends it in order. It
prints a JSON line when it is up and one for each change of the gate's mind.
"""

import asyncio
import json
import sys
import time
from decimal import Decimal
from pathlib import Path

from claire.gateway.answers import Answer
from claire.gateway.gate import Approval, Gate
from claire.gateway.hosts import Endpoint
from claire.gateway.send import OrderSender
from claire.gateway.signer import from_parent
from claire.latch.page import PageLatch
from claire.model.market import Side
from claire.safety.heart import Heart
from claire.safety.triggers import on_signal

BEAT_S = 0.02
RECV_WINDOW_MS = 500
"""Shorter than the default: tests wait for it to pass."""


def say(**what: object) -> None:
    print(json.dumps({"at_ms": time.time_ns() // 1_000_000, **what}), flush=True)


async def submit(sender: OrderSender, number: int, symbol: str, price: str) -> str:
    """Send one order that rests; return the gate's code, or what the venue said."""
    name, quantity = f"t{number}-{time.time_ns() % 10**9}", Decimal("0.001")
    approval = Approval(number, name, symbol, Side.BUY, quantity, "LIMIT", Decimal(price), False, 1, time.time_ns())
    params = [("symbol", symbol), ("side", "BUY"), ("type", "LIMIT"), ("quantity", "0.001"), ("price", price)]
    sent = await sender.send(
        "/api/v3/order",
        [*params, ("newClientOrderId", name)],
        timestamp_ms=time.time_ns() // 1_000_000,
        approvals=[approval],
    )
    return "sent" if isinstance(sent.result, Answer) else getattr(sent.result, "code", "") or "lost"


async def trade(folder: Path, url: str, per_second: float, symbol: str, price: str) -> None:
    keys = from_parent(await asyncio.to_thread(sys.stdin.buffer.readline))
    latch, heart = PageLatch(folder), Heart(folder)
    on_signal(folder)
    gate = Gate(
        latch=latch, epoch=1, on_verdict=lambda verdict: None if verdict.code else heart.sends(verdict.fence_ms)
    )
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)

    async def beats() -> None:
        while True:
            heart.beat(latch)
            await asyncio.sleep(BEAT_S)

    async def sends(sender: OrderSender) -> None:
        last = ""
        for number in range(1, 10**9):
            code = await submit(sender, number, symbol, price)
            if code != last:
                last = code
                say(gate=code)
            await asyncio.sleep(1 / per_second)

    async with OrderSender(Endpoint.parse(url), keys, gate=gate, recv_window_ms=RECV_WINDOW_MS) as sender:
        tasks = [asyncio.create_task(beats())]
        if per_second:
            tasks.append(asyncio.create_task(sends(sender)))
        say(up=True)
        while words := (await commands.readline()).decode().split():
            if words[0] == "block":
                time.sleep(float(words[1]))
            elif words[0] == "end":
                heart.end()
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(trade(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), *sys.argv[4:]))
