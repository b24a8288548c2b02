"""What holds of the books whatever is booked: postings that sum to zero, and equity explained to the last unit."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claire.model.books import Books, Posting
from claire.model.decisions import Adjustment, Fill
from claire.model.instrument import Instrument
from claire.model.market import Side
from claire.model.money import decimal_of, round_units, units_of
from tests.support.markets import SYMBOL, T0, books, fill, rules

COARSE = rules(tick="0.01", lot="0.01")
FINE = rules("XYZUSDT", tick="0.0000001", lot="0.3")
MINUTE = rules("BTCUSDT", tick="0.01", lot="0.00001")
INSTRUMENTS = (COARSE, FINE, MINUTE)

prices = st.integers(1, 20_000)
steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "buy", "sell", "sell", "transfer", "mark", "dust", "adjust"]),
        st.integers(0, 2),  # which symbol
        st.sampled_from(["a", "b"]),  # which strategy
        prices,
        st.integers(1, 1_000),  # lots, or thousandths of what is owned
        st.sampled_from(["none", "quote", "base", "third", "rebate"]),
        st.integers(0, 100),  # fee in basis points
    ),
    max_size=40,
)


def fee_of(kind: str, bps: int, instrument: Instrument, ticks: int, lots: int) -> dict[str, Any]:
    """A fee as a venue would charge it, in some asset."""
    if kind == "base":
        amount = round_units(lots * instrument.lot_units * bps // 10_000, instrument.base_decimals)
        return {
            "fee": decimal_of(amount),
            "fee_asset": instrument.base,
            "fee_value": decimal_of(instrument.value_of(amount, ticks)),
        }
    value = decimal_of(round_units(instrument.notional(ticks, lots) * bps // 10_000, instrument.quote_decimals))
    if kind == "third":
        return {"fee": Decimal("0.00012345"), "fee_asset": "BNB", "fee_value": value}
    sign = {"none": 0, "quote": 1, "rebate": -1}[kind]
    return {"fee": sign * value, "fee_asset": "USDT", "fee_value": sign * value}


def adjust(made: Books, instrument: Instrument, owner: str, size: int) -> list[Posting]:
    """Correct cash, dust or a position by hand, up or down, where that fits."""
    symbol, amount = instrument.symbol, decimal_of((size - 500) * 10**13)
    wishes = (
        Adjustment("USDT", amount, "me", "a test", T0),
        Adjustment("BNB", amount, "me", "a test", T0),
        Adjustment(instrument.base, amount, "me", "a test", T0, symbol=symbol),
        Adjustment(instrument.base, amount, "me", "a test", T0, owner, symbol),
    )
    wish = wishes[size % 4]
    return [] if made.why_not(wish) else made.adjust(wish)


def carry_out(made: Books, step) -> list[Posting]:
    """Book one step if it is possible."""
    what, which, owner, ticks, size, fee_kind, bps = step
    instrument = INSTRUMENTS[which]
    symbol = instrument.symbol
    position = made.positions.get((owner, symbol))
    if what == "adjust":
        return adjust(made, instrument, owner, size)
    if what == "transfer":
        return made.transfer((size - 400) * 10**15 + ticks, T0)
    if what == "mark":
        made.marks[symbol].price_ticks = ticks
    elif what == "buy":
        fee = fee_of(fee_kind, bps, instrument, ticks, size)
        return made.apply(fill(Side.BUY, ticks, size, symbol=symbol, strategy_id=owner, **fee))
    elif position is not None and what == "dust":
        return made.to_dust(owner, symbol, T0)
    elif position is not None:
        lots = position.sellable_lots(instrument) * size // 1_000
        fee = fee_of(fee_kind if fee_kind != "base" else "quote", bps, instrument, ticks, lots)
        if lots:
            return made.apply(fill(Side.SELL, ticks, lots, symbol=symbol, strategy_id=owner, **fee))
    return []


@given(steps)
def test_equity_is_explained_to_the_last_unit_and_postings_sum_to_zero(history):
    made = books("0", INSTRUMENTS)
    ledger: dict[tuple[str, str], int] = {}
    for step in history:
        postings = carry_out(made, step)
        per_asset: dict[str, int] = {}
        for posting in postings:
            per_asset[posting.asset] = per_asset.get(posting.asset, 0) + posting.units
            key = (posting.account, posting.asset)
            ledger[key] = ledger.get(key, 0) + posting.units
        assert not any(per_asset.values())
        assert len({posting.transaction_no for posting in postings}) <= 1
        explained = made.realised_units + made.unrealised_units - made.fee_units + made.transfer_units
        assert made.equity_units == explained
    # what the books hold is what was posted
    for asset, units in made.cash.items():
        assert units == ledger.get(("cash", asset), 0)
    for (owner, symbol), position in made.positions.items():
        base = made.instruments[symbol].base
        assert position.base_units == ledger[f"position/{owner}/{symbol}", base] >= 0
        assert position.cost_units >= 0
    for symbol, dust in made.dust.items():
        assert dust.base_units == ledger[f"dust/{symbol}", made.instruments[symbol].base]
    held = sum(
        made.instruments[s].value_of(p.base_units, made.marks[s].price_ticks) for (_, s), p in made.positions.items()
    )
    rest = sum(made.instruments[s].value_of(d.base_units, made.marks[s].price_ticks) for s, d in made.dust.items())
    assert made.equity_units == made.cash.get("USDT", 0) + held + rest - made.foreign_fee_units


@given(prices, st.integers(1, 500), st.lists(st.integers(1, 500), min_size=1, max_size=6), st.sampled_from(INSTRUMENTS))
def test_a_fill_in_parts_leaves_position_and_cash_as_one_fill_does(ticks, sold, parts, instrument):
    whole, split = books("0", INSTRUMENTS), books("0", INSTRUMENTS)
    lots = sum(parts)

    def book(made: Books, side: Side, pieces: list[int]) -> None:
        for piece in pieces:
            made.apply(fill(side, ticks, piece, symbol=instrument.symbol))

    book(whole, Side.BUY, [lots])
    book(split, Side.BUY, parts)
    assert whole.positions == split.positions
    exits = [min(piece, sold) for piece in parts]
    book(whole, Side.SELL, [sum(exits)])
    book(split, Side.SELL, exits)
    assert whole.cash == split.cash
    one, many = whole.positions["s", instrument.symbol], split.positions["s", instrument.symbol]
    assert (one.base_units, one.sold_lots, one.sold_value) == (many.base_units, many.sold_lots, many.sold_value)
    # each part is rounded by half a step of the quote scale at most
    assert abs(one.cost_units - many.cost_units) <= len(exits) * 10 ** (18 - instrument.quote_decimals)
    assert whole.equity_units == split.equity_units


@given(
    prices,
    st.lists(st.integers(1, 500), min_size=1, max_size=5),
    st.lists(st.integers(1, 500), min_size=1, max_size=5),
    st.sampled_from(INSTRUMENTS),
)
def test_a_round_trip_at_one_price_without_fees_realises_exactly_nothing(ticks, bought, sold, instrument):
    made = books("5", INSTRUMENTS)
    left = sum(bought)
    for lots in bought:
        made.apply(fill(Side.BUY, ticks, lots, symbol=instrument.symbol))
    for wanted in [*sold, left]:
        lots = min(wanted, left)
        left -= lots
        if lots:
            made.apply(fill(Side.SELL, ticks, lots, symbol=instrument.symbol))
    made.to_dust("s", instrument.symbol, T0)
    assert made.realised_units == 0
    assert made.equity_units == units_of(5)
    assert made.is_at_rest


@given(st.lists(st.tuples(prices, st.integers(1, 900)), min_size=1, max_size=6), prices, st.integers(1, 100))
def test_profit_of_a_whole_round_trip_is_what_was_got_less_what_was_paid(entries, exit_ticks, thousandths):
    made = books("0", INSTRUMENTS)
    for ticks, lots in entries:
        made.apply(fill(Side.BUY, ticks, lots))
    owned = sum(lots for _, lots in entries)
    first = owned * thousandths // 100
    for lots in (first, owned - first):
        if lots:
            made.apply(fill(Side.SELL, exit_ticks, lots))
    paid = sum(COARSE.notional(ticks, lots) for ticks, lots in entries)
    assert made.realised_units == COARSE.notional(exit_ticks, owned) - paid == made.cash["USDT"]


def test_an_exit_net_of_fees_in_base_leaves_nothing_unexplained():
    made = books("1000", INSTRUMENTS)
    bought: Fill = fill(
        Side.BUY, 10_000, 100, fee=Decimal("0.00123456"), fee_asset="ABC", fee_value=Decimal("0.123456")
    )
    made.apply(bought)
    lots = made.positions["s", SYMBOL].sellable_lots(COARSE)
    made.apply(fill(Side.SELL, 10_100, lots))
    made.to_dust("s", SYMBOL, T0)
    assert made.dust[SYMBOL].base_units == units_of("0.00876544")
    assert made.equity_units == units_of(1000) + made.realised_units + made.unrealised_units - made.fee_units


@st.composite
def stories(draw: st.DrawFn) -> list[Fill]:
    """Fills of several orders of two strategies in one symbol; some sell more than was ever bought."""
    made = []
    for number in range(draw(st.integers(1, 9))):
        side, ticks = draw(st.sampled_from([Side.BUY, Side.SELL])), draw(st.integers(1, 20_000))
        lots, owner = draw(st.integers(1, 300)), draw(st.sampled_from("ab"))
        fee = fee_of(
            draw(st.sampled_from(["none", "quote", "base", "third"])), draw(st.integers(0, 50)), COARSE, ticks, lots
        )
        made.append(fill(side, ticks, lots, number, number, strategy_id=owner, trade_id=f"t{number}", **fee))
    return made


@given(stories(), st.data())
def test_every_fill_can_be_booked_in_any_order_and_nothing_is_lost(story: list[Fill], data: st.DataObject):
    outcomes = []
    for fills in (story, data.draw(st.permutations(story))):
        made = books("1000", (COARSE,))
        ledger: dict[tuple[str, str], int] = {}
        for one in fills:
            postings = made.apply(one)
            key = (one.strategy_id, SYMBOL)
            if one.side is Side.SELL and key in made.positions and data.draw(st.booleans()):
                postings += made.to_dust(*key, T0)  # the round trip ends here
            sums: dict[str, int] = {}
            for posting in postings:
                sums[posting.asset] = sums.get(posting.asset, 0) + posting.units
                line = (posting.account, posting.asset)
                ledger[line] = ledger.get(line, 0) + posting.units
            assert not any(sums.values())
            explained = made.realised_units + made.unrealised_units - made.fee_units + made.transfer_units
            assert made.equity_units == explained
            assert all(position.base_units >= 0 and not position.is_flat for position in made.positions.values())
        dust = made.dust[SYMBOL].base_units if SYMBOL in made.dust else 0
        for owner in "ab":
            position = made.positions.get((owner, SYMBOL))
            assert ledger.get((f"position/{owner}/{SYMBOL}", "ABC"), 0) == (position.base_units if position else 0)
        assert ledger.get((f"dust/{SYMBOL}", "ABC"), 0) == dust
        base = dust + sum(position.base_units for position in made.positions.values())
        outcomes.append((made.cash, base, made.fee_units, made.equity_units))
    assert outcomes[0] == outcomes[1]


@given(stories(), st.data())
def test_who_never_sells_more_than_it_owns_ends_with_the_same_position_in_any_such_order(
    story: list[Fill], data: st.DataObject
):
    owned: dict[str, int] = {}
    covered = []
    for one in story:
        gone = one.quantity_lots * COARSE.lot_units + (units_of(one.fee) if one.fee_asset == "ABC" else 0)
        if one.side is Side.BUY:
            gone = units_of(one.fee) - one.quantity_lots * COARSE.lot_units if one.fee_asset == "ABC" else -gone
        if gone <= owned.get(one.strategy_id, 0):
            owned[one.strategy_id] = owned.get(one.strategy_id, 0) - gone
            covered.append(one)
    late = data.draw(st.permutations([one for one in covered if one.side is Side.BUY]))
    reordered = [*late, *data.draw(st.permutations([one for one in covered if one.side is Side.SELL]))]
    outcomes = []
    for fills in (covered, reordered):
        made = books("1000", (COARSE,))
        for one in fills:
            made.apply(one)
        assert made.dust == {}
        outcomes.append((made.cash, made.fee_units, {key: p.base_units for key, p in made.positions.items()}))
    first, second = outcomes
    assert first == second
