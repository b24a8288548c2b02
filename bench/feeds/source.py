"""A bare frame server for bench/feed.py: speaks MEXC's control protocol and pushes trades, faster than any client reads.

    python bench/feeds/source.py

Prints its port. Commands come as lines on stdin: ``flood N DEALS`` (N frames, encoded beforehand, as fast as the sockets take
them), ``pace RATE SECONDS`` (frames at an even rate, spread over all symbols). Each answers with a line of JSON when it is done.
The simulator makes a market; this only moves bytes, so that what is measured is the client.

Paced frames carry the moment of sending in the quantity: microseconds of the machine's monotonic clock, as ``ddddd.dddddddd``.
"""

import asyncio
import json
import struct
import sys
import time

from aiohttp import WSMsgType, web

from claire.wire import PushDataV3ApiWrapper

CHANNEL = "spot@public.aggre.deals.v3.api.pb@100ms@"
CHUNK = 128
HIGH_WATER = 2**20
TICK_S = 0.002
STAMP = b"00000.00000000"


def frame_of(symbol: str, number: int, deals: int = 1) -> bytes:
    """Return one push of `deals` trades; the first one's quantity is a stamp to be overwritten."""
    now_ms = time.time_ns() // 1_000_000
    wrapper = PushDataV3ApiWrapper(channel=CHANNEL + symbol, symbol=symbol, send_time=now_ms)
    for each in range(deals):
        wrapper.public_aggre_deals.deals.add(
            price=f"84270.{number * 7919 % 199 % 100:02d}",
            quantity=STAMP.decode() if not each else f"0.{number % 89_989 + 10_011:08d}",
            trade_type=1 + number % 2,
            time=now_ms,
            trade_id=f"7319{number:014d}X0_73190{each}{number:014d}X0",
        )
    wrapper.public_aggre_deals.event_type = CHANNEL.removesuffix("@")
    return wrapper.SerializeToString()


def on_the_wire(frame: bytes) -> bytes:
    """Return a binary WebSocket message of the server: one unmasked frame."""
    size = len(frame)
    head = struct.pack("!BB", 0x82, size) if size < 126 else struct.pack("!BBH", 0x82, 126, size)
    return head + frame


def stamped(message: bytes) -> bytes:
    """Return a message with the present moment in its quantity."""
    now_us = time.monotonic_ns() // 1000 % 10**13
    return message.replace(STAMP, b"%05d.%08d" % divmod(now_us, 10**8), 1)


class Source:
    """The connections, who subscribed what on which, and what is pushed."""

    def __init__(self) -> None:
        """Start without a subscriber."""
        self.transports: dict[str, asyncio.Transport] = {}
        self.number = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            asked = json.loads(message.data)
            if asked["method"].upper() == "PING":
                await socket.send_str('{"id":0,"code":0,"msg":"PONG"}')
            elif asked["method"] == "SUBSCRIPTION":
                names = asked["params"]
                await socket.send_str(json.dumps({"id": asked.get("id", 0), "code": 0, "msg": ",".join(names)}))
                for name in names:
                    self.transports[name.rpartition("@")[2]] = transport
                    transport.write(stamped(on_the_wire(self.frame(name.rpartition("@")[2], 1))))
        return socket

    def frame(self, symbol: str, deals: int) -> bytes:
        """Encode the next push of a symbol."""
        self.number += 1
        return frame_of(symbol, self.number, deals)

    async def flood(self, count: int, deals: int) -> None:
        """Push `count` frames as fast as the sockets take them, spread evenly over the symbols."""
        symbols = list(self.transports)
        chunks = []
        for start in range(0, count, CHUNK):
            symbol = symbols[start // CHUNK % len(symbols)]
            size = min(CHUNK, count - start)
            one = b"".join(
                on_the_wire(self.frame(symbol, deals).replace(STAMP, b"00000.%08d" % self.number)) for _ in range(size)
            )
            chunks.append((self.transports[symbol], one))
        print(json.dumps({"encoded": count, "bytes": sum(len(each) for _, each in chunks)}), flush=True)
        for transport, chunk in chunks:
            transport.write(chunk)
            while transport.get_write_buffer_size() > HIGH_WATER:
                await asyncio.sleep(0.0005)
        while any(transport.get_write_buffer_size() for transport in self.transports.values()):
            await asyncio.sleep(0.0005)

    async def pace(self, rate: float, seconds: float) -> int:
        """Push frames at an even rate, one symbol after the other; return how many."""
        symbols = list(self.transports)
        total = round(rate * seconds)
        began = time.monotonic()
        sent = 0
        while sent < total:
            due = min(total, int((time.monotonic() - began) * rate))
            for number in range(sent, due):
                symbol = symbols[number % len(symbols)]
                self.transports[symbol].write(stamped(on_the_wire(self.frame(symbol, 1))))
            sent = due
            await asyncio.sleep(TICK_S)
        return total


async def main() -> None:
    """Serve until stdin ends."""
    source = Source()
    app = web.Application()
    app.router.add_get("/ws", source.serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if line[0] == "flood":
            await source.flood(int(line[1]), int(line[2]))
            print(json.dumps({"sent": int(line[1])}), flush=True)
        elif line[0] == "pace":
            print(json.dumps({"sent": await source.pace(float(line[1]), float(line[2]))}), flush=True)
        elif line[0] == "subscribed":
            print(json.dumps({"symbols": len(source.transports)}), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
