"""A venue that says nothing: it stands for the one outside while a journal is re-executed."""

from collections.abc import Sequence

from claire.engine.pipeline import NEVER
from claire.model.decisions import Cancel, Submit, VenueReport
from claire.model.market import MarketEvent


class SilentVenue:
    """Stands for a venue outside in a replay: what it said then is on record, so it says nothing now."""

    is_idle = True
    next_due_ns = NEVER

    def submit(self, command: Submit, now_ns: int) -> None:
        """Let an order go: it went then."""

    def cancel(self, command: Cancel, now_ns: int) -> None:
        """Let a cancel go: it went then."""

    def before(self, ts_event_ns: int) -> None:
        """Nothing is on its way here."""

    def after(self, event: MarketEvent) -> None:
        """Nothing works here."""

    def due(self, now_ns: int) -> Sequence[VenueReport]:
        """Nothing is said here."""
        return ()
