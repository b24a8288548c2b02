"""Faults that are deeds: done once, when they begin."""

from decimal import Decimal
from typing import Any

import msgspec

from claire.mexcsim import faults as f
from claire.mexcsim.state import Venue
from claire.mexcsim.stream import Streams
from claire.mexcsim.symbols import OFFLINE, PAUSED
from claire.model.errors import ConfigError, did_you_mean


def check(venue: Venue, fault: f.Fault) -> None:
    """Hold a fault to what there is.

    Raises:
        ConfigError: it names a symbol or a key that the simulator does not have.
    """
    symbol = getattr(fault, "symbol", "")
    if symbol and symbol not in venue.exchange.markets:
        raise ConfigError(
            f"fault {fault.name}: there is no symbol {symbol}.{did_you_mean(symbol, venue.exchange.markets)}"
        )
    if isinstance(fault, f.RevokeKey) and fault.key not in venue.exchange.keys:
        raise ConfigError(f"fault {fault.name}: there is no key {fault.key}")


def perform(venue: Venue, streams: Streams, fault: f.Fault) -> None:
    """Do it."""
    now = venue.market_ms()
    if isinstance(fault, f.Disconnect):
        streams.disconnect(fault.which, fault.how)
    elif isinstance(fault, f.EndOfLife):
        streams.disconnect("all", "cut")
    elif isinstance(fault, f.ExpireListenKeys):
        for key in venue.exchange.keys.values():
            if fault.key in ("", key.access_key):
                key.account.listen_keys.update(dict.fromkeys(key.account.listen_keys, 0))
    elif isinstance(fault, f.RevokeKey):
        venue.exchange.keys[fault.key].revoked = True
    elif isinstance(fault, f.Delist):
        _change(venue, fault.symbol, now, status=OFFLINE)
    elif isinstance(fault, f.Pause):
        _change(venue, fault.symbol, now, status=PAUSED)
    elif isinstance(fault, f.ChangeRules):
        given: dict[str, Any] = {
            name: getattr(fault, name)
            for name in ("price_decimals", "quantity_decimals", "side_rule", "api_trading", "status")
            if getattr(fault, name) is not None
        }
        if fault.min_notional is not None:
            given["min_notional"] = given["min_notional_market"] = Decimal(fault.min_notional)
        if fault.taker_rate is not None:
            given["taker_rate"] = Decimal(fault.taker_rate)
        _change(venue, fault.symbol, now, **given)


def _change(venue: Venue, symbol: str, now_ms: int, **changes: Any) -> None:
    before = venue.exchange.markets[symbol].rule
    rule = msgspec.structs.replace(before, **changes)
    if (rule.tick_units, rule.lot_units) != (before.tick_units, before.lot_units):
        venue.exchange.clear(symbol, now_ms)
        venue.settle()
        venue.flush()  # the last pushes in the old steps
    venue.exchange.change_rule(rule, now_ms)
    venue.settle()
