"""Compares what a pipeline decides now with what was decided before, one decision at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from claire.engine.ports import Input, Recorded
from claire.model.books import PortfolioSnapshot, Position, Posting
from claire.model.market import Candle


class Difference(msgspec.Struct, frozen=True):
    """The first decision that is not the same."""

    decision: int
    """Its ordinal, from 1."""
    input_no: int
    """The input that it was caused by in the replay (0: the replay made none)."""
    recorded: dict[str, Any] | None
    """As it stands in the journal; None: the journal has no further one."""
    replayed: dict[str, Any] | None
    """As it was decided now; None: nothing more was decided."""
    fields: list[str]
    """Where the two differ; ``input_no`` and ``event`` (the kind) among them."""


class Comparison:
    """A recorder that holds each decision against the next one on record.

    After the first difference it ignores the rest: what follows from a difference is no news.
    """

    def __init__(self, recorded: Iterator[tuple[int, Recorded]], *, is_cut_off: bool = False) -> None:
        """Compare with `recorded`: (input number, event) in order; a cut-off record says nothing about what follows."""
        self._recorded = recorded
        self._is_cut_off = is_cut_off
        self.posted: list[Posting] = []
        """What the replay booked."""
        self.decisions = 0
        """Decisions found equal."""
        self.difference: Difference | None = None
        self._next = next(recorded, None)

    @property
    def is_exhausted(self) -> bool:
        """Whether every decision on record was met."""
        return self._next is None

    def decided(self, input_no: int, event: Recorded) -> None:
        """Compare one decision."""
        if self.difference is not None:
            return
        if self._next is None:
            if self._is_cut_off:
                return
            self.difference = Difference(self.decisions + 1, input_no, None, plain(event), ["event"])
            return
        recorded_no, recorded = self._next
        if recorded_no != input_no or recorded != event:
            before, now = plain(recorded), plain(event)
            fields = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            if recorded_no != input_no:
                fields.insert(0, "input_no")
            self.difference = Difference(self.decisions + 1, input_no, before, now, fields)
            return
        self.decisions += 1
        self._next = next(self._recorded, None)

    def finish(self) -> None:
        """Nothing more is decided: what is still on record is a difference."""
        if self.difference is None and self._next is not None:
            missing = plain(self._next[1])
            self.difference = Difference(self.decisions + 1, 0, missing, None, ["event"])

    def inputs(self, first_no: int, events: Sequence[Input]) -> None:
        """Inputs are what the replay is fed with."""

    def candle(self, candle: Candle) -> None:
        """Candles are not on record."""

    def postings(self, postings: Sequence[Posting]) -> None:
        """Keep postings: they are not in the journal, but the ledger has them."""
        self.posted.extend(postings)

    def snapshot(self, snapshot: PortfolioSnapshot, positions: Mapping[tuple[str, str], Position]) -> None:
        """Snapshots follow from fills and marks."""


def plain(event: Recorded) -> dict[str, Any]:
    """Return an event as plain values, its kind under ``event``."""
    built: dict[str, Any] = msgspec.to_builtins(event)
    return built
