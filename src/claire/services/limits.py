"""What risk allows now, as an operator is shown it: the locks that are set, and each limit with how much of it is used."""

from decimal import Decimal

from claire.model.money import plain_text
from claire.services.views import Row
from claire.stages.controls_limits import Limit, limits
from claire.stages.risk import Risk
from claire.stages.risk_state import SOFT_PCT

AT_LEAST = "C11"
"""The control whose number is what has to be left, not what may be used."""


def locks_of(risk: Risk) -> list[Row]:
    """Return the locks of the trading state: who set each, why, since when, for what, and until when."""
    return [
        {
            "source": source,
            "state": lock.state.value,
            "symbol": lock.symbol,
            "strategy": lock.strategy_id,
            "reason": lock.reason,
            "since_ns": lock.since_ns,
            "until_ns": lock.until_ns,
        }
        for source, lock in risk.state.locks.items()
    ]


def limits_of(risk: Risk, now_ns: int) -> list[Row]:
    """Return each limit with its use at a market time; amounts and counts are exact decimal text."""
    return [_row(limit) for limit in limits(risk, now_ns)]


def _row(limit: Limit) -> Row:
    used_pct = None
    if limit.used is not None and limit.allowed and limit.control != AT_LEAST:
        used_pct = float(100 * limit.used / limit.allowed)
    return {
        "control": limit.control,
        "limit": f"risk.{limit.name}",
        "scope": limit.scope,
        "setting": f"{plain_text(limit.value)} {limit.unit}",
        "ceiling": _text(limit.ceiling),
        "used": _text(limit.used),
        "allowed": _text(limit.allowed),
        "unit": f"{limit.used_unit} free, at least" if limit.control == AT_LEAST else limit.used_unit,
        "used_pct": used_pct,
        "warns": limit.enforced and used_pct is not None and used_pct >= SOFT_PCT,
        "enforced": limit.enforced,
    }


def _text(value: Decimal | None) -> str:
    return "" if value is None else plain_text(value)
