"""Tells of positions that a restart found beyond their stop, where `exit.on_restart = ask` holds them for an operator's word."""

from claire.engine.pipeline import Pipeline


class Asking:
    """Says once of each such position that it waits."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Look from now on; what is known of prices is from before."""
        self._pipeline = pipeline
        self._since_ns = pipeline.now_ns
        self._told: dict[tuple[str, str], bool] = {}

    def look(self) -> list[str]:
        """Return what there is to tell; a price has to have come before anybody knows."""
        found = []
        signals = self._pipeline.stages.signals
        for owner in signals.asking:
            strategy_id, symbol = owner
            if owner not in self._told and self._pipeline.marks[symbol].ts_event_ns > self._since_ns:
                self._told[owner] = True
                found.append(
                    f"{symbol} of {strategy_id} was found beyond its stop at the restart and is NOT sold: exit.on_restart is ask."
                    " It is sold on --release restart, or at its stop once the price was above it again"
                )
        return found
