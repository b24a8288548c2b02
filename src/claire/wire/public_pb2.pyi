from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublicAggreDeal(_message.Message):
    __slots__ = ("price", "quantity", "trade_type", "time", "trade_id")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TRADE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TRADE_ID_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    trade_type: int
    time: int
    trade_id: str
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ..., trade_type: _Optional[int] = ..., time: _Optional[int] = ..., trade_id: _Optional[str] = ...) -> None: ...

class PublicAggreDeals(_message.Message):
    __slots__ = ("deals", "event_type")
    DEALS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    deals: _containers.RepeatedCompositeFieldContainer[PublicAggreDeal]
    event_type: str
    def __init__(self, deals: _Optional[_Iterable[_Union[PublicAggreDeal, _Mapping]]] = ..., event_type: _Optional[str] = ...) -> None: ...

class PublicDeal(_message.Message):
    __slots__ = ("price", "quantity", "trade_type", "time")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TRADE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    trade_type: int
    time: int
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ..., trade_type: _Optional[int] = ..., time: _Optional[int] = ...) -> None: ...

class PublicDeals(_message.Message):
    __slots__ = ("deals", "event_type")
    DEALS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    deals: _containers.RepeatedCompositeFieldContainer[PublicDeal]
    event_type: str
    def __init__(self, deals: _Optional[_Iterable[_Union[PublicDeal, _Mapping]]] = ..., event_type: _Optional[str] = ...) -> None: ...

class DepthLevel(_message.Message):
    __slots__ = ("price", "quantity")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    price: str
    quantity: str
    def __init__(self, price: _Optional[str] = ..., quantity: _Optional[str] = ...) -> None: ...

class PublicAggreDepths(_message.Message):
    __slots__ = ("asks", "bids", "event_type", "from_version", "to_version", "last_order_create_time")
    ASKS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    asks: _containers.RepeatedCompositeFieldContainer[DepthLevel]
    bids: _containers.RepeatedCompositeFieldContainer[DepthLevel]
    event_type: str
    from_version: str
    to_version: str
    last_order_create_time: int
    def __init__(self, asks: _Optional[_Iterable[_Union[DepthLevel, _Mapping]]] = ..., bids: _Optional[_Iterable[_Union[DepthLevel, _Mapping]]] = ..., event_type: _Optional[str] = ..., from_version: _Optional[str] = ..., to_version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class PublicLimitDepths(_message.Message):
    __slots__ = ("asks", "bids", "event_type", "version", "last_order_create_time")
    ASKS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    asks: _containers.RepeatedCompositeFieldContainer[DepthLevel]
    bids: _containers.RepeatedCompositeFieldContainer[DepthLevel]
    event_type: str
    version: str
    last_order_create_time: int
    def __init__(self, asks: _Optional[_Iterable[_Union[DepthLevel, _Mapping]]] = ..., bids: _Optional[_Iterable[_Union[DepthLevel, _Mapping]]] = ..., event_type: _Optional[str] = ..., version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class PublicIncreaseDepths(_message.Message):
    __slots__ = ("asks", "bids", "event_type", "version")
    ASKS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    asks: _containers.RepeatedCompositeFieldContainer[DepthLevel]
    bids: _containers.RepeatedCompositeFieldContainer[DepthLevel]
    event_type: str
    version: str
    def __init__(self, asks: _Optional[_Iterable[_Union[DepthLevel, _Mapping]]] = ..., bids: _Optional[_Iterable[_Union[DepthLevel, _Mapping]]] = ..., event_type: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class PublicIncreaseDepthsBatch(_message.Message):
    __slots__ = ("items", "event_type")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PublicIncreaseDepths]
    event_type: str
    def __init__(self, items: _Optional[_Iterable[_Union[PublicIncreaseDepths, _Mapping]]] = ..., event_type: _Optional[str] = ...) -> None: ...

class PublicAggreBookTicker(_message.Message):
    __slots__ = ("bid_price", "bid_quantity", "ask_price", "ask_quantity", "version", "last_order_create_time")
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str
    version: str
    last_order_create_time: int
    def __init__(self, bid_price: _Optional[str] = ..., bid_quantity: _Optional[str] = ..., ask_price: _Optional[str] = ..., ask_quantity: _Optional[str] = ..., version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class PublicBookTicker(_message.Message):
    __slots__ = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str
    def __init__(self, bid_price: _Optional[str] = ..., bid_quantity: _Optional[str] = ..., ask_price: _Optional[str] = ..., ask_quantity: _Optional[str] = ...) -> None: ...

class PublicBookTickerBatch(_message.Message):
    __slots__ = ("items", "version", "last_order_create_time")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ORDER_CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PublicBookTicker]
    version: str
    last_order_create_time: int
    def __init__(self, items: _Optional[_Iterable[_Union[PublicBookTicker, _Mapping]]] = ..., version: _Optional[str] = ..., last_order_create_time: _Optional[int] = ...) -> None: ...

class PublicSpotKline(_message.Message):
    __slots__ = ("interval", "window_start", "opening_price", "closing_price", "highest_price", "lowest_price", "volume", "amount", "window_end")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    OPENING_PRICE_FIELD_NUMBER: _ClassVar[int]
    CLOSING_PRICE_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_PRICE_FIELD_NUMBER: _ClassVar[int]
    LOWEST_PRICE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_FIELD_NUMBER: _ClassVar[int]
    interval: str
    window_start: int
    opening_price: str
    closing_price: str
    highest_price: str
    lowest_price: str
    volume: str
    amount: str
    window_end: int
    def __init__(self, interval: _Optional[str] = ..., window_start: _Optional[int] = ..., opening_price: _Optional[str] = ..., closing_price: _Optional[str] = ..., highest_price: _Optional[str] = ..., lowest_price: _Optional[str] = ..., volume: _Optional[str] = ..., amount: _Optional[str] = ..., window_end: _Optional[int] = ...) -> None: ...

class PublicMiniTicker(_message.Message):
    __slots__ = ("symbol", "price", "rate", "zoned_rate", "high", "low", "volume", "quantity", "last_close_rate", "last_close_zoned_rate", "last_close_high", "last_close_low")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    ZONED_RATE_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LAST_CLOSE_RATE_FIELD_NUMBER: _ClassVar[int]
    LAST_CLOSE_ZONED_RATE_FIELD_NUMBER: _ClassVar[int]
    LAST_CLOSE_HIGH_FIELD_NUMBER: _ClassVar[int]
    LAST_CLOSE_LOW_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    price: str
    rate: str
    zoned_rate: str
    high: str
    low: str
    volume: str
    quantity: str
    last_close_rate: str
    last_close_zoned_rate: str
    last_close_high: str
    last_close_low: str
    def __init__(self, symbol: _Optional[str] = ..., price: _Optional[str] = ..., rate: _Optional[str] = ..., zoned_rate: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., volume: _Optional[str] = ..., quantity: _Optional[str] = ..., last_close_rate: _Optional[str] = ..., last_close_zoned_rate: _Optional[str] = ..., last_close_high: _Optional[str] = ..., last_close_low: _Optional[str] = ...) -> None: ...

class PublicMiniTickers(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PublicMiniTicker]
    def __init__(self, items: _Optional[_Iterable[_Union[PublicMiniTicker, _Mapping]]] = ...) -> None: ...
