"""Positions whose strategy is gone: who owns what, handing one over, and watching one that is only got out of."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from claire.adapters.config import StrategySettings
from claire.model.books import Posting
from claire.model.decisions import Adopted, Fill, RoundTrip, Signal, VenueReport
from claire.model.errors import SafetyRefusal
from claire.model.market import Trade
from claire.services.assembly import Assembly, assemble
from claire.strategies import StrategyParams
from tests.support import markets
from tests.support.markets import PLAIN, SYMBOL, T0, Listening, ListSource, trade

JUMP = {"lookback_s": 0.0, "threshold_pct": 1.0, "stop_loss_pct": 1.0, "take_profit_pct": 50.0, "max_hold_s": 0.0}
NEVER_ENTERS = JUMP | {"threshold_pct": 9_000.0, "stop_loss_pct": 5.0}


def holding(heard: Listening, *more: str, then: Sequence[Trade] = ()) -> Assembly:
    """Two strategies of which ``old`` has bought at 102.00."""
    source = ListSource([trade(0, 10_000), trade(1, 10_200), *then])
    both = (
        StrategySettings(id="old", kind="momentum", symbols=(SYMBOL,), params=JUMP),
        StrategySettings(id="new", kind="momentum", symbols=(SYMBOL,), params=NEVER_ENTERS),
    )
    chosen = markets.settings(*PLAIN, *more).model_copy(update={"strategy": both})
    made = assemble(chosen, source, (heard,))
    for event in source.events:
        made.pipeline.feed(event)
    assert made.pipeline.owners == (("old", SYMBOL),)
    return made


def adopt(made: Assembly, owner: str = "old", strategy: str = "new", symbol: str = SYMBOL) -> None:
    made.pipeline.adopt(owner, strategy, symbol, operator="ada", reason="old is retired", now_ns=T0)


def reasons(heard: Listening) -> list[tuple[str, str]]:
    return [(signal.strategy_id, signal.reason) for signal in heard.of(Signal)]


def test_an_adopted_position_is_watched_by_its_new_owner_with_the_exits_of_that_one():
    heard = Listening()
    made = holding(heard)
    pipeline = made.pipeline
    equity = pipeline.stages.portfolio.state.books.equity_units
    adopt(made)
    assert pipeline.owners == (("new", SYMBOL),)
    (adopted,) = heard.of(Adopted)
    assert adopted == Adopted("old", "new", SYMBOL, Decimal("0.49"), "ada", "old is retired", pipeline.now_ns)
    moved = heard.of(Posting)[-2:]
    assert [(p.account, p.asset, p.units) for p in moved] == [
        (f"position/old/{SYMBOL}", "ABC", -49 * 10**16),
        (f"position/new/{SYMBOL}", "ABC", 49 * 10**16),
    ]
    assert pipeline.stages.risk.state.books.positions == pipeline.stages.portfolio.state.books.positions
    assert pipeline.stages.portfolio.state.books.equity_units == equity
    pipeline.feed(trade(2, 10_000))  # beyond the stop of old, not of new
    assert reasons(heard) == [("old", "entry")]
    pipeline.feed(trade(3, 9_600))
    assert reasons(heard) == [("old", "entry"), ("new", "stop_loss")]
    (trip,) = heard.of(RoundTrip)
    assert (trip.strategy_id, trip.bought_lots, trip.sold_lots) == ("new", 49, 49)
    assert not pipeline.owners


def test_a_late_fill_of_the_former_owner_belongs_to_the_new_one():
    heard = Listening()
    made = holding(heard)
    pipeline = made.pipeline
    pipeline.stages.execution.orders[1].life.quantity_lots += 9  # as if the venue had not said all of it
    adopt(made)
    late = VenueReport(1, pipeline.now_ns, trade_id="late", price_ticks=10_200, quantity_lots=9, fee_asset="USDT")
    pipeline.report(late)
    assert heard.of(Fill)[-1].strategy_id == "new"
    assert list(pipeline.stages.risk.state.books.positions) == [("new", SYMBOL)]


@pytest.mark.parametrize(
    ("owner", "strategy", "symbol", "why"),
    [
        ("nobody", "new", SYMBOL, "strategy nobody owns no ABCUSDT; what is held: old ABCUSDT"),
        ("new", "old", SYMBOL, "strategy new owns no ABCUSDT"),
        ("old", "nobody", SYMBOL, "nobody cannot adopt the ABCUSDT of old: it has to be another strategy"),
        ("old", "old", SYMBOL, "it has to be another strategy"),
        ("old", "new", "XYZUSDT", "strategy old owns no XYZUSDT"),
    ],
)
def test_what_cannot_be_adopted_is_refused(owner: str, strategy: str, symbol: str, why: str):
    made = holding(Listening())
    with pytest.raises(SafetyRefusal, match=why):
        adopt(made, owner, strategy, symbol)
    assert made.pipeline.owners == (("old", SYMBOL),)


def test_a_position_with_a_live_order_is_not_handed_over():
    made = holding(Listening(), "paper.latency_ms=900", then=[trade(5, 10_200), trade(6, 10_200), trade(7, 9_000)])
    with pytest.raises(SafetyRefusal, match="while its order 2 is live"):
        adopt(made)


def test_an_orphan_keeps_the_exits_that_it_had_and_enters_no_more():
    heard = Listening()
    pipeline = holding(heard).pipeline
    pipeline.orphan("old", SYMBOL)
    pipeline.feed(trade(2, 10_110))
    assert len(reasons(heard)) == 1
    pipeline.feed(trade(3, 10_000))
    assert reasons(heard)[1:] == [("old", "stop_loss")]
    assert not pipeline.owners
    pipeline.feed(trade(4, 15_000))  # what momentum would have jumped at
    assert len(reasons(heard)) == 2


@pytest.mark.parametrize(
    ("params", "ticks", "expected"),
    [
        (None, 10_200, ["exit"]),
        (StrategyParams(stop_loss_pct=1), 10_200, []),
        (StrategyParams(stop_loss_pct=1), 10_000, ["stop_loss"]),
        (StrategyParams(stop_loss_pct=0, take_profit_pct=0, max_hold_s=1), 10_200, ["max_hold"]),
    ],
)
def test_an_orphan_without_a_desk_gets_one_and_is_sold_at_once_where_nobody_knows_its_exits(
    params: StrategyParams | None, ticks: int, expected: list[str]
):
    heard = Listening()
    pipeline = holding(heard).pipeline
    forget(pipeline.stages.signals, "old")
    pipeline.orphan("old", SYMBOL, params)
    pipeline.feed(trade(2, ticks))
    assert [reason for owner, reason in reasons(heard)[1:] if owner == "old"] == expected
    assert (pipeline.owners == ()) is bool(expected)


def test_a_position_without_a_desk_can_be_adopted():
    heard = Listening()
    made = holding(heard)
    forget(made.pipeline.stages.signals, "old")
    adopt(made)
    made.pipeline.feed(trade(2, 9_000))
    assert reasons(heard)[1:] == [("new", "stop_loss")]
    assert not made.pipeline.owners


def test_only_what_is_owned_becomes_an_orphan():
    with pytest.raises(SafetyRefusal, match="strategy new owns no ABCUSDT"):
        holding(Listening()).pipeline.orphan("new", SYMBOL)


def forget(signals: Any, strategy_id: str) -> None:
    """Build the stage as a configuration without that strategy would have."""
    signals.__init__([desk for desk in signals.desks if desk.strategy_id != strategy_id])
