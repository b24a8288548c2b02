"""What a live feed is to a pipeline: its source, its inputs as the journal keeps them, and how each event enters.

Shared by the live run, which decodes as bytes come, and by replay and recovery, which decode the same bytes again.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

from claire.adapters.venues.mexc.decoder import FeedDecoder
from claire.adapters.venues.mexc.items import FeedEvent, FeedGap, FeedInput, FeedItem, WarmUp
from claire.engine.pipeline import NEVER, Pipeline
from claire.engine.ports import SourceInfo
from claire.model.decisions import ControlEvent, TradingState
from claire.model.instrument import Instrument
from claire.model.market import Depth, TopOfBook, Trade

encode_input = msgspec.msgpack.Encoder().encode
"""Return the bytes of one input of the feed, as the journal keeps them."""

decode_input: Callable[[bytes], FeedInput] = msgspec.msgpack.Decoder(FeedInput).decode
"""Return the input in such bytes."""

LIVE: Final = "live"
"""`SourceInfo.kind` of a market that is happening."""

FEED: Final = "feed"
"""Source of the locks that the feed puts on trading."""


def live_info(symbols: Sequence[str], venue: str, started_ns: int, *, with_history: bool, has_book: bool) -> SourceInfo:
    """Return what is known of a live market before its first event."""
    return SourceInfo(
        kind=LIVE,
        symbols=tuple(symbols),
        rows=0,
        first_ns=started_ns,
        last_ns=0,
        venue=venue,
        parameters={"history": str(with_history)},
        has_book=has_book,
    )


def is_live(info: SourceInfo) -> bool:
    """Whether a source was a live market: then its journal holds raw frames."""
    return info.kind == LIVE


def awaits_history(info: SourceInfo) -> bool:
    """Whether the strategies of a live run waited for the past of their symbols."""
    return info.parameters.get("history") == str(True)


class Feed(AbstractAsyncContextManager["Feed"], Protocol):
    """A live feed. Entered, it begins to listen; what it hears waits in memory, and nothing tells how long."""

    def batches(self) -> AsyncIterator[list[FeedItem]]:
        """Yield what has come since the last look, in order."""

    @property
    def is_drained(self) -> bool:
        """Whether everything that was decoded has been taken."""

    @property
    def decoder(self) -> FeedDecoder:
        """What decodes the feed; its state belongs to the last item when `is_drained`."""


class LiveMarket(msgspec.Struct, frozen=True):
    """What is known of a live market before its first event."""

    instruments: Mapping[str, Instrument]
    info: SourceInfo


def pass_on(pipeline: Pipeline, event: FeedEvent) -> None:
    """Let a pipeline have one event of the feed; the same live and in a replay."""
    if isinstance(event, Trade | TopOfBook | Depth):
        pipeline.feed(event)
    elif isinstance(event, FeedGap):
        pipeline.gap(event.symbol, event.to_ns or NEVER)
    elif isinstance(event, WarmUp):
        if event.candles:
            pipeline.past_candles(event.candles)
        else:
            pipeline.past_trades(event.symbol, event.trades)
    elif event.stops_entries:
        reason = f"{event.kind}: {event.text}"
        pipeline.control(ControlEvent(TradingState.REDUCE_ONLY, reason, FEED, event.ts_recv_ns))
