from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PrivateOrders(_message.Message):
    __slots__ = ("id", "client_id", "price", "quantity", "amount", "avg_price", "order_type", "trade_type", "is_maker", "remain_amount", "remain_quantity", "last_deal_quantity", "cumulative_quantity", "cumulative_amount", "status", "create_time", "market", "trigger_type", "trigger_price", "state", "oco_id", "route_factor", "symbol_id", "market_id", "market_currency_id", "currency_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    AVG_PRICE_FIELD_NUMBER: _ClassVar[int]
    ORDER_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRADE_TYPE_FIELD_NUMBER: _ClassVar[int]
    IS_MAKER_FIELD_NUMBER: _ClassVar[int]
    REMAIN_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REMAIN_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LAST_DEAL_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_PRICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OCO_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FACTOR_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    MARKET_ID_FIELD_NUMBER: _ClassVar[int]
    MARKET_CURRENCY_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    client_id: str
    price: str
    quantity: str
    amount: str
    avg_price: str
    order_type: int
    trade_type: int
    is_maker: bool
    remain_amount: str
    remain_quantity: str
    last_deal_quantity: str
    cumulative_quantity: str
    cumulative_amount: str
    status: int
    create_time: int
    market: str
    trigger_type: int
    trigger_price: str
    state: int
    oco_id: str
    route_factor: str
    symbol_id: str
    market_id: str
    market_currency_id: str
    currency_id: str
    def __init__(self, id: _Optional[str] = ..., client_id: _Optional[str] = ..., price: _Optional[str] = ..., quantity: _Optional[str] = ..., amount: _Optional[str] = ..., avg_price: _Optional[str] = ..., order_type: _Optional[int] = ..., trade_type: _Optional[int] = ..., is_maker: _Optional[bool] = ..., remain_amount: _Optional[str] = ..., remain_quantity: _Optional[str] = ..., last_deal_quantity: _Optional[str] = ..., cumulative_quantity: _Optional[str] = ..., cumulative_amount: _Optional[str] = ..., status: _Optional[int] = ..., create_time: _Optional[int] = ..., market: _Optional[str] = ..., trigger_type: _Optional[int] = ..., trigger_price: _Optional[str] = ..., state: _Optional[int] = ..., oco_id: _Optional[str] = ..., route_factor: _Optional[str] = ..., symbol_id: _Optional[str] = ..., market_id: _Optional[str] = ..., market_currency_id: _Optional[str] = ..., currency_id: _Optional[str] = ...) -> None: ...

class PrivateDeals(_message.Message):
    __slots__ = ("price", "quantity", "amount", "trade_type", "is_maker", "is_self_trade", "trade_id", "client_order_id", "order_id", "fee_amount", "fee_currency", "time")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TRADE_TYPE_FIELD_NUMBER: _ClassVar[int]
    IS_MAKER_FIELD_NUMBER: _ClassVar[int]
    IS_SELF_TRADE_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    FEE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    FEE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    amount: str
    trade_type: int
    is_maker: bool
    is_self_trade: bool
    trade_id: str
    client_order_id: str
    order_id: str
    fee_amount: str
    fee_currency: str
    time: int
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ..., amount: _Optional[str] = ..., trade_type: _Optional[int] = ..., is_maker: _Optional[bool] = ..., is_self_trade: _Optional[bool] = ..., trade_id: _Optional[str] = ..., client_order_id: _Optional[str] = ..., order_id: _Optional[str] = ..., fee_amount: _Optional[str] = ..., fee_currency: _Optional[str] = ..., time: _Optional[int] = ...) -> None: ...

class PrivateAccount(_message.Message):
    __slots__ = ("vcoin_name", "coin_id", "balance_amount", "balance_amount_change", "frozen_amount", "frozen_amount_change", "type", "time")
    VCOIN_NAME_FIELD_NUMBER: _ClassVar[int]
    COIN_ID_FIELD_NUMBER: _ClassVar[int]
    BALANCE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    BALANCE_AMOUNT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    FROZEN_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    FROZEN_AMOUNT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    vcoin_name: str
    coin_id: str
    balance_amount: str
    balance_amount_change: str
    frozen_amount: str
    frozen_amount_change: str
    type: str
    time: int
    def __init__(self, vcoin_name: _Optional[str] = ..., coin_id: _Optional[str] = ..., balance_amount: _Optional[str] = ..., balance_amount_change: _Optional[str] = ..., frozen_amount: _Optional[str] = ..., frozen_amount_change: _Optional[str] = ..., type: _Optional[str] = ..., time: _Optional[int] = ...) -> None: ...
