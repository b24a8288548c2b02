"""What a live run on MEXC's protocol takes from the configuration."""

from decimal import Decimal
from pathlib import Path

import pytest

from claire.adapters.config import load
from claire.adapters.venues.mexc.instruments import Tradable
from claire.model.errors import UsageError
from claire.model.instrument import Instrument
from claire.services.mexc import Universe, _channels, configured

BTC = Instrument.checked("BTCUSDT", Decimal("0.01"), Decimal("0.00001"), min_notional=Decimal(1), source="venue")
TRADABLE = Tradable(BTC, Decimal(0), Decimal(1), Decimal(1), None, None, (), None, None)


def settings(*assignments: str):
    return load(assignments=assignments, symbols=["BTCUSDT"], environ={}).settings


def test_configured_rules_win_over_the_venues():
    changed = configured(TRADABLE, settings("instruments.BTCUSDT.lot=0.001", "instruments.BTCUSDT.min_notional=20"))
    assert changed.instrument.lot == Decimal("0.001")
    assert (changed.instrument.tick, changed.instrument.source) == (BTC.tick, "configuration")
    assert (changed.instrument.min_notional, changed.min_notional) == (Decimal(20), Decimal(20))
    assert configured(TRADABLE, settings()) is TRADABLE


@pytest.mark.parametrize("interval", ["10ms", "100ms"])
def test_the_interval_is_that_of_every_channel(interval):
    channels = _channels(["BTCUSDT", "ETHUSDT"], settings(f"market.interval={interval}"), with_books=True)
    assert [f"@{interval}@" in channel.name for channel in channels] == [True] * 4


def test_symbols_are_a_number_or_a_file():
    assert Universe.of("20") == Universe(count=20)
    assert Universe.of("") == Universe()
    assert Universe.of("choice.json") == Universe(file=Path("choice.json"))
    for text in ("0", "2001"):
        with pytest.raises(UsageError, match="1 to 2000 symbols"):
            Universe.of(text)
