"""Figures of trials, as JSON tells them."""

from collections.abc import Iterable, Sequence
from typing import Any

from claire.drill.killswitch.trials import Row, Trial
from claire.drill.killswitch.trouble import Trouble

QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}


def spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Return the quantiles of a number of milliseconds, each one that was measured (no interpolation); None: there is none."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return dict.fromkeys(QUANTILES)
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(len(ordered) * share))], 3) for name, share in QUANTILES.items()}


def late(row: Row) -> int:
    """Return how many orders left more than a second after T0."""
    return sum(trial.late for trial in (*row.gate, *row.full))


def closed(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return when the gate was closed, over all trials."""
    return spread(trial.closed_ms for row in rows for trial in (*row.gate, *row.full))


def asked(rows: Sequence[Row]) -> dict[Trouble, float | None]:
    """Return how many orders a second the gate was asked for, in the middle of each row's short trials."""
    found: dict[Trouble, float | None] = {}
    for row in rows:
        ordered = sorted(trial.asked_per_s for trial in row.gate if trial.asked_per_s is not None)
        found[row.trouble] = round(ordered[len(ordered) // 2]) if ordered else None
    return found


def document(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all rows as the command prints them."""
    return {"faults": {row.trouble.value: _row(row) for row in rows}}


def is_failed(rows: Sequence[Row]) -> bool:
    """Whether an order was late, a gate took longer than a second, or something happened that may not."""
    slowest = closed(rows)["max"] or 0.0
    return slowest > 1000 or any(late(row) or row.violations for row in rows)


def _row(row: Row) -> dict[str, Any]:
    every: list[Trial] = [*row.gate, *row.full]
    return {
        "trials": len(every),
        "late_orders": late(row),
        "gate_closed_ms": spread(trial.closed_ms for trial in every),
        "first_cancel_ms": spread(trial.first_cancel_ms for trial in row.full),
        "proven_empty_ms": spread(trial.proven_empty_ms for trial in row.full),
    }


def table(rows: Sequence[Row]) -> list[str]:
    """Return all rows for a person, in milliseconds."""
    heads = ("gate closed p50 / p99.9 / max", "first cancel p50 / max", "proven empty p50 / max")
    lines = [_line("ms since the trigger", "trials", "late", *heads)]
    for row in rows:
        told = _row(row)
        lines.append(
            _line(
                row.trouble,
                told["trials"],
                told["late_orders"],
                _said(told["gate_closed_ms"], "p50", "p999", "max"),
                _said(told["first_cancel_ms"], "p50", "max"),
                _said(told["proven_empty_ms"], "p50", "max"),
            )
        )
    trials = sum(len(row.gate) + len(row.full) for row in rows)
    lines.append(_line("all", trials, sum(map(late, rows)), _said(closed(rows), "p50", "p999", "max"), "", ""))
    return lines


def _line(name: str, trials: object, late_orders: object, gate: str, cancel: str, empty: str) -> str:
    return f"{name:20} {trials:>6} {late_orders:>4}  {gate:>30}  {cancel:>22}  {empty:>22}".rstrip()


def remarks(rows: Sequence[Row]) -> list[str]:
    """Return what the figures do not say: what went wrong, how often the gate was asked, how long the command took to start."""
    lines = [violation for row in rows for violation in row.violations]
    rates = [rate for rate in asked(rows).values() if rate is not None]
    if rates:
        lines.append(f"the gate was asked for {min(rates):.0f} to {max(rates):.0f} orders a second, trouble by trouble")
    started = spread(trial.start_up_ms for row in rows for trial in row.full)
    if started["p50"] is not None:
        lines.append(f"claire kill took {_said(started, 'p50', 'max')} ms to start (p50 / max), before T0")
    sent = spread(trial.all_sent_ms for row in rows for trial in row.full if not row.trouble.is_lifted)
    if sent["p50"] is not None:
        lines.append(
            f"all cancels were sent after {_said(sent, 'p50', 'max')} ms (p50 / max), where the venue let them"
        )
    return lines + [f"{row.trouble}: {note}" for row in rows for note in row.notes]


def _said(told: dict[str, float | None], *names: str) -> str:
    values = [told[name] for name in names]
    return " / ".join("-" if value is None else f"{value:,.1f}" for value in values)
