"""What a run says at its end, and what a replay found: text for people."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from claire.cli.output import duration, grouped, money, percent
from claire.engine.compare import Difference
from claire.services.replay import ReplayResult
from claire.services.summary import Summary

DENIED_ROW = 4
"""The first row on the left that is about denials."""
LATCHES_SHOWN = 5
"""Of the locks that were set in a run."""
RED = "\033[1;31m{}\033[0m"


def summary_text(summary: Summary, label: str, *, coloured: bool = False) -> str:
    """Return the summary of a run as a page of text.

    Args:
        summary: What the run came to.
        label: What kind of market it was, for example ``STUB``.
        coloured: Show denials in red, for a terminal.
    """
    red = RED if coloured else "{}"
    return "\n".join(_summary_lines(summary, label, red))


def _summary_lines(summary: Summary, label: str, red: str) -> Iterator[str]:
    currency = summary.currency
    symbols = _few(summary.symbols)
    took = f"{duration(summary.market_s)} of market in {duration(summary.elapsed_s)}"
    yield ""
    head = f" {symbols}  {_few(summary.strategies)}   {took}"
    yield f"{head:<58}  run {summary.run_id}  (replay: claire replay {short(summary.run_id)})"
    about = [summary.mode, *([label] if label else [])]
    if summary.risk_profile != "default":
        about.append(f"risk profile {summary.risk_profile}: NO LIMITS but cash and the venue's rules")
    if summary.continued:
        times = "once" if summary.continued == 1 else f"{summary.continued} times"
        about.append(f"gone on with {times}: time, speed and notes are of the last process, all else of the whole run")
    if summary.interrupted:
        about.append("INTERRUPTED before the end of the market")
    yield f" {' · '.join(about)}"
    yield ""
    left = [
        _row("trades seen", grouped(summary.trades_in)),
        _row("signals", grouped(summary.signals)),
        _row("orders", grouped(summary.orders)),
        _row("fills", grouped(summary.fills)),
        _row("denied", grouped(sum(summary.denials.values()))),
        *(_row(f"  {code}", grouped(count)) for code, count in summary.denials.items()),
    ]
    start, final = Decimal(summary.start_equity), Decimal(summary.final_equity)
    gain = f"   ({percent(100 * (final - start) / start)})" if start else ""
    right = [
        f"equity       {money(summary.start_equity, currency)} → {money(summary.final_equity, currency)} {currency}{gain}",
        f"fees         {money(summary.fees_paid, currency)}       slippage  {money(summary.slippage, currency)}",
        f"drawdown     {summary.max_drawdown_pct:.2f} %",
        f"round trips  {grouped(summary.round_trips)}       won {grouped(summary.round_trips_won)}",
        f"open         {grouped(summary.open_positions) if summary.open_positions else 'none'}       dust {_dust(summary)}",
        f"speed        {grouped(round(summary.trades_per_s))} trades/s   memory {summary.peak_rss_mb:.0f} MB",
    ]
    for number in range(max(len(left), len(right))):
        first = f"{left[number] if number < len(left) else '':<36}"
        if summary.denials and number >= DENIED_ROW:
            first = red.format(first)
        second = right[number] if number < len(right) else ""
        yield f" {first}{second}".rstrip()
    yield ""
    if summary.suppressed:
        yield " no signal    " + ", ".join(
            f"{reason} {grouped(count)}" for reason, count in summary.suppressed.items() if count
        )
    yield f" digest       {summary.decision_digest}"
    for latch in summary.latches[:LATCHES_SHOWN]:
        length = f"{duration(latch.length_s)}{'' if latch.end_ms else ', still set'}"
        yield f" locked       {latch.source}: {latch.state}, {length}, {latch.signals_lost} entries lost ({latch.reason})"
    if len(summary.latches) > LATCHES_SHOWN:
        yield f" locked       and {len(summary.latches) - LATCHES_SHOWN} more; summary.json has them all"
    for warning in summary.warnings:
        yield f" note         {warning}"
    if not summary.fills:
        yield f" no fills     {_why_no_fills(summary)}"
    yield ""


def _why_no_fills(summary: Summary) -> str:
    if not summary.signals:
        return "no strategy saw a reason to enter; try a lower threshold: --set threshold_pct=0.5"
    if summary.denials:
        most = max(summary.denials, key=lambda code: summary.denials[code])
        return f"risk refused every entry, mostly {most}; docs/denials.md tells what it means"
    return "orders were sent and none was filled"


def replay_text(result: ReplayResult) -> str:
    """Return what a replay found as text."""
    decisions, difference = grouped(result.decisions), result.first_difference
    if difference is None:
        lines = [f" run {result.run_id}: {decisions} decisions decided again from {result.inputs}"]
    else:
        equal = f"{decisions} decision{'' if result.decisions == 1 else 's'} equal, " if result.decisions else ""
        where = f"first difference at decision {grouped(difference.decision)}"
        lines = [f" run {result.run_id}: decided again from {result.inputs}, {equal}{where}"]
    if result.identical:
        lines.append(f" IDENTICAL    {result.decision_digest}")
    else:
        lines += _difference_lines(difference)
    if result.truncated:
        lines.append(f" cut off      {result.truncated}")
    lines += [f" note         {note}" for note in result.notes]
    return "\n".join(lines)


def _difference_lines(difference: Difference | None) -> Iterator[str]:
    if difference is None:
        return
    recorded, replayed = difference.recorded or {}, difference.replayed or {}
    event = recorded.get("event") or replayed.get("event")
    yield f" DIFFERENT    decision {grouped(difference.decision)}, input {grouped(difference.input_no)}: {event}"
    if not recorded:
        yield f"   the journal has no further decision; the replay decided {replayed}"
    elif not replayed:
        yield f"   the journal has {recorded}; the replay decided nothing more"
    else:
        names = [name for name in difference.fields if name in recorded or name in replayed]
        rows = [("", "recorded", "replayed")]
        rows += [(name, str(recorded.get(name, "-")), str(replayed.get(name, "-"))) for name in names]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        for name, before, now in rows:
            yield f"   {name:<{widths[0]}}  {before:<{widths[1]}}  {now}".rstrip()
        if "input_no" in difference.fields:
            yield "   caused by another input than then"


def short(run_id: str) -> str:
    """The part of a run id that a person types."""
    return run_id.rpartition("-")[2]


def _row(name: str, value: str) -> str:
    return f"{name:<22}{value:>10}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _dust(summary: Summary) -> str:
    return ", ".join(f"{quantity} {asset}" for asset, quantity in summary.dust.items()) or "none"
