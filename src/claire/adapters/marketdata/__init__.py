"""Market data from outside: recordings of many formats, candle files, raw captures, and a generator of synthetic markets.

Needs the extra `data` (numpy, polars). Import it where it is used, not at the top of a program: it takes a quarter of a
second to load.
"""

from claire.model.errors import UsageError

try:
    import numpy as _numpy  # noqa: F401
    import polars as _polars  # noqa: F401
except ModuleNotFoundError as e:
    raise UsageError(f"market data files need {e.name}, which is not installed: pip install 'claire[data]'") from e

from claire.adapters.marketdata.opening import open_source, open_sources
from claire.adapters.marketdata.synth import SyntheticMarket, SynthSettings

__all__ = ["SynthSettings", "SyntheticMarket", "open_source", "open_sources"]
