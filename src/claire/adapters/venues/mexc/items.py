"""What a market-data feed takes in and gives out, as values that can be written down and read back.

Everything that enters the pure decoder is one of `FeedInput`; the journal keeps these, and a replay hands them to the
same decoder again. What it answers is one of `FeedEvent`. Receive times are UTC nanoseconds since 1970, read once at
the socket; nothing behind the socket reads a clock.
"""

from enum import StrEnum

from msgspec import Struct

from claire.model.errors import ClaireError
from claire.model.market import Candle, Depth, TopOfBook, Trade


class FeedError(ClaireError):
    """The feed cannot start or go on as it was asked to; the message names the channel and the remedy."""


# -- inputs ----------------------------------------------------------------------------------------------------------------


class RawFrame(Struct, frozen=True, gc=False, tag="frame", array_like=True):
    """One binary frame, as it came."""

    connection_no: int
    """Number of the physical connection; each new one gets the next number."""
    data: bytes
    ts_recv_ns: int


class RawText(Struct, frozen=True, gc=False, tag="text", array_like=True):
    """One text frame (acknowledgement, refusal, PONG …), as it came. It decides nothing in the decoder."""

    connection_no: int
    text: str
    ts_recv_ns: int


class Body(StrEnum):
    """Which REST answer a `RestBody` holds."""

    DEPTH = "depth"
    KLINES = "klines"
    AGG_TRADES = "aggTrades"


class RestBody(Struct, frozen=True, gc=False, tag="rest", array_like=True):
    """One REST answer that the feed depends on: a book snapshot, candles or trades for the warm-up."""

    what: Body
    symbol: str
    data: bytes
    ts_recv_ns: int
    more: bool = False
    """Of trades: the next answer goes on where this one ends; together they are one history."""


class LinkChange(Struct, frozen=True, tag="link", array_like=True):
    """What a connection carries has changed: it came up, a channel was refused or stalled or came back, it went down."""

    connection_no: int
    channels: tuple[str, ...]
    """What it carries now, acknowledged; empty: it is down."""
    reason: str
    ts_recv_ns: int


class FeedGap(Struct, frozen=True, gc=False, tag="gap", array_like=True):
    """A stretch of receive time in which trades of a symbol may be missing: no entry is to rest on it.

    Said twice: when it is noticed (`to_ns` 0: not over yet), and once more when the stream flows again.
    """

    symbol: str
    from_ns: int
    """When the last message before the gap was received."""
    to_ns: int
    """When the first message after it was received; 0 while it lasts."""
    reason: str


# -- events ----------------------------------------------------------------------------------------------------------------


class AlertKind(StrEnum):
    """What a feed has to tell a person."""

    UNKNOWN_FIELD = "unknown_field"
    """The venue sends a field that the schema does not know. Said once per channel kind."""
    UNKNOWN_MESSAGE = "unknown_message"
    """The venue sends a message type that the schema does not know."""
    DECODE_ERROR = "decode_error"
    """A frame or REST answer could not be decoded, or holds impossible numbers."""
    NO_TRADE_IDS = "no_trade_ids"
    """Trades come without ids: duplicates cannot be told from trades."""
    CLOCK_SKEW = "clock_skew"
    """The venue's send times and our receive times are further apart than allowed."""
    REFUSED = "refused"
    """The venue refused a subscription."""
    STALLED = "stalled"
    """A stream or a connection fell silent although there was something to say."""
    ACCOUNT = "account"
    """Something about the account or one of its orders."""


class FeedAlert(Struct, frozen=True, tag="feed_alert", array_like=True):
    """Something about the feed that a person should know; with `stops_entries` no new risk may rest on this feed."""

    kind: AlertKind
    symbol: str
    text: str
    stops_entries: bool
    ts_recv_ns: int


class WarmUp(Struct, frozen=True, tag="warm_up"):
    """History of one symbol from REST, to fill windows with before the first entry. Never to be traded on.

    Only trades older than the stream's first one; REST trades carry no ids, so the seam is cut by time.
    """

    symbol: str
    candles: tuple[Candle, ...] = ()
    """Closed one-minute candles, oldest first."""
    trades: tuple[Trade, ...] = ()
    """Oldest first."""


FeedInput = RawFrame | RawText | RestBody | LinkChange | FeedAlert
"""What enters the decoder; alerts are those that the clients found without looking at a frame."""


FeedEvent = Trade | TopOfBook | Depth | FeedGap | FeedAlert | WarmUp
"""What the decoder answers."""


class FeedItem(Struct, frozen=True, gc=False):
    """One input and what it gave: the input goes to the journal, the events to the pipeline."""

    input: FeedInput
    events: list[FeedEvent]


# -- counters --------------------------------------------------------------------------------------------------------------


class FeedCounters(Struct):
    """What happened on the feed since it was made."""

    decoded_messages_total: int = 0
    decode_errors_total: int = 0
    trades_total: int = 0
    duplicate_trades_total: int = 0
    late_trades_total: int = 0
    """Trades that came after a younger one of their symbol; their event time was raised to the younger one's."""
    stale_trades_total: int = 0
    """Trades so late that they were left out."""
    repeated_tops_total: int = 0
    """Pushes of a best bid and offer that said nothing new."""
    duplicate_pushes_total: int = 0
    """Book changes that the book already had."""
    book_gaps_total: int = 0
    resyncs_total: int = 0
    """Book snapshots taken over."""
    stale_snapshots_total: int = 0
    """Book snapshots that were older than the changes at hand."""
    unknown_fields_total: int = 0
    unknown_messages_total: int = 0
    skewed_frames_total: int = 0
    feed_gaps_total: int = 0
    ws_connected: int = 0
    """Connections that are open now."""
    connects_total: int = 0
    reconnects_total: int = 0
    rotations_total: int = 0
    """Planned reconnects, finished."""
    connect_failures_total: int = 0
    pings_unanswered_total: int = 0
    stalls_total: int = 0
    subscriptions_active: int = 0
    subscriptions_refused: int = 0
    subscriptions_lost_total: int = 0
    snapshot_failures_total: int = 0
    queue_waits_total: int = 0
    """How often a connection had to wait because its reader was behind."""
    last_message_ts_ms: int = 0
    """Receive time of the last data frame."""
