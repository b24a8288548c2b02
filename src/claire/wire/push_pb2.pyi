from claire.wire import private_pb2 as _private_pb2
from claire.wire import public_pb2 as _public_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PushDataV3ApiWrapper(_message.Message):
    __slots__ = ("channel", "symbol", "symbol_id", "create_time", "send_time", "public_deals", "public_increase_depths", "public_limit_depths", "private_orders", "public_book_ticker", "private_deals", "private_account", "public_spot_kline", "public_mini_ticker", "public_mini_tickers", "public_book_ticker_batch", "public_increase_depths_batch", "public_aggre_depths", "public_aggre_deals", "public_aggre_book_ticker")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_DEALS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_INCREASE_DEPTHS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_LIMIT_DEPTHS_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_ORDERS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_BOOK_TICKER_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_DEALS_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_SPOT_KLINE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_MINI_TICKER_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_MINI_TICKERS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_BOOK_TICKER_BATCH_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_INCREASE_DEPTHS_BATCH_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_AGGRE_DEPTHS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_AGGRE_DEALS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_AGGRE_BOOK_TICKER_FIELD_NUMBER: _ClassVar[int]
    channel: str
    symbol: str
    symbol_id: str
    create_time: int
    send_time: int
    public_deals: _public_pb2.PublicDeals
    public_increase_depths: _public_pb2.PublicIncreaseDepths
    public_limit_depths: _public_pb2.PublicLimitDepths
    private_orders: _private_pb2.PrivateOrders
    public_book_ticker: _public_pb2.PublicBookTicker
    private_deals: _private_pb2.PrivateDeals
    private_account: _private_pb2.PrivateAccount
    public_spot_kline: _public_pb2.PublicSpotKline
    public_mini_ticker: _public_pb2.PublicMiniTicker
    public_mini_tickers: _public_pb2.PublicMiniTickers
    public_book_ticker_batch: _public_pb2.PublicBookTickerBatch
    public_increase_depths_batch: _public_pb2.PublicIncreaseDepthsBatch
    public_aggre_depths: _public_pb2.PublicAggreDepths
    public_aggre_deals: _public_pb2.PublicAggreDeals
    public_aggre_book_ticker: _public_pb2.PublicAggreBookTicker
    def __init__(self, channel: _Optional[str] = ..., symbol: _Optional[str] = ..., symbol_id: _Optional[str] = ..., create_time: _Optional[int] = ..., send_time: _Optional[int] = ..., public_deals: _Optional[_Union[_public_pb2.PublicDeals, _Mapping]] = ..., public_increase_depths: _Optional[_Union[_public_pb2.PublicIncreaseDepths, _Mapping]] = ..., public_limit_depths: _Optional[_Union[_public_pb2.PublicLimitDepths, _Mapping]] = ..., private_orders: _Optional[_Union[_private_pb2.PrivateOrders, _Mapping]] = ..., public_book_ticker: _Optional[_Union[_public_pb2.PublicBookTicker, _Mapping]] = ..., private_deals: _Optional[_Union[_private_pb2.PrivateDeals, _Mapping]] = ..., private_account: _Optional[_Union[_private_pb2.PrivateAccount, _Mapping]] = ..., public_spot_kline: _Optional[_Union[_public_pb2.PublicSpotKline, _Mapping]] = ..., public_mini_ticker: _Optional[_Union[_public_pb2.PublicMiniTicker, _Mapping]] = ..., public_mini_tickers: _Optional[_Union[_public_pb2.PublicMiniTickers, _Mapping]] = ..., public_book_ticker_batch: _Optional[_Union[_public_pb2.PublicBookTickerBatch, _Mapping]] = ..., public_increase_depths_batch: _Optional[_Union[_public_pb2.PublicIncreaseDepthsBatch, _Mapping]] = ..., public_aggre_depths: _Optional[_Union[_public_pb2.PublicAggreDepths, _Mapping]] = ..., public_aggre_deals: _Optional[_Union[_public_pb2.PublicAggreDeals, _Mapping]] = ..., public_aggre_book_ticker: _Optional[_Union[_public_pb2.PublicAggreBookTicker, _Mapping]] = ...) -> None: ...
