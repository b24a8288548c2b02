"""Decoding beside bare protobuf: the same frames, parsed and their fields read, and decoded into events. One process, one core.

    ./dev bench decode [--frames N] [--json]

Frames are made with the schema's own classes: deals, changes of the book, tops of book, in the mix given below; prices walk by
ticks and quantities are drawn, so that what the decoder remembers helps it as much as a market would. Bare means: parse, and read
once, in plain loops, each field that the decoder reads (it passes over `event_type`). Rounds of both take turns, the best of each
counts.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from decimal import Decimal

from claire.adapters.venues.mexc.frames import FrameDecoder
from claire.model.instrument import Instrument
from claire.wire import DepthLevel, PublicAggreBookTicker, PublicAggreDeal, PublicAggreDeals, PublicAggreDepths
from claire.wire import PushDataV3ApiWrapper as Wrapper

SYMBOL = "BTCUSDT"
DEALS = f"spot@public.aggre.deals.v3.api.pb@100ms@{SYMBOL}"
DEPTH = f"spot@public.aggre.depth.v3.api.pb@100ms@{SYMBOL}"
TICKER = f"spot@public.aggre.bookTicker.v3.api.pb@100ms@{SYMBOL}"
START_MS = 1_800_000_000_000
ROUNDS = 5


class Market:
    """A seeded walk that writes frames."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ticks = 8_427_000
        self._version = 82_164_153_436
        self._ms = START_MS

    def deals(self, count: int) -> bytes:
        """Return a frame of `count` executions."""
        self._step()
        deals = [
            PublicAggreDeal(
                price=self._price(self._random.randint(-3, 3)),
                quantity=self._quantity(),
                trade_type=self._random.randint(1, 2),
                time=self._ms,
                trade_id=f"{self._version + number}X0_{self._version + number + 1}X0",
            )
            for number in range(count)
        ]
        body = PublicAggreDeals(deals=deals, event_type=DEALS.removesuffix(f"@{SYMBOL}"))
        return self._frame(Wrapper(channel=DEALS, public_aggre_deals=body))

    def depth(self, levels: int) -> bytes:
        """Return a frame of `levels` changed levels on each side."""
        self._step()
        first, self._version = self._version + 1, self._version + 2 * levels
        body = PublicAggreDepths(
            asks=[self._level(self._random.randint(1, 200)) for _ in range(levels)],
            bids=[self._level(-self._random.randint(1, 200)) for _ in range(levels)],
            event_type=DEPTH.removesuffix(f"@{SYMBOL}"),
            from_version=str(first),
            to_version=str(self._version),
            last_order_create_time=self._ms,
        )
        return self._frame(Wrapper(channel=DEPTH, public_aggre_depths=body))

    def ticker(self) -> bytes:
        """Return a frame of best bid and offer."""
        self._step()
        body = PublicAggreBookTicker(
            bid_price=self._price(-1),
            bid_quantity=self._quantity(),
            ask_price=self._price(1),
            ask_quantity=self._quantity(),
            version=str(self._version),
            last_order_create_time=self._ms,
        )
        return self._frame(Wrapper(channel=TICKER, public_aggre_book_ticker=body))

    def _step(self) -> None:
        self._ticks += self._random.choice((-1, 0, 0, 1))
        self._ms += 7

    def _price(self, away: int) -> str:
        ticks = self._ticks + away
        return f"{ticks // 100}.{ticks % 100:02d}".rstrip("0").rstrip(".")

    def _quantity(self) -> str:
        return f"{self._random.lognormvariate(-5, 2) + 1e-6:.8f}".rstrip("0")

    def _level(self, away: int) -> DepthLevel:
        return DepthLevel(price=self._price(away), quantity="0" if self._random.random() < 0.4 else self._quantity())

    def _frame(self, wrapper: Wrapper) -> bytes:
        wrapper.symbol, wrapper.send_time = SYMBOL, self._ms + 40
        return wrapper.SerializeToString()


def bare(data: bytes) -> None:
    """Parse a frame and read once each field that FrameDecoder reads."""
    wrapper = Wrapper.FromString(data)
    wrapper.channel, wrapper.symbol, wrapper.send_time  # noqa: B018 - reading is what is measured
    kind = wrapper.WhichOneof("body")
    if kind == "public_aggre_deals":
        for deal in wrapper.public_aggre_deals.deals:
            deal.price, deal.quantity, deal.trade_type, deal.time, deal.trade_id  # noqa: B018
    elif kind == "public_aggre_depths":
        depths = wrapper.public_aggre_depths
        depths.from_version, depths.to_version, depths.last_order_create_time  # noqa: B018
        for side in (depths.asks, depths.bids):
            for level in side:
                level.price, level.quantity  # noqa: B018
    else:
        top = wrapper.public_aggre_book_ticker
        top.bid_price, top.bid_quantity, top.ask_price, top.ask_quantity, top.version, top.last_order_create_time  # noqa: B018


def seconds(work: Callable[[bytes], object], frames: list[bytes]) -> float:
    """Return how long `work` takes over all frames."""
    started = time.perf_counter()
    for frame in frames:
        work(frame)
    return time.perf_counter() - started


def measure(frames: list[bytes]) -> dict[str, float]:
    """Return microseconds a frame, bare and decoded, and the ratio of speeds in per cent."""
    instrument = Instrument.checked(SYMBOL, Decimal("0.01"), Decimal("0.00000001"))
    decoder = FrameDecoder({SYMBOL: instrument})
    bares, decodeds = [], []
    for _ in range(ROUNDS):
        bares.append(seconds(bare, frames))
        decodeds.append(seconds(decoder.decode, frames))
    assert decoder.errors_total == decoder.unknown_total == 0
    bare_us, decoded_us = (min(times) / len(frames) * 1e6 for times in (bares, decodeds))
    return {"bare_us": bare_us, "decoded_us": decoded_us, "ratio_pct": bare_us / decoded_us * 100}


def main() -> None:
    """Measure each kind of frame and the mix of them."""
    parser = argparse.ArgumentParser(description="Decoding beside bare protobuf.")
    parser.add_argument("--frames", type=int, default=20_000, help="frames of each kind")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    market = Market(seed=1)
    makers: dict[str, Callable[[], bytes]] = {
        "1 deal": lambda: market.deals(1),
        "5 deals": lambda: market.deals(5),
        "20 levels": lambda: market.depth(10),
        "top": market.ticker,
    }
    kinds = {name: [make() for _ in range(options.frames)] for name, make in makers.items()}
    kinds["mix"] = [frame for group in zip(*kinds.values(), strict=True) for frame in group]
    results = {name: measure(frames) for name, frames in kinds.items()}
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'frames':<12}{'bare µs':>10}{'decoded µs':>12}{'speed':>9}")
    for name, result in results.items():
        print(f"{name:<12}{result['bare_us']:>10.2f}{result['decoded_us']:>12.2f}{result['ratio_pct']:>7.0f} %")


if __name__ == "__main__":
    main()
