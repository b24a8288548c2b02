"""Incremental indicators: one update per bar, constant cost and memory, plain state.

Each is a mutable value that can be snapshot (it is a msgspec Struct) and compared. Floats live here, never in money.
The numbers equal TA-Lib's, start-up included, with its unstable period left at 0.
"""

from claire.indicators.adx import Adx
from claire.indicators.atr import Atr
from claire.indicators.ema import Ema

__all__ = ["Adx", "Atr", "Ema"]
