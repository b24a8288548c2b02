"""Accounts of 20, 100 and 1,000 USDT: each trades, or is told with how much it could."""

from decimal import Decimal

import pytest

from claire.adapters.config import Settings, load
from claire.model.errors import ConfigError
from claire.model.instrument import Instrument
from claire.model.money import units_of
from claire.services.capital import CapitalCheck, check_capital
from tests.support.markets import rules

BTC = rules("BTCUSDT", tick="0.01", lot="0.000001", min_notional="1")
DEAR = rules("DEARUSDT", tick="0.01", lot="0.01", min_notional="5")
PRICES = {"BTCUSDT": 8_400_000, "DEARUSDT": 10_000}


def settings(*more: str, symbols: tuple[str, ...] = ("BTCUSDT",)) -> Settings:
    return load(assignments=list(more), symbols=symbols, strategy="momentum", environ={}).settings


def check(capital: int | str, *more: str, symbols: tuple[str, ...] = ("BTCUSDT",)) -> CapitalCheck:
    instruments: dict[str, Instrument] = {each.symbol: each for each in (BTC, DEAR)}
    return check_capital(settings(*more, symbols=symbols), instruments, PRICES, Decimal(capital), "USDT")


@pytest.mark.parametrize(("capital", "trades"), [(20, False), (100, True), (1000, True)])
def test_an_account_can_trade_where_the_minimum_fits_into_its_position_size(capital: int, trades: bool) -> None:
    found = check(capital)
    assert found.can_trade is trades
    assert bool(found.warnings()) is not trades


def test_twenty_usdt_are_refused_with_the_smallest_capital_and_what_would_help() -> None:
    found = check(20)
    with pytest.raises(ConfigError) as refused:
        found.require()
    text = str(refused.value)
    # 1.5 at the stop 2 % below: 1.5307 of 84,000 USDT in lots of 0.000001 BTC are 19 lots, 1.596 USDT, of which 5 % are 31.92
    assert found.smallest == units_of("31.92")
    assert "account.capital = 20 USDT" in text
    assert "less than 31.92 USDT" in text
    assert "BELOW_MIN_NOTIONAL" in text  # 5 % of 20 USDT are 11 lots, 0.924 USDT
    assert "risk.position_pct=8" in text


def test_what_is_advised_helps() -> None:
    assert check(20, "risk.position_pct=8").can_trade
    assert not check(20, "risk.position_pct=7.9").can_trade
    assert check("31.92").can_trade
    assert not check("31.919999999999999999").can_trade


def test_a_position_size_above_its_limit_is_advised_together_with_the_limit() -> None:
    found = check(20, "risk.max_order_pct=5", "risk.position_pct=5")
    assert "risk.position_pct=8 and risk.max_order_pct=8" in found.advice


def test_a_run_goes_on_with_the_symbols_that_it_can_trade_and_names_the_others() -> None:
    found = check(100, symbols=("BTCUSDT", "DEARUSDT"))
    found.require()
    (warning,) = found.warnings()
    assert "DEARUSDT with less than 160 USDT" in warning


def test_the_share_that_allocation_gives_is_the_largest_of_any_regime() -> None:
    assert check(20, "allocation.mode=full").smallest == check(20, "allocation.mode=regime").smallest


def test_a_symbol_without_a_price_is_left_out() -> None:
    found = check_capital(settings(), {"BTCUSDT": BTC}, {}, Decimal(20), "USDT")
    assert found.can_trade
    assert not found.symbols


def test_a_reserve_that_leaves_no_room_is_no_question_of_capital() -> None:
    found = check(1000, "risk.cash_reserve_pct=90", "risk.position_pct=10", "fees.taker_bps=20")
    assert found.smallest is None
    assert "with 1000 USDT, and more is no help (CASH_RESERVE" in found.warnings()[0]
    assert "raise account.capital" not in found.advice
