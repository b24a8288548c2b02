"""Momentum once more, in the fewest words: no Claire code, whole ticks and lots, money in units of 10⁻¹⁸.

Rules: enter when the price rose by `threshold` percent over `lookback` ns; the order fills at the very trade, a tick worse;
leave at the stop, the target, or after `hold` ns; fees in quote, rounded half-even to `scale` units.
"""

from fractions import Fraction
from math import ceil, floor


def backtest(trades, unit, cash, *, lookback, threshold, stop, target, hold, size=5, fee_bps=5, scale=10**10):
    """Return round trips (entry ns, exit ns, entry ticks, exit ticks, lots) and the final equity in units.

    `trades` are (ns, ticks); `unit` is what one lot is worth at one tick; `stop`, `target` and `size` are percent.
    """
    trips: list[tuple[int, ...]] = []
    past: list[tuple[int, int]] = []
    oldest, reference = 0, None
    lots = bought = since = stop_at = target_at = price = 0
    for now, price in trades:
        while oldest < len(past) and past[oldest][0] <= now - lookback:
            reference, oldest = past[oldest][1], oldest + 1
        past.append((now, price))
        if lots:
            if price <= stop_at or price >= target_at or now >= since + hold:
                cash += (price - 1) * lots * unit - fee((price - 1) * lots * unit, fee_bps, scale)
                trips.append((since, now, bought, price - 1, lots))
                lots = 0
        elif reference and (price / reference - 1.0) * 100.0 >= threshold:
            lots = floor(Fraction(size) / 100 * cash / (price * unit))
            bought, since = price + 1, now
            cash -= bought * lots * unit + fee(bought * lots * unit, fee_bps, scale)
            stop_at, target_at = floor(bought * (1 - Fraction(stop) / 100)), ceil(bought * (1 + Fraction(target) / 100))
    return trips, cash + lots * price * unit


def fee(value, bps, scale):
    """Return a fee, rounded half-even."""
    return round(Fraction(value) * Fraction(bps) / 10_000 / scale) * scale
