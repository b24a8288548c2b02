"""Raw websocket captures of Binance: lines of `<time of receipt> <message>`, or JSON lines `{recv_ns, source, raw}`.

Understood are `trade`, `aggTrade`, `bookTicker`, `depthUpdate` and REST depth snapshots between them. The time of a trade
is `T`; that of a depth change or best bid and offer `T` where the venue gives one (futures), else `E`. Spot `bookTicker`
and REST snapshots have no time of their own: they get the greatest event time seen so far in the recording.
"""

import gzip
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from claire.adapters.marketdata import names, raw
from claire.adapters.marketdata.book import BookSequence, RawBook
from claire.adapters.marketdata.files import reading
from claire.adapters.marketdata.numbers import Bytes, Ints, Scaled, from_text
from claire.adapters.marketdata.raw import RawTrades
from claire.model.errors import DataError

_MS: Final = 1_000_000
_CHUNK: Final = 1 << 16

_Level = tuple[str, str]


class _Data(msgspec.Struct, gc=False):
    """Any message's payload; fields are Binance's."""

    e: str = ""
    E: int = 0
    T: int = 0
    s: str = ""
    symbol: str = ""
    ps: str = ""
    t: int = -1
    a: list[_Level] | str | int = ""
    b: list[_Level] | str | int = ""
    A: str = ""
    B: str = ""
    p: str = ""
    q: str = ""
    m: bool = False
    M: bool | None = None
    X: str = ""
    U: int = 0
    u: int = 0
    pu: int = -1
    f: int = -1
    l: int = -1  # noqa: E741 - the venue's name
    lastUpdateId: int = 0  # noqa: N815 - the venue's name
    bids: list[_Level] = []
    asks: list[_Level] = []


class _Message(_Data, gc=False):
    """A combined-stream message, or a payload by itself."""

    stream: str = ""
    data: _Data | None = None


class _Frame(msgspec.Struct, gc=False):
    recv_ns: int
    raw: str


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_frame = msgspec.json.Decoder(_Frame).decode


class _Numbers:
    """Collects decimal texts and turns them into numbers a chunk at a time, so that the texts do not pile up."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.done: list[Scaled] = []
        self.count = 0

    def add(self, texts: list[str]) -> None:
        """Append texts."""
        self.texts += texts
        self.count += len(texts)
        if len(self.texts) >= _CHUNK:
            self._turn()

    def column(self) -> Scaled:
        """Return everything collected."""
        self._turn()
        parts = self.done or [from_text(pl.Series([], dtype=pl.String))]
        return Scaled(
            np.concatenate([part.coefficients for part in parts]),
            np.concatenate([part.decimals for part in parts]),
            np.concatenate([part.faults for part in parts]),
        )

    def _turn(self) -> None:
        if self.texts:
            self.done.append(from_text(pl.Series(self.texts, dtype=pl.String)))
            self.texts = []


class _TradesOfFile:
    """The trades of one capture file."""

    def __init__(self) -> None:
        self.lines, self.ts, self.ids, self.codes, self.recv = (array("q") for _ in range(5))
        self.first_ids, self.last_ids = array("q"), array("q")
        self.sides = bytearray()
        self.is_aggregate = bytearray()
        self.prices: list[str] = []
        self.quantities: list[str] = []


class CaptureReader:
    """Reads one or several captures that follow each other; the book goes on from file to file."""

    def __init__(self) -> None:
        """Start with no message read."""
        self.markets: dict[tuple[str, str], int] = {}
        self._codes: dict[str, int] = {}
        self.parts: list[RawTrades] = []
        self.seen: Counter[str] = Counter()
        self._sequences: dict[int, BookSequence] = {}
        self._seq_base = 0
        self._latest_ns = 0
        self._untimed: list[int] = []
        self._tops = [array("q") for _ in range(3)]  # time, sequence, code
        self._top_prices, self._top_quantities = _Numbers(), _Numbers()
        self._messages = [array("q") for _ in range(6)]  # time, sequence, code, first level, bids, asks
        self._prices, self._quantities = _Numbers(), _Numbers()
        self._events = [array("q") for _ in range(4)]  # message (-1: book lost), snapshot, time, sequence
        self._event_codes = array("q")

    def read(self, path: Path) -> None:
        """Read one file.

        Raises:
            DataError: the file is truncated, or a line is not a message.
        """
        trades = _TradesOfFile()
        venue = names.venue_of_name(path.name)
        self._codes.clear()  # the next file may be of another venue
        last_line = 0
        for line, recv_ns, message in _messages(path):
            last_line = line
            data = message.data or message
            try:
                self._take(trades, data, message.stream, venue, line, recv_ns)
            except (ValueError, TypeError, IndexError) as e:
                raise DataError(f"{path}, line {line + 1}: is no message of a known stream ({e}).") from e
        self._close(path, trades)
        self._seq_base += last_line + 1

    def book(self) -> RawBook:
        """Return the book of everything read."""
        times, sequences, codes = (_ints(column) for column in self._tops)
        message_times, _, _, starts, bids, asks = (_ints(column) for column in self._messages)
        messages, snapshots, event_times, event_sequences = (_ints(column) for column in self._events)
        lost = messages < 0
        index = np.where(lost, 0, messages)
        has_messages = len(message_times) > 0
        event_codes = _ints(self._event_codes).astype(np.int32)
        return RawBook(
            markets=list(self.markets),
            top_ts=times,
            top_seq=sequences,
            top_codes=codes.astype(np.int32),
            top_prices=self._top_prices.column(),
            top_quantities=self._top_quantities.column(),
            depth_ts=_never_falling(event_times, event_codes),
            depth_seq=event_sequences,
            depth_codes=event_codes,
            snapshot=snapshots.astype(np.bool_),
            valid=~lost,
            starts=np.where(lost, 0, starts[index]) if has_messages else messages,
            bids=np.where(lost, 0, bids[index]) if has_messages else messages,
            asks=np.where(lost, 0, asks[index]) if has_messages else messages,
            prices=self._prices.column(),
            quantities=self._quantities.column(),
        )

    def warnings(self) -> list[str]:
        """Say what of the book could not be used, and what was passed over."""
        said = []
        for (_, symbol), code in self.markets.items():
            sequence = self._sequences.get(code)
            if sequence is None:
                continue
            if sequence.gaps:
                said.append(
                    f"{symbol}: {sequence.gaps} gaps in the depth sequence; the book is invalid from each to the next snapshot"
                )
            if sequence.unused:
                said.append(
                    f"{symbol}: {sequence.unused} depth changes are not used: no snapshot came that they follow"
                )
            if sequence.snapshots_too_old:
                said.append(
                    f"{symbol}: {sequence.snapshots_too_old} snapshots are older than the stream and were not used"
                )
        said += [
            f"{count} {what} messages were passed over"
            for what, count in sorted(self.seen.items())
            if what.startswith("other")
        ]
        return said

    def sequences(self) -> dict[str, BookSequence]:
        """Return how the depth sequence of each symbol went."""
        symbols = [symbol for _, symbol in self.markets]
        return {symbols[code]: sequence for code, sequence in self._sequences.items()}

    def _take(self, trades: _TradesOfFile, data: _Data, stream: str, venue: str, line: int, recv_ns: int) -> None:
        symbol = data.s or data.symbol
        if not symbol and len(self.markets) == 1:
            code = 0
        elif not symbol:
            self.seen["other snapshot without a symbol"] += 1
            return
        else:
            code = self._code(symbol, venue or _venue_of(data))
        kind = data.e or (
            "bookTicker" if stream.endswith("@bookTicker") or data.A else "snapshot" if data.lastUpdateId else ""
        )
        self.seen[kind if kind in _KNOWN else f"other {kind or 'unnamed'}"] += 1
        own_ns = (data.T or data.E) * _ms_or_us(data.T or data.E)
        if kind in ("trade", "aggTrade"):
            self._trade(trades, data, code, line, recv_ns, own_ns)
        elif kind == "bookTicker":
            self._top(data, code, line, own_ns)
        elif kind == "depthUpdate":
            self._change(data, code, line, own_ns)
        elif kind == "snapshot":
            self._snapshot(data, code, line, own_ns)
        self._latest_ns = max(self._latest_ns, own_ns)
        if self._untimed and self._latest_ns:
            self._date_untimed(self._latest_ns)

    def _code(self, symbol: str, venue: str) -> int:
        code = self._codes.get(symbol)
        if code is None:
            code = self._codes[symbol] = self.markets.setdefault((venue, symbol), len(self.markets))
        return code

    def _trade(self, trades: _TradesOfFile, data: _Data, code: int, line: int, recv_ns: int, own_ns: int) -> None:
        if data.X not in ("", "MARKET"):
            self.seen[f"other trade of type {data.X}"] += 1
            return
        trades.lines.append(line)
        trades.ts.append(own_ns)
        trades.codes.append(code)
        trades.recv.append(recv_ns)
        trades.sides.append(raw.SELL if data.m else raw.BUY)
        trades.prices.append(data.p)
        trades.quantities.append(data.q)
        is_aggregate = data.e == "aggTrade"
        trades.is_aggregate.append(is_aggregate)
        trades.ids.append(int(str(data.a)) if is_aggregate else data.t)
        trades.first_ids.append(data.f)
        trades.last_ids.append(data.l)

    def _top(self, data: _Data, code: int, line: int, own_ns: int) -> None:
        bid, ask = str(data.b), str(data.a)
        if not own_ns and not self._latest_ns:
            self._untimed.append(len(self._tops[0]))
        for column, value in zip(self._tops, (own_ns or self._latest_ns, self._seq_base + line, code), strict=True):
            column.append(value)
        self._top_prices.add([bid or "0", ask or "0"])
        self._top_quantities.add([data.B or "0", data.A or "0"])

    def _date_untimed(self, first_ns: int) -> None:
        """What came before the first time of the recording gets that first time."""
        for index in self._untimed:
            self._tops[0][index] = first_ns
        self._untimed.clear()

    def _change(self, data: _Data, code: int, line: int, own_ns: int) -> None:
        if not isinstance(data.b, list) or not isinstance(data.a, list):
            raise ValueError("depthUpdate without levels")
        sequence = self._sequences.get(code)
        if sequence is None:
            sequence = self._sequences[code] = BookSequence(futures=data.pu >= 0)
        message = self._keep(own_ns, code, line, data.b, data.a)
        applied = sequence.change(message, data.U, data.u, data.pu)
        if applied is None:
            self._emit(-1, code, own_ns, line, snapshot=False)
        elif applied:
            self._emit(message, code, own_ns, line, snapshot=False)

    def _snapshot(self, data: _Data, code: int, line: int, own_ns: int) -> None:
        sequence = self._sequences.get(code)
        if sequence is None:
            sequence = self._sequences[code] = BookSequence(futures=own_ns > 0)
        changes = sequence.take_snapshot(data.lastUpdateId)
        if changes is None:
            return
        now_ns = own_ns or self._latest_ns
        self._emit(self._keep(now_ns, code, line, data.bids, data.asks), code, now_ns, line, snapshot=True)
        for message in changes:
            self._emit(message, code, max(now_ns, self._messages[0][message]), line, snapshot=False)

    def _keep(self, ts_ns: int, code: int, line: int, bids: list[_Level], asks: list[_Level]) -> int:
        values = (ts_ns, self._seq_base + line, code, self._prices.count, len(bids), len(asks))
        for column, value in zip(self._messages, values, strict=True):
            column.append(value)
        self._prices.add([level[0] for level in bids] + [level[0] for level in asks])
        self._quantities.add([level[1] for level in bids] + [level[1] for level in asks])
        return len(self._messages[0]) - 1

    def _emit(self, message: int, code: int, ts_ns: int, line: int, *, snapshot: bool) -> None:
        for column, value in zip(self._events, (message, int(snapshot), ts_ns, self._seq_base + line), strict=True):
            column.append(value)
        self._event_codes.append(code)

    def _close(self, path: Path, trades: _TradesOfFile) -> None:
        """Keep the trades of a file as columns."""
        texts = {"price": trades.prices, "quantity": trades.quantities}
        lines = _ints(trades.lines)

        def cell(role: str, row: int) -> str:
            index = int(np.searchsorted(lines, row))
            return texts[role][index] if role in texts else str(trades.ts[index])

        part = RawTrades(
            path=path,
            label="raw capture",
            ts_ns=_ints(trades.ts),
            price=from_text(pl.Series(trades.prices, dtype=pl.String)),
            quantity=from_text(pl.Series(trades.quantities, dtype=pl.String)),
            side=_bytes(trades.sides),
            codes=_ints(trades.codes).astype(np.int32),
            markets=list(self.markets),
            ids=pl.Series(_ints(trades.ids)),
            recv_ns=pl.Series(_ints(trades.recv)),
            rows=lines,
            first_line=1,
            cell=cell,
            seq_base=self._seq_base,
        )
        aggregate = _bytes(trades.is_aggregate).astype(np.bool_)
        if aggregate.any():
            part.first_ids, part.last_ids = _ints(trades.first_ids), _ints(trades.last_ids)
            if not aggregate.all():
                part = part.take(~aggregate)
                part.first_ids = part.last_ids = None
                part.warnings.append(
                    f"{int(aggregate.sum())} aggTrades were left out: the capture holds the single trades too"
                )
        self.parts.append(part)


_KNOWN: Final = ("trade", "aggTrade", "bookTicker", "depthUpdate", "snapshot")


def first_receipt(path: Path) -> int:
    """Return when the first message of a capture was received, in nanoseconds."""
    for _, recv_ns, _ in _messages(path):
        return recv_ns
    return 0


def _messages(path: Path) -> Iterator[tuple[int, int, _Message]]:
    """Yield (line from 0, time of receipt, message)."""
    with reading(path), path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with reading(path), gzip.open(path, "rb") if packed else path.open("rb") as lines:
        for line, text in enumerate(lines):
            if not text.strip():
                continue
            try:
                if text.startswith(b"{"):
                    frame = _decode_frame(text)
                    yield line, frame.recv_ns, _decode_message(frame.raw)
                else:
                    recv, _, body = text.partition(b" ")
                    yield line, int(recv) * _ns_of(int(recv)), _decode_message(body)
            except (msgspec.DecodeError, ValueError) as e:
                raise DataError(
                    f"{path}, line {line + 1}: {text[:60].decode('utf-8', 'replace')!r}… is corrupt or truncated ({e})."
                    " Fetch the file again, or cut it before that line."
                ) from e


def _ns_of(value: int) -> int:
    """Return what a time of receipt has to be multiplied with (seconds to nanoseconds, by magnitude)."""
    return 1 if value >= 10**17 else 1_000 if value >= 10**14 else _MS if value >= 10**11 else 1_000 * _MS


def _ms_or_us(value: int) -> int:
    return 1_000 if value >= 10**14 else _MS


def _venue_of(data: _Data) -> str:
    if data.ps or "_PERP" in data.s:
        return "binance_cm"
    is_futures = data.pu >= 0 or bool(data.X) or (data.e == "bookTicker" and data.T > 0)
    return "binance_um" if is_futures or (data.e == "aggTrade" and data.M is None) else "binance_spot"


def _ints(values: Any) -> Ints:
    return np.array(values, dtype=np.int64)


def _bytes(values: bytearray) -> Bytes:
    return np.frombuffer(bytes(values), dtype=np.int8).copy()


def _never_falling(times: Ints, codes: np.ndarray[Any, np.dtype[np.int32]]) -> Ints:
    """Hold each market's depth events in the order of their sequence, whatever their times say."""
    result = times.copy()
    for code in np.unique(codes).tolist():
        rows = codes == code
        result[rows] = np.maximum.accumulate(times[rows])
    return result
