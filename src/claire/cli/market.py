"""`--source` and `--data`: where market data comes from, in the words of the command line, and opening it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from claire.adapters.config.schema import InstrumentSettings, Settings
from claire.adapters.config.strategies import convert
from claire.adapters.config.words import meant
from claire.engine.ports import MarketSource
from claire.model.errors import DataError, UsageError, did_you_mean
from claire.model.instrument import split_symbol

LIVE_SOURCES = ("mexc", "mexc_pb")
KINDS = ("synth", "stub", "recorded", *LIVE_SOURCES)
SYNTH_DURATION_S = 5400
"""Market time of a synthetic market where nothing else is said: 1.5 hours, 45 seconds at the usual speed."""
SYNTH_SPEED = 120.0
"""Market seconds per second, for a synthetic market that a person watches."""
LIVELY = {"seed": "3", "rate": "5", "moves_per_hour": "8", "move_pct": "4", "move_s": "240"}
"""The synthetic market that `claire run` shows: moves that the default strategy trades. `synth:KEY=VALUE` changes it."""


class Wanted(Struct, frozen=True):
    """A market source as it was asked for."""

    kind: str
    """``synth`` or ``recorded``."""
    paths: tuple[str, ...] = ()
    options: dict[str, str] = {}
    is_stub: bool = False
    """Asked for as ``stub``: the old name of the synthetic source, which says so everywhere."""

    @property
    def label(self) -> str:
        """What results say about the market."""
        if self.kind in ("recorded", "live"):
            return ""
        return "STUB: synthetic market" if self.is_stub else "synthetic market"


class Window(Struct, frozen=True):
    """The part of a market that is wanted, in market time."""

    start_ns: int | None = None
    end_ns: int | None = None
    duration_s: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start_ns is None and self.end_ns is None and self.duration_s is None


def is_live(text: str) -> bool:
    """Whether a source is the live market."""
    return text in LIVE_SOURCES


def wanted(text: str, data: Sequence[Path], default: str) -> Wanted:
    """Understand `--source` and `--data`.

    Raises:
        UsageError: both are given, or the source is none that exists.
        SafetyRefusal: the source is not built yet.
    """
    if data:
        if text:
            raise UsageError(f"--data {data[0]} and --source {text} name two markets; give one of them")
        return Wanted("recorded", tuple(map(str, data)))
    kind, _, rest = (text or default).partition(":")
    if is_live(kind):
        raise UsageError(f"--source {kind} is a live market: claire run trades it, a backtest needs --data FILE")
    if kind == "recorded":
        if not rest:
            raise UsageError("--source recorded needs its file: --source recorded:FILE")
        return Wanted("recorded", (rest,))
    if kind in ("synth", "stub"):
        return Wanted("synth", options=_options(rest), is_stub=kind == "stub")
    raise UsageError(
        f"--source {text or default}: there is no source {kind}.{did_you_mean(kind, KINDS)}"
        " Sources: synth[:KEY=VALUE,...], recorded:FILE."
    )


def open_market(market: Wanted, settings: Settings, venue: str | None, window: Window) -> MarketSource:
    """Open a market for a run.

    Raises:
        ClaireError: the file cannot be used, an option is unknown or out of range, or the window holds no trades.
    """
    if market.kind == "synth":
        return _synthetic(market, settings, window)
    from claire.adapters.marketdata import open_sources

    rules = {
        symbol: {name: value for name, value in structs_of(rule) if value is not None}
        for symbol, rule in settings.instruments.items()
    }
    chosen: dict[str, Any] = {"symbols": settings.symbols, "venue": venue, "rules": rules}
    source = open_sources(market.paths, **chosen)
    if window.is_whole:
        return source
    start, end = _rows(source, window, market.paths[0])
    return open_sources(market.paths, **chosen, start=start, end=end)


def structs_of(rule: Any) -> Iterator[tuple[str, Any]]:
    """The rules of one configured instrument."""
    yield from rule.model_dump().items()


def parse_speed(text: str, default: float | None) -> float | None:
    """Market seconds per second of `--speed max|Nx`; None is as fast as it goes.

    Raises:
        UsageError: it is neither.
    """
    if not text:
        return default
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1_000_000:
        raise UsageError(f"--speed {text}: give max, or market seconds per second such as 1x, 60x or 600x")
    return speed


def parse_window(start: str, end: str, span: str) -> Window:
    """`--start`, `--end` and `--duration` as a window.

    Raises:
        UsageError: one of them is not understood, or the window ends before it starts.
    """
    window = Window(_moment("--start", start), _moment("--end", end), _seconds(span))
    if window.start_ns is not None and window.end_ns is not None and window.end_ns <= window.start_ns:
        raise UsageError(f"--end {end} is not after --start {start}")
    return window


def _options(text: str) -> dict[str, str]:
    options = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--source synth: '{part}' is not KEY=VALUE, as in synth:seed=7,rate=20")
        options[name.strip()] = value.strip()
    return options


def _synthetic(market: Wanted, settings: Settings, window: Window) -> MarketSource:
    from claire.adapters.marketdata import SyntheticMarket, SynthSettings

    symbols: Sequence[str] = settings.symbols
    if len(symbols) > 1:
        raise UsageError(
            f"the synthetic market has one symbol, and {', '.join(symbols)} are to be traded; choose one with --symbol"
        )
    if window.start_ns is not None or window.end_ns is not None:
        raise UsageError("--start and --end are for recordings; a synthetic market takes --duration")
    given = dict(market.options)
    if "trades" not in given:
        given.setdefault("duration_s", str(round(window.duration_s or SYNTH_DURATION_S)))
    if symbols:
        given.setdefault("symbol", symbols[0])
    rules = settings.instruments.get(given.get("symbol", "BTCUSDT"))
    _refuse_assets(given.get("symbol", "BTCUSDT"), rules)
    for name in ("tick", "lot", "min_notional"):
        if rules is not None and getattr(rules, name) is not None:
            given.setdefault(name, str(getattr(rules, name)))
    known = {field.name: field.type for field in structs.fields(SynthSettings)}
    values = {}
    for name, value in {**LIVELY, **given}.items():
        if name not in known:
            hint = f"{did_you_mean(name, known)} Options: {', '.join(known)}."
            raise UsageError(f"--source synth: {name} is not an option.{hint}")
        try:
            values[name] = convert(value, known[name])
        except ValueError:
            hint = meant(value, "a number, in seconds" if name.endswith("_s") else "a number")
            raise UsageError(f"--source synth: {name} = {value} is not a plain value of its kind.{hint}") from None
    return SyntheticMarket(SynthSettings(**values))


def _refuse_assets(symbol: str, rules: InstrumentSettings | None) -> None:
    """Refuse assets that the synthetic market would not trade: it knows its symbol's only."""
    try:
        base, quote = split_symbol(symbol)
    except DataError:
        says = f"{symbol}: the synthetic market takes a symbol that tells base and quote, as in --symbol ETHUSDC"
        raise UsageError(says) from None
    for name, own in (("base", base), ("quote", quote)):
        asked = getattr(rules, name, None)
        if asked not in (None, own):
            raise UsageError(
                f"instruments.{symbol}.{name} = {asked}: the synthetic market of {symbol} trades {base} against {quote};"
                " choose its assets with --symbol, as in --symbol ETHUSDC"
            )


def _moment(option: str, text: str) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: give a UTC date or time, such as 2024-10-27 or 2024-10-27T06:30") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _seconds(text: str) -> float | None:
    if not text:
        return None
    size = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
    number = text.rstrip("smindh")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * size[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds <= 31_536_000:
        raise UsageError(f"--duration {text}: give a span of market time, such as 5400s, 90m or 1.5h (at most a year)")
    return seconds


def _rows(source: MarketSource, window: Window, path: str) -> tuple[int, int]:
    """The range of events that lie in a window of time."""
    first_ns, last_ns = source.info.first_ns, source.info.last_ns
    start_ns = first_ns if window.start_ns is None else window.start_ns
    end_ns = last_ns + 1 if window.end_ns is None else window.end_ns
    if window.duration_s is not None:
        end_ns = min(end_ns, max(start_ns, first_ns) + round(window.duration_s * 1_000_000_000))
    start = end = number = 0
    for batch in source.batches():
        if batch and batch[-1].ts_event_ns < start_ns:
            number += len(batch)
            start = end = number
            continue
        for event in batch:
            number += 1
            if event.ts_event_ns < start_ns:
                start = number
            if event.ts_event_ns < end_ns:
                end = number
    if end <= start:
        times = [datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="seconds") for ns in (first_ns, last_ns)]
        raise DataError(
            f"{path}: nothing was traded in the time asked for; the recording covers {times[0]} to {times[1]}"
        )
    return start, end
