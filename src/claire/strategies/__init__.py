"""Strategies: what to wish for. One small file each; see `docs/write-a-strategy.md` for the ten-minute guide."""

from claire.strategies.base import Opinion, Strategy, StrategyParams
from claire.strategies.registry import known_kinds, load

__all__ = ["Opinion", "Strategy", "StrategyParams", "known_kinds", "load"]
