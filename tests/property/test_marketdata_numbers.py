"""Numbers of whole columns are the numbers that their texts name, digit by digit; order and round trips hold for any market."""

from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from claire.adapters.marketdata import open_source
from claire.adapters.marketdata.converting import import_file
from claire.adapters.marketdata.faults import ABSURD_FACTOR, NEIGHBOURS, absurd_prices
from claire.adapters.marketdata.numbers import NumberFault, Scaled, from_floats, from_series, from_text
from claire.adapters.marketdata.raw import to_ns
from claire.adapters.marketdata.recorded import RecordedMarket
from claire.model.market import Trade


def value_of(column: Scaled, row: int) -> Decimal:
    return Decimal(int(column.coefficients[row])).scaleb(-int(column.decimals[row]))


def trades_of(source: RecordedMarket) -> list[Trade]:
    return [event for batch in source.batches() for event in batch if isinstance(event, Trade)]


def is_minimal(column: Scaled, row: int) -> bool:
    return bool(column.decimals[row] == 0 or column.coefficients[row] % 10 != 0)


amounts = st.one_of(
    st.decimals(min_value=Decimal("1e-18"), max_value=Decimal(10**12), allow_nan=False, allow_infinity=False).map(
        float
    ),
    st.integers(1, 10**15).flatmap(lambda n: st.integers(0, 14).map(lambda d: float(Decimal(n).scaleb(-d)))),
    st.floats(min_value=1e-6, max_value=1e12),
)


@given(st.lists(amounts, min_size=1, max_size=20))
def test_a_float_is_exactly_what_its_shortest_text_says(values):
    column = from_floats(np.array(values))
    for row, value in enumerate(values):
        expected = Decimal(repr(value))
        if column.faults[row]:
            assert column.faults[row] in (NumberFault.TOO_FINE, NumberFault.TOO_LARGE)
            exponent = expected.normalize().as_tuple().exponent
            assert isinstance(exponent, int)
            assert exponent < -18 or len(expected.as_tuple().digits) > 18
        else:
            assert value_of(column, row) == expected
            assert is_minimal(column, row)


texts = st.builds(
    lambda whole, fraction, zeros: f"{whole}.{fraction}{'0' * zeros}" if fraction or zeros else str(whole),
    st.integers(0, 10**9),
    st.text("0123456789", max_size=9),
    st.integers(0, 12),
)


@given(st.lists(texts, min_size=1, max_size=20))
def test_a_text_is_exactly_the_number_it_writes(values):
    column = from_text(pl.Series(values, dtype=pl.String))
    for row, value in enumerate(values):
        assert column.faults[row] == NumberFault.NONE
        assert value_of(column, row) == Decimal(value)
        assert is_minimal(column, row)


@given(st.lists(st.decimals(min_value=0, max_value=10**9, places=9), min_size=1, max_size=20))
def test_floats_texts_and_decimals_of_one_number_agree(values):
    as_text = from_series(pl.Series([f"{value:f}" for value in values]))
    as_decimal = from_series(pl.Series(values, dtype=pl.Decimal(38, 9)))
    for row, value in enumerate(values):
        assert value_of(as_text, row) == value_of(as_decimal, row) == value
        assert as_text.decimals[row] == as_decimal.decimals[row]


@given(st.sampled_from(["1_5", "abc", "1.2.3", "0x10", "--1", "1e", "٣", "1,5"]))
def test_what_is_no_number_is_unreadable(value):
    assert from_text(pl.Series([value])).faults[0] == NumberFault.UNREADABLE


@given(st.integers(1_262_304_000, 4_000_000_000))
def test_a_time_is_the_same_moment_in_every_unit(seconds):
    stamps = np.array([seconds, seconds * 10**3, seconds * 10**6, seconds * 10**9], dtype=np.int64)
    assert (to_ns(stamps) == seconds * 10**9).all()
    assert (to_ns(stamps[1:3], "ms") == seconds * 10**9).all()


@given(
    st.integers(1, 3).flatmap(lambda jumps: st.lists(st.floats(0.1, 1000), min_size=jumps, max_size=jumps)),
    st.integers(501, 900),
)
def test_levels_that_last_are_never_absurd(levels, length):
    prices = np.repeat(np.array(levels), length)
    assert not absurd_prices(prices).any()


@given(st.integers(0, 2999), st.sampled_from([0.01, 0.3, 3.0, 1000.0]))
def test_a_single_far_print_is_always_found_and_nothing_else(place, factor):
    prices = 100.0 + np.sin(np.arange(3000) / 50.0)
    prices[place] *= factor
    assert np.flatnonzero(absurd_prices(prices)).tolist() == [place]


@given(st.lists(st.tuples(st.integers(0, 2999), st.floats(0.2, 6.0)), max_size=40))
def test_looking_only_where_prices_spread_finds_what_looking_everywhere_finds(bumps):
    prices = np.full(3000, 100.0)
    for place, factor in bumps:
        prices[place] *= factor
    median = pl.Series(prices).rolling_median(NEIGHBOURS, center=True, min_samples=1).to_numpy()
    everywhere = (prices > ABSURD_FACTOR * median) | (prices * ABSURD_FACTOR < median)
    assert (absurd_prices(prices) == everywhere).all()


rows = st.lists(
    st.tuples(
        st.sampled_from(["AAAUSDT", "BBBUSDT"]),
        st.integers(1, 50),
        st.integers(100, 200).map(lambda n: n / 100),
        st.integers(1, 10**6).map(lambda n: n / 1000),
        st.sampled_from(["buy", "sell"]),
    ),
    min_size=2,
    max_size=30,
)


@given(rows)
def test_any_market_is_read_in_order_and_an_import_reads_as_the_original(tmp_path_factory, market):
    folder = tmp_path_factory.mktemp("market")
    frame = pl.DataFrame(market, schema=["symbol", "ts_ms", "price", "qty", "side"], orient="row")
    frame.write_parquet(folder / "a.parquet")
    symbols = sorted(set(frame["symbol"].to_list()))
    source = open_source(folder / "a.parquet", symbols=symbols)
    events = trades_of(source)
    expected = sorted(enumerate(market), key=lambda item: (item[1][1], item[1][0], item[0]))
    rules = source.instruments
    assert [(e.symbol, e.ts_event_ns // 10**6, rules[e.symbol].price(e.price_ticks)) for e in events] == [
        (symbol, ts, Decimal(repr(price))) for _, (symbol, ts, price, _, _) in expected
    ]
    for symbol in symbols:
        times = [event.ts_event_ns for event in events if event.symbol == symbol]
        assert times == sorted(times)
    import_file(folder / "a.parquet", folder / "b.parquet")
    again = open_source(folder / "b.parquet", symbols=symbols)
    assert [event for batch in again.batches() for event in batch] == events
    assert again.instruments == source.instruments


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**6)), min_size=2, max_size=20))
def test_the_four_trades_of_a_bar_carry_exactly_its_volume(tmp_path_factory, bars):
    folder = tmp_path_factory.mktemp("bars")
    frame = pl.DataFrame(
        {
            "ts_ms": [1_735_689_600_000 + k * 60_000 for k in range(len(bars))],
            **{name: [100.0] * len(bars) for name in ("open", "high", "low", "close")},
            "volume": [volume / 10**5 for volume, _ in bars[:-1]] + [1.00001],
        }
    )
    frame.write_parquet(folder / "BTCUSDT.parquet")
    source = open_source(folder / "BTCUSDT.parquet")
    total = sum(event.quantity_lots for event in trades_of(source))
    assert source.instruments["BTCUSDT"].quantity(total) == sum(Decimal(repr(volume)) for volume in frame["volume"])
