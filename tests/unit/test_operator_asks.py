"""What an operator asks of the stages: positions closed through risk, orders cancelled through execution."""

from decimal import Decimal

from claire.model.decisions import Asked, Cancel, Code, Denial, Intent, OrderEvent, Signal, VenueReport
from claire.model.market import Side
from claire.model.orders import Evidence, OrderState, OrderType
from claire.stages.execution import Execution
from claire.stages.signal import Desk, Signals
from claire.strategies import Opinion, Strategy, StrategyParams
from tests.support.markets import ABC, SECOND_NS, SYMBOL, T0, fill, order, trade

CLOSE = Asked("close", "ada", "the news", T0 + 50 * SECOND_NS, symbol=SYMBOL)


class Told(Strategy):
    """Says what it is told to."""

    word = Opinion.ENTER

    def on_trade(self, trade):
        return self.word


def done(signals: Signals, side: Side, ticks: int, order_no: int, at_s: float = 0) -> None:
    signals.on_order(order(side, OrderState.SENT, order_no=order_no, at_s=at_s))
    signals.on_fill(fill(side, ticks, 100, at_s, order_no))
    signals.on_order(order(side, OrderState.FILLED, filled=100, order_no=order_no, at_s=at_s))


def long() -> Signals:
    """A desk that owns 100 lots since second 0, bought at 10,000 with its stop at 9,900."""
    strategy = Told(StrategyParams(stop_loss_pct=1.0, take_profit_pct=5.0, max_hold_s=0.0), ABC)
    signals = Signals([Desk("s", strategy, 10**10)])
    signals.on_trade(trade(0, 10_000))
    strategy.word = Opinion.NO_ENTRY
    done(signals, Side.BUY, 10_000, order_no=1)
    return signals


def refused(asked: Signal) -> Denial:
    zero, why = Decimal(0), "trading is HALTED"
    return Denial(
        asked.signal_no, "s", SYMBOL, asked.side, Code.TRADING_STATE, asked.ts_event_ns, zero, zero, "orders", why
    )


def sent(kind: OrderType = OrderType.LIMIT) -> Execution:
    execution = Execution()
    intent = Intent(1, 1, "a", "v", "s", SYMBOL, Side.BUY, kind, 100, 9_000, 0, False, "c1", T0, 9_000)
    execution.on_intent(intent)
    return execution


def cancelling(order_no: int) -> Asked:
    return Asked("cancel", "ada", "too far away", T0, order_no=order_no)


def test_asked_to_close_a_desk_says_so_once_until_it_is_answered():
    signals = long()
    (asked,) = signals.on_asked(CLOSE, 9_990)
    assert (asked.side, asked.reason, asked.price_ticks, asked.ts_event_ns) == (
        Side.SELL,
        "operator",
        9_990,
        T0 + 50 * SECOND_NS,
    )
    assert signals.on_asked(CLOSE, 9_990) == ()
    assert signals.on_trade(trade(51, 5_000)) == ()  # its own stop waits for that answer too
    done(signals, Side.SELL, 9_990, order_no=2, at_s=52)
    assert signals.on_asked(CLOSE, 9_990) == ()  # there is nothing left


def test_a_close_that_risk_refuses_leaves_the_exits_as_they_were():
    signals = long()
    (asked,) = signals.on_asked(CLOSE, 9_990)
    signals.on_denial(refused(asked))
    assert [one.reason for one in signals.on_trade(trade(60, 5_000))] == ["stop_loss"]


def test_nothing_is_closed_of_another_symbol_or_without_a_price():
    signals = long()
    assert signals.on_asked(CLOSE, 0) == ()
    assert signals.on_asked(Asked("close", "ada", "", T0 + 50 * SECOND_NS, symbol="OTHERUSDT"), 9_990) == ()


def test_an_order_is_cancelled_once_and_says_who_asked():
    execution = sent()
    execution.on_report(VenueReport(1, T0, Evidence.ACKNOWLEDGED))
    event, cancel = execution.on_asked(cancelling(1))
    assert isinstance(event, OrderEvent)
    assert (event.state, event.reason) == (OrderState.PENDING_CANCEL, "asked by ada: too far away")
    assert isinstance(cancel, Cancel)
    assert [type(one) for one in execution.on_asked(cancelling(1))] == [
        Cancel
    ]  # asked again it is asked of the venue again


def test_an_order_that_is_over_or_was_never_there_is_not_cancelled():
    execution = sent()
    execution.on_report(VenueReport(1, T0, Evidence.REJECTED))
    assert execution.on_asked(cancelling(1)) == execution.on_asked(cancelling(7)) == ()
