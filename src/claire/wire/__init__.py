"""The venue's wire messages: classes that protoc makes of proto/ (see tools/generate_wire.py).

Bytes in, bytes out and nothing else: what a message means to Claire is decided in `adapters.venues.mexc.frames`. The simulator
encodes with these classes what the adapter decodes with them; frames captured from the venue keep both honest (tests/recorded).
"""

from claire.wire.private_pb2 import PrivateAccount, PrivateDeals, PrivateOrders
from claire.wire.public_pb2 import (
    DepthLevel,
    PublicAggreBookTicker,
    PublicAggreDeal,
    PublicAggreDeals,
    PublicAggreDepths,
    PublicBookTicker,
    PublicBookTickerBatch,
    PublicDeal,
    PublicDeals,
    PublicIncreaseDepths,
    PublicIncreaseDepthsBatch,
    PublicLimitDepths,
    PublicMiniTicker,
    PublicMiniTickers,
    PublicSpotKline,
)
from claire.wire.push_pb2 import PushDataV3ApiWrapper

__all__ = [
    "DepthLevel",
    "PrivateAccount",
    "PrivateDeals",
    "PrivateOrders",
    "PublicAggreBookTicker",
    "PublicAggreDeal",
    "PublicAggreDeals",
    "PublicAggreDepths",
    "PublicBookTicker",
    "PublicBookTickerBatch",
    "PublicDeal",
    "PublicDeals",
    "PublicIncreaseDepths",
    "PublicIncreaseDepthsBatch",
    "PublicLimitDepths",
    "PublicMiniTicker",
    "PublicMiniTickers",
    "PublicSpotKline",
    "PushDataV3ApiWrapper",
]
