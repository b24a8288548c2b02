"""The boundaries of the order path, by name: where a crash leaves something done and the next thing not.

Production passes `no_step`. The simulation passes something that counts, and stops the process at the boundary it was told.
"""

from collections.abc import Callable

Step = Callable[[str], None]
"""Called at a boundary with its name, such as ``ledger.commit.before``."""


def no_step(name: str) -> None:
    """Pass a boundary."""
