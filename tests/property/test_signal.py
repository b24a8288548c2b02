"""What holds of a desk whatever is traded and answered: one question at a time, exact levels, every trade accounted for."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from claire.model.decisions import Code, Denial
from claire.model.market import Side, Trade
from claire.model.orders import OrderState
from claire.stages.signal import Desk, Signals
from claire.strategies import Opinion, Strategy, StrategyParams
from tests.support.markets import ABC, SYMBOL, T0, fill, order, trade

percents = st.floats(0.001, 50).map(lambda value: round(value, 3)) | st.sampled_from([0.1, 0.3, 1.0, 1e-19])


class Told(Strategy):
    """Says what was put into `word`."""

    word = Opinion.NO_ENTRY

    def on_trade(self, trade: Trade) -> Opinion:
        return self.word


def desk_of(stop: float = 0.0, target: float = 0.0, hold: float = 0.0) -> tuple[Signals, Desk, Told]:
    strategy = Told(StrategyParams(stop_loss_pct=stop, take_profit_pct=target, max_hold_s=hold), ABC)
    desk = Desk("s", strategy, 10**9)
    return Signals([desk]), desk, strategy


@given(st.lists(st.tuples(st.integers(50, 10**7), st.integers(1, 10**5)), min_size=1, max_size=5), percents, percents)
def test_levels_are_the_average_entry_price_times_the_percentage_rounded_outwards(entries, stop_pct, target_pct):
    average = Fraction(sum(price * lots for price, lots in entries), sum(lots for _, lots in entries))
    stop = floor(average * (1 - Fraction(repr(stop_pct)) / 100))
    target = ceil(average * (1 + Fraction(repr(target_pct)) / 100))
    for ticks, expected in (
        (stop, "stop_loss"),
        (stop + 1, "take_profit" if stop + 1 >= target else None),
        (target, "stop_loss" if target <= stop else "take_profit"),
        (target - 1, "stop_loss" if target - 1 <= stop else None),
    ):
        signals, _, strategy = desk_of(stop_pct, target_pct)
        strategy.word = Opinion.ENTER
        signals.on_trade(trade(0, entries[0][0]))
        lots = sum(size for _, size in entries)
        signals.on_order(order(Side.BUY, OrderState.SENT, lots))
        for price, size in entries:
            signals.on_fill(fill(Side.BUY, price, size))
        signals.on_order(order(Side.BUY, OrderState.FILLED, lots, lots))
        strategy.word = Opinion.NO_ENTRY
        made = signals.on_trade(trade(1, ticks))
        assert [signal.reason for signal in made] == ([expected] if expected else [])


words = st.sampled_from(
    [Opinion.ENTER, Opinion.ENTER, Opinion.NO_ENTRY, Opinion.THIN, Opinion.EXIT, Opinion.WARMING_UP]
)
answers = st.sampled_from(["wait", "deny", "part", "fill", "cancel"])


@given(st.lists(st.tuples(words, st.integers(9_000, 11_000), answers), max_size=80))
def test_one_question_at_a_time_and_every_trade_accounted_for(steps):
    signals, desk, strategy = desk_of(3.0, 3.0, 20.0)
    live: Side | None = None
    left, order_no, owned, made_so_far = 0, 0, 0, 0
    may_enter = True  # false after a no, until the condition was false once
    for number, (word, ticks, answer) in enumerate(steps, start=1):
        strategy.word = word
        made = signals.on_trade(trade(number, ticks))
        may_enter = may_enter or word in (Opinion.NO_ENTRY, Opinion.EXIT)
        if live is not None:
            assert made == ()
        elif made:
            (signal,) = made
            live = signal.side
            assert live is (Side.SELL if owned else Side.BUY)
            assert owned or (word is Opinion.ENTER and may_enter)
            made_so_far += 1
            assert signal.signal_no == made_so_far
            order_no, left = order_no + 1, owned or 100
            if answer != "deny":
                signals.on_order(order(live, OrderState.SENT, left, order_no=order_no))
        else:
            assert not (word is Opinion.ENTER and may_enter and not owned)
        assert desk.signals + sum(desk.suppressed.values()) == number
        if live is None:
            continue
        if answer == "deny" and made:
            signals.on_denial(Denial(1, "s", SYMBOL, live, Code.CASH_RESERVE, T0, Decimal(0), Decimal(0), "", ""))
            may_enter = may_enter and live is Side.SELL
            live = None
        elif answer in ("part", "fill"):
            lots = left if answer == "fill" else max(1, left // 3)
            left -= lots
            owned += lots if live is Side.BUY else -lots
            signals.on_fill(fill(live, ticks, lots, number, order_no))
            state = OrderState.PARTIALLY_FILLED if left else OrderState.FILLED
            signals.on_order(order(live, state, 100, 100 - left, number, order_no))
            live = live if left else None
        elif answer == "cancel":
            signals.on_order(order(live, OrderState.CANCELED, 100, 100 - left, number, order_no))
            may_enter = may_enter and not (live is Side.BUY and not owned)
            live = None
        assert desk.position.is_flat is (owned == 0)
