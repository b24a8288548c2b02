"""Claire: a crypto trading system that decides, checks, trades, remembers everything, and can prove afterwards why.

The packages stand in one direction (`docs/architecture.md` shows the house); each imports only what is listed before it.
This module holds nothing but the version, so importing it costs nothing.
"""

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"
"""The version of this source tree; a test holds it equal to `pyproject.toml` and `CHANGELOG.md`."""
