"""What a journal says: its entries, in the order in which they happened.

Bodies are msgpack; every entry is an array that starts with its tag. The format version covers their layout:
a field may be added at the end with a default, and so may a kind of entry (a program that does not know it says so and reads
no further); anything else is a new version.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Self

import msgspec
from msgspec import Struct

from claire.engine.ports import Recorded, SourceInfo
from claire.model.decisions import Asked, ControlEvent, VenueReport
from claire.model.instrument import Instrument, InstrumentRules
from claire.model.market import Depth, Timer, TopOfBook, Trade

Record = Literal["all", "traded", "decisions"]
"""Which market events are kept: every one, those of traded symbols, none. Timers and venue reports are always kept."""


class Header(Struct, frozen=True, tag="header", array_like=True):
    """The first entry: what ran, by which code, on which market, and what of it is kept here."""

    run_id: str
    mode: str
    code: str
    """Version and commit of the program that wrote this."""
    config_json: str
    """The effective configuration, as canonical JSON."""
    config_sha256: str
    source: SourceInfo
    rules: dict[str, InstrumentRules]
    """Of every symbol in the source."""
    created_at: str
    """When, as the caller words it (ISO 8601, UTC)."""
    first_row: int = 0
    """First row of the recording that was used, counted from 1; 0: from its start."""
    last_row: int = 0
    """Last row that was used; 0: to its end."""
    record: Record = "all"
    embed_inputs: bool = True
    """False: inputs are not copied here; `source` says where to find or how to make them again."""
    traded: tuple[str, ...] = ()
    """Symbols whose market events are kept when `record` is ``traded``."""

    @classmethod
    def of(
        cls,
        *,
        run_id: str,
        mode: str,
        code: str,
        config_json: str,
        source: SourceInfo,
        instruments: Mapping[str, Instrument],
        created_at: str,
        first_row: int = 0,
        last_row: int = 0,
        record: Record = "all",
        embed_inputs: bool = True,
        traded: Sequence[str] = (),
    ) -> Self:
        """Make a header; the configuration's hash is computed here."""
        return cls(
            run_id=run_id,
            mode=mode,
            code=code,
            config_json=config_json,
            config_sha256=hashlib.sha256(config_json.encode()).hexdigest(),
            source=source,
            rules={symbol: instrument.rules for symbol, instrument in instruments.items()},
            created_at=created_at,
            first_row=first_row,
            last_row=last_row,
            record=record,
            embed_inputs=embed_inputs,
            traded=tuple(traded),
        )

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The instruments that the run used, built from their rules."""
        return {symbol: rules.instrument() for symbol, rules in self.rules.items()}


class Inputs(Struct, frozen=True, tag="inputs", array_like=True):
    """Inputs with consecutive numbers, from `first_no` on."""

    first_no: int
    events: list[Trade | TopOfBook | Depth | Timer]


class Report(Struct, frozen=True, tag="report", array_like=True):
    """An input that came from the venue about an order of ours."""

    input_no: int
    report: VenueReport


class Fed(Struct, frozen=True, tag="fed", array_like=True):
    """Something that a live feed brought, as its client encodes it: a raw frame, a REST answer, a connection's change."""

    data: bytes


class Passed(Struct, frozen=True, tag="passed", array_like=True):
    """Market time passed without an event: what was due by then happened."""

    ts_ns: int


class Decided(Struct, frozen=True, tag="decided", array_like=True):
    """A decision, or what follows from one, caused by input `input_no`."""

    input_no: int
    event: Recorded


class Controlled(Struct, frozen=True, tag="controlled", array_like=True):
    """The trading state was changed from outside the feed, by an operator or a check; a replay hands it in again."""

    event: ControlEvent


class Gated(Struct, frozen=True, tag="gated", array_like=True):
    """What the gateway said about an order right before it would have left, or how its sending went."""

    order_no: int
    verdict: str
    """``SENT``, the code of a refusal (``GATE_…``), or how the answer was: a word of the gateway's own."""
    ts_ms: int
    """The venue's time at that moment, as well as it is known."""
    fence_ms: int
    """The venue's time after which the venue takes this request no more; 0: nothing left."""


class Adjusted(Struct, frozen=True, tag="adjusted", array_like=True):
    """An operator changed the books by hand, because they and the venue disagreed."""

    asset: str
    units: str
    """How much was added, as decimal text in whole `asset`; negative: taken away."""
    operator: str
    reason: str
    ts_ns: int
    strategy_id: str = ""
    """Whose position it was; empty: cash, or dust."""
    symbol: str = ""


class External(Struct, frozen=True, tag="external", array_like=True):
    """Coins of the account that are not Claire's: what was there at the start, or changed by another hand since."""

    kind: Literal["baseline", "trade", "transfer"]
    asset: str
    amount: str
    """As decimal text: what was there (baseline), else what came (or, negative, went)."""
    evidence_id: str
    """The venue's id of the trade or transfer, or whatever else tells this change from any other."""
    ts_ns: int


class Snapped(Struct, frozen=True, tag="snapped", array_like=True):
    """The state after all entries before this one lies in a file of its own, see `snapshots`."""

    name: str
    sha256: str
    """Of the file, hexadecimal."""
    code: str
    """Version and commit of the program that wrote it; no other one may read it."""


class Resumed(Struct, frozen=True, tag="resumed", array_like=True):
    """A process went on with this run after one that was stopped. The feed's decoder starts afresh here."""

    at_ns: int
    """The wall clock, corrected to the venue's."""
    code: str
    epoch: int
    """Of the account; 0 where the venue is inside the process."""
    cut_bytes: int
    """Of an unfinished entry, removed from the end of the last segment."""
    settings_json: str = ""
    """The effective configuration from here on, as canonical JSON; empty: unchanged."""
    orphans: str = ""
    """What becomes of positions whose strategy is not configured any more: the id of the strategy that adopts them, or
    ``-reduce-only``; empty: there are none."""
    operator: str = ""
    reason: str = ""


class Commanded(Struct, frozen=True, tag="commanded", array_like=True):
    """An operator asked for a position to be closed, or an order to be cancelled; a replay hands it in again."""

    event: Asked


class Ruled(Struct, frozen=True, tag="ruled", array_like=True):
    """An operator decided something that the machine may not: what, why, and how long it holds (`services.deciding`)."""

    number: int
    """From 1, within its account."""
    kind: str
    """What it allows: ``adjustment``, ``limits``, ``rearm``, ``release``, or ``other``, which allows nothing by itself."""
    decision: str
    rationale: str
    impact: str
    reversibility: str
    evidence: str
    operator: str
    ts_ns: int
    expires_ns: int


class RuleUsed(Struct, frozen=True, tag="rule_used", array_like=True):
    """An operator's decision was acted on, so it allows nothing more."""

    number: int
    purpose: str
    """What was done."""
    ts_ns: int


class Note(Struct, frozen=True, tag="note", array_like=True):
    """Something a reader should know that is neither input nor decision: an operator's word, a gap in the feed."""

    kind: str
    text: str


class End(Struct, frozen=True, tag="end", array_like=True):
    """The last entry of a run that ended in order."""

    summary_json: str
    decision_digest: str
    inputs: int
    """Inputs that entered, kept here or not; the number of the last one."""
    counts: dict[str, int]
    """Kept entries by kind: market events, timers, reports, and decisions by their tag."""


Entry = (
    Header
    | Inputs
    | Report
    | Fed
    | Passed
    | Decided
    | Controlled
    | Gated
    | Adjusted
    | External
    | Snapped
    | Resumed
    | Commanded
    | Ruled
    | RuleUsed
    | Note
    | End
)

encode = msgspec.msgpack.Encoder().encode
"""Return the body of an entry."""

decode: Callable[[bytes], Entry] = msgspec.msgpack.Decoder(Entry).decode
"""Return the entry in a body; raises `msgspec.MsgspecError` where it holds something else."""

_COUNTED: Mapping[type, str] = {
    Report: "reports",
    Fed: "fed",
    Passed: "passed",
    Controlled: "controlled",
    Gated: "gated",
    Adjusted: "adjusted",
    External: "external",
    Snapped: "snapped",
    Resumed: "resumed",
    Commanded: "commanded",
    Ruled: "ruled",
    RuleUsed: "rule_used",
}


def counted(entry: Entry) -> tuple[str, int]:
    """Return under which word, and for how many, an entry counts in `End.counts`; an empty word: it does not."""
    kind = type(entry)
    if kind is Inputs:
        return "inputs", len(entry.events)  # type: ignore[union-attr]  # its type was just compared
    if kind is Decided:
        return str(entry.event.__struct_config__.tag), 1  # type: ignore[union-attr]  # its type was just compared
    return _COUNTED.get(kind, ""), 1


def last_input(entry: Entry) -> int:
    """Return the number of the last input that an entry tells of; 0 if it tells of none."""
    if isinstance(entry, Inputs):
        return entry.first_no + len(entry.events) - 1
    return entry.input_no if isinstance(entry, Report | Decided) else 0
