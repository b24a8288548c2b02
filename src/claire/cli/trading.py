"""`claire run` and `claire backtest`: one configuration, one market, one run, and what it came to."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from msgspec import Struct

from claire.adapters.config import Loaded, Mode, Settings, load
from claire.cli import market
from claire.cli.output import print_json
from claire.cli.plan import NEAREST_MODE
from claire.cli.report import summary_text
from claire.cli.runs import check_runs_folder, existing_runs, find_run, make_runs_folder
from claire.cli.screen import Bar, LiveScreen, Screen
from claire.engine.ports import MarketSource
from claire.model.errors import SafetyRefusal, UsageError, did_you_mean
from claire.services.embedded import run_market
from claire.services.keeping import RunResult

PATIENCE_S = 2.0
"""After this long a run that was asked to end, and has not, says what it waits for."""


class Again(Struct, frozen=True):
    """What was asked for about an earlier run."""

    run: str = ""
    """``--continue``: the run to go on with."""
    adopt: str = ""
    """``--adopt``: the strategy that takes over positions whose own is not configured any more."""
    reduces_orphans: bool = False
    """``--reduce-only-orphans``: such positions are only sold."""
    starts_anew: bool = False
    """``--fresh``: what an earlier run left at the venue is its owner's."""
    releases: tuple[str, ...] = ()
    """``--release``: locks of the trading state to take back, by source; ``restart``: exits that wait for a word."""
    adjustments: tuple[str, ...] = ()
    """``--adjust``: corrections of the books, as ASSET=AMOUNT."""
    operator: str = ""
    reason: str = ""
    externals: tuple[str, ...] = ()
    """``--external``: what came or went that is not Claire's, as ASSET=AMOUNT."""


class Request(Struct, frozen=True):
    """What was asked for on the command line."""

    config: Path | None
    assignments: Sequence[str]
    symbols: Sequence[str]
    strategy: str
    venue: str
    source: str
    data: Sequence[Path]
    runs: Path | None
    as_json: bool
    mode: str = ""
    speed: str = ""
    start: str = ""
    end: str = ""
    span: str = ""
    universe: str = ""
    again: Again = Again()


class Stop:
    """Notes that the run shall end: once asked, in order; asked twice, at once."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.signal = 0
        self._is_heard = False

    def __call__(self) -> bool:
        """Whether the run shall end."""
        self._is_heard = self.signal != 0
        return self._is_heard

    def ask(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)

    def explain(self, _number: int, _frame: FrameType | None) -> None:
        """Say why the run goes on, `PATIENCE_S` after it was asked to end."""
        what = "ending the run in order" if self._is_heard else "waiting for the strategy to answer"
        # A handler may interrupt a print: only this way of writing cannot meet itself.
        os.write(2, f"claire: {what}; again to stop now\n".encode())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle Ctrl-C and SIGTERM while inside."""
        handlers = {signal.SIGINT: self.ask, signal.SIGTERM: self.ask, signal.SIGALRM: self.explain}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)


def run(request: Request) -> int:
    """Trade over a synthetic, recorded or live market; return the exit code."""
    if request.again.run:
        return _go_on(request)
    _refuse_without_continue(request.again)
    loaded = _load(request, "")
    settings = loaded.settings
    if request.again.starts_anew and settings.mode is not Mode.TESTNET:
        raise UsageError(
            f"--fresh is for accounts at a venue; in mode {settings.mode} each run begins with its own money"
        )
    if settings.mode is Mode.BACKTEST:
        raise UsageError("mode = backtest is claire backtest --data FILE; claire run trades in mode paper")
    refuse_unbuilt(settings.mode)
    if settings.mode is Mode.TESTNET or market.is_live(request.source or settings.market.source):
        return _run_live(request, settings)
    if request.universe:
        raise UsageError(f"--symbols {request.universe} is for live markets; name symbols with --symbol")
    wanted = market.wanted(request.source or settings.market.source, request.data, "synth")
    window = market.parse_window(request.start, request.end, request.span)
    is_watched = wanted.kind == "synth" and "trades" not in wanted.options
    speed = market.parse_speed(request.speed, market.SYNTH_SPEED if is_watched else None)
    check_runs_folder(request.runs)
    source = market.open_market(wanted, settings, request.venue or None, window)
    _refuse_untraded(loaded, source)
    title = _title(settings, source, wanted, speed)
    screen = (LiveScreen if sys.stderr.isatty() else Screen)(title, source.info.rows)
    stop = Stop()
    with stop.listening(), screen:
        result = run_market(
            settings,
            source,
            runs_dir=make_runs_folder(request.runs),
            mode=settings.mode.value,
            speed=speed,
            observers=(screen,),
            on_progress=screen,
            should_stop=stop,
        )
    return _ended(result, request, wanted, stop)


def _run_live(request: Request, settings: Settings) -> int:
    from claire.cli.live import refuse_options, run_mexc
    from claire.services.mexc import Universe

    source = request.source or settings.market.source
    if request.data or (source and not market.is_live(source)):
        raise UsageError(f"mode {settings.mode} trades live: leave out --data and --source, or use --mode paper")
    refuse_options(speed=request.speed, start=request.start, end=request.end)
    stop = Stop()
    with stop.listening():
        result = run_mexc(
            settings,
            Universe.of(request.universe),
            runs_dir=make_runs_folder(request.runs),
            duration_s=market.parse_window("", "", request.span).duration_s,
            should_stop=stop,
            starts_anew=request.again.starts_anew,
        )
    return _ended(result, request, market.Wanted("live"), stop)


def _go_on(request: Request) -> int:
    """Go on with a run that was stopped."""
    from claire.services.feeding import is_live
    from claire.services.recovery import GoOn, header_of, settings_of

    _refuse_with_continue(request)
    again = request.again
    run_dir = find_run(again.run, existing_runs(request.runs))
    header = header_of(run_dir)
    if not is_live(header.source):
        return _go_on_with_market(request, run_dir)
    given = _load(request, header.mode).settings if request.config is not None else None
    settings = settings_of(run_dir, given, request.assignments)
    from claire.cli.live import run_mexc
    from claire.services.mexc import Universe

    go_on = GoOn(
        run_dir,
        again.adopt,
        again.reduces_orphans,
        again.releases,
        again.adjustments,
        again.operator,
        _decided(again, run_dir, settings),
        again.externals,
    )
    stop = Stop()
    with stop.listening():
        result = run_mexc(
            settings,
            Universe(symbols=header.source.symbols),
            runs_dir=run_dir.parent,
            duration_s=market.parse_window("", "", request.span).duration_s,
            should_stop=stop,
            go_on=go_on,
        )
    return _ended(result, request, market.Wanted("live"), stop)


def _decided(again: Again, run_dir: Path, settings: Settings) -> str:
    """Return why, and by which decision on record, an operator does what was asked for; it is used up by that.

    Raises:
        SafetyRefusal: books at a venue are to be corrected, and nobody decided that on record.
    """
    if not again.adjustments or settings.mode is not Mode.TESTNET:
        return again.reason
    from claire.services.account import ACCOUNTS
    from claire.services.deciding import use_decision

    account = run_dir.parent / ACCOUNTS / settings.account.id
    used = use_decision(account, "adjustment", f"run {run_dir.name}: --adjust {' --adjust '.join(again.adjustments)}")
    return f"{again.reason} [decision {used.ruled.number}, {used.head[:12]}]"


def _go_on_with_market(request: Request, run_dir: Path) -> int:
    """Go on with a run over a synthetic or recorded market."""
    from claire.services.embedded import continue_market

    again = request.again
    said = (again.adopt, again.reduces_orphans, again.releases, again.adjustments, again.externals)
    if request.config or request.assignments or any(said):
        raise UsageError(
            f"run {run_dir.name} goes over a finite market: it is decided again from its start, so nothing can be changed."
            " Start a new run with other settings"
        )
    speed = market.parse_speed(request.speed, None)
    screen = (LiveScreen if sys.stderr.isatty() else Screen)(f"CONTINUED · {run_dir.name}", 0)
    stop = Stop()
    with stop.listening(), screen:
        result = continue_market(
            run_dir, request.data, speed=speed, observers=(screen,), on_progress=screen, should_stop=stop
        )
    return _ended(result, request, market.Wanted("recorded"), stop)


def _refuse_without_continue(again: Again) -> None:
    """Refuse what only a run that is gone on with can be told.

    Raises:
        UsageError: naming the first such option.
    """
    told = {
        "--adopt": again.adopt,
        "--reduce-only-orphans": again.reduces_orphans,
        "--release": again.releases,
        "--adjust": again.adjustments,
        "--external": again.externals,
        "--operator": again.operator,
        "--reason": again.reason,
    }
    for name, value in told.items():
        if value:
            raise UsageError(f"{name} goes with --continue RUN: a new run has nothing yet that it could be about")


def _refuse_with_continue(request: Request) -> None:
    """Refuse what a run that is gone on with has settled already.

    Raises:
        UsageError: naming the first such option, or what an operator's word lacks.
    """
    settled = {
        "--source": request.source,
        "--start": request.start,
        "--end": request.end,
        "--mode": request.mode,
        "--symbols": request.universe,
        "--symbol": request.symbols,
        "--strategy": request.strategy,
        "--fresh": request.again.starts_anew,
    }
    for name, value in settled.items():
        if value:
            raise UsageError(
                f"{name} does not go with --continue: a run goes on with the market and mode that it began with."
                " Other settings: --set KEY=VALUE or --config FILE"
            )
    again = request.again
    if again.adopt and again.reduces_orphans:
        raise UsageError(
            "--adopt and --reduce-only-orphans exclude each other: choose what becomes of orphaned positions"
        )
    if (again.releases or again.adjustments or again.externals) and not (again.operator and again.reason):
        raise UsageError(
            "--release, --adjust and --external want an operator's word: add --operator NAME and --reason TEXT"
        )


def backtest(request: Request) -> int:
    """Run a strategy over a recording as fast as it goes; return the exit code."""
    loaded = _load(request, Mode.BACKTEST.value)
    settings = loaded.settings
    if not request.data and not (request.source or settings.market.source):
        raise UsageError("claire backtest needs a market: --data FILE (or --source synth:trades=100000)")
    wanted = market.wanted(request.source or settings.market.source, request.data, "")
    window = market.parse_window(request.start, request.end, request.span)
    check_runs_folder(request.runs)
    source = market.open_market(wanted, settings, request.venue or None, window)
    _refuse_untraded(loaded, source)
    stop = Stop()
    with stop.listening(), Bar("backtest", source.info.rows) as bar:
        result = run_market(
            settings,
            source,
            runs_dir=make_runs_folder(request.runs),
            mode=Mode.BACKTEST.value,
            on_progress=bar,
            should_stop=stop,
        )
    return _ended(result, request, wanted, stop)


def refuse_unbuilt(mode: Mode) -> None:
    """Refuse a mode that is designed and not built.

    Raises:
        SafetyRefusal: naming the nearest mode that is.
    """
    nearest = NEAREST_MODE.get(mode.value)
    if nearest:
        raise SafetyRefusal(
            f"mode {mode.value} is not built yet, so nothing was started. The nearest mode is {nearest}:"
            f" claire run --mode {nearest}. ROADMAP.md says when {mode.value} comes."
        )


def _load(request: Request, mode: str) -> Loaded:
    return load(
        config=request.config,
        environ=os.environ,
        assignments=request.assignments,
        symbols=request.symbols,
        strategy=request.strategy,
        mode=mode or request.mode,
    )


def _refuse_untraded(loaded: Loaded, source: MarketSource) -> None:
    """Refuse rules that `--set` gives to a symbol that the market does not have, where no symbols are configured."""
    for name, place in loaded.sources.items():
        parts = name.split(".")
        if place.startswith("--set ") and parts[0] == "instruments" and parts[1] not in source.instruments:
            traded = list(source.instruments)
            hint = did_you_mean(parts[1], traded) or f" Traded: {', '.join(traded)}."
            raise UsageError(f"{name}: {parts[1]} is not traded.{hint}   ({place})")


def _title(settings: Settings, source: MarketSource, wanted: market.Wanted, speed: float | None) -> str:
    words = [settings.mode.value.upper()]
    if wanted.label:
        words.append(wanted.label)
    else:
        words += [Path(path).name for path in wanted.paths]
    words += [" ".join(source.info.symbols), " ".join(strategy.id for strategy in settings.strategy)]
    words.append("full speed" if speed is None else f"{speed:g}x")
    return " · ".join(words)


def _ended(result: RunResult, request: Request, wanted: market.Wanted, stop: Stop) -> int:
    """Say what the run came to; return 0, or 128 plus the signal that ended it."""
    if request.as_json:
        print_json(result.summary)
    else:
        print(
            summary_text(result.summary, wanted.label, coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        )
    return 128 + stop.signal if stop.signal else 0
