"""Account and listen keys by REST (sheet 2.1 and 3.4)."""

import hashlib
from typing import Any

from claire.mexcsim.calls import Call, Endpoint
from claire.mexcsim.log import What
from claire.mexcsim.rules import Rejection, mandatory, may_trade
from claire.model.money import decimal_text

LISTEN_KEY_LENGTH = 64


def account(call: Call) -> Any:
    """Balances; assets that were never held are not listed."""
    return {
        "canTrade": call.signed_key.may("SPOT_DEAL_WRITE"),
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": None,
        "accountType": "SPOT",
        "balances": [
            {
                "asset": asset,
                "free": decimal_text(balance.free),
                "locked": decimal_text(balance.locked),
                "available": decimal_text(balance.free),
            }
            for asset, balance in call.account.balances.items()
        ],
        "permissions": ["SPOT"],
    }


def trade_fee(call: Call) -> Any:
    """The account's own rates on a pair, as numbers."""
    maker, taker = call.venue.exchange.rates(call.account, call.market().rule)
    return {
        "data": {"makerCommission": float(maker), "takerCommission": float(taker)},
        "code": 0,
        "msg": "success",
        "timestamp": call.now_ms,
    }


def self_symbols(call: Call) -> Any:
    """Pairs that this key may trade."""
    rules = [market.rule for market in call.venue.exchange.markets.values()]
    names = [rule.symbol for rule in rules if rule.api_trading and may_trade(call.signed_key, rule)]
    return {"code": 200, "data": names, "msg": None}


def uid(call: Call) -> Any:
    """The account's number."""
    return {"uid": call.account.uid}


def kyc_status(call: Call) -> Any:
    """How far the owner is verified."""
    return {"status": "2"}


def mx_deduct(call: Call) -> Any:
    """Whether fees are paid in MX."""
    return _mx_reply(call)


def set_mx_deduct(call: Call) -> Any:
    """Pay fees in MX, or not."""
    word = mandatory(call.params, "mxDeductEnable").lower()
    if word not in ("true", "false"):
        raise Rejection(33333, f"param error: mxDeductEnable {word}")
    call.account.mx_deduct = word == "true"
    return _mx_reply(call)


def _mx_reply(call: Call) -> Any:
    return {"data": {"mxDeductEnable": call.account.mx_deduct}, "code": 0, "msg": "success", "timestamp": call.now_ms}


def currencies(call: Call) -> Any:
    """Coins with their networks: none, for nothing can be moved; some clients always ask."""
    return []


def create_listen_key(call: Call) -> Any:
    """A new listen key, valid for an hour."""
    keys = _living(call)
    if len(keys) >= call.venue.config.stream.listen_keys_per_uid:
        raise Rejection(730000, f"Request failed: {len(keys)} listen keys are the most")
    count = len(call.account.listen_keys)
    text = f"{call.venue.config.seed}:{call.account.uid}:{count}:{call.now_ms}"
    name = hashlib.sha256(text.encode()).hexdigest()[:LISTEN_KEY_LENGTH]
    _extend(call, name)
    call.venue.log.add(What.LISTEN_KEY, key=call.signed_key.access_key, why="created", listen_key=name[:8])
    return {"listenKey": name}


def list_listen_keys(call: Call) -> Any:
    """All listen keys of the account that are valid."""
    return {"listenKey": _living(call)}


def keep_listen_key(call: Call) -> Any:
    """Another hour."""
    name = _named(call)
    _extend(call, name)
    return {"listenKey": name}


def end_listen_key(call: Call) -> Any:
    """The key ends, and its streams with it."""
    name = _named(call)
    call.account.listen_keys[name] = 0
    call.venue.log.add(What.LISTEN_KEY, key=call.signed_key.access_key, why="deleted", listen_key=name[:8])
    return {"listenKey": name}


def _extend(call: Call, name: str) -> None:
    call.account.listen_keys[name] = call.venue.clock() + call.venue.config.stream.listen_key_ms


def _living(call: Call) -> list[str]:
    now = call.venue.clock()
    return [name for name, until in call.account.listen_keys.items() if until > now]


def _named(call: Call) -> str:
    name = mandatory(call.params, "listenKey")
    if name not in _living(call):
        raise Rejection(730708, "listen key not exist")
    return name


READ, WRITE = "SPOT_ACCOUNT_READ", "SPOT_ACCOUNT_WRITE"

ACCOUNT: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/account"): Endpoint(account, 10, READ, "account"),
    ("GET", "/api/v3/tradeFee"): Endpoint(trade_fee, 20, READ),
    ("GET", "/api/v3/selfSymbols"): Endpoint(self_symbols, 1, READ),
    ("GET", "/api/v3/uid"): Endpoint(uid, 1, READ),
    ("GET", "/api/v3/kyc/status"): Endpoint(kyc_status, 1, READ),
    ("GET", "/api/v3/mxDeduct/enable"): Endpoint(mx_deduct, 1, READ),
    ("POST", "/api/v3/mxDeduct/enable"): Endpoint(set_mx_deduct, 1, WRITE, changes=True),
    ("GET", "/api/v3/capital/config/getall"): Endpoint(currencies, 10, READ),
    ("POST", "/api/v3/userDataStream"): Endpoint(create_listen_key, 1, READ, changes=True),
    ("GET", "/api/v3/userDataStream"): Endpoint(list_listen_keys, 1, READ),
    ("PUT", "/api/v3/userDataStream"): Endpoint(keep_listen_key, 1, READ, changes=True),
    ("DELETE", "/api/v3/userDataStream"): Endpoint(end_listen_key, 1, READ, changes=True),
}
"""What an account and its stream need."""
