"""Signatures of MEXC's REST: HMAC-SHA256 over exactly the bytes that are sent, in lower-case hexadecimal.

Source: MEXC Spot v3, "Signed" (introduction, 2026-04-04); the vectors in the tests are computed from it. What is signed is the
query, percent-encoded with upper-case digits, immediately followed by the body; Claire sends no body.

Two signers hold a secret, and neither shows it: `OrderSigner` signs what creates an order and nothing else, `QuerySigner`
everything else that Claire needs and never what creates an order.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, NoReturn
from urllib.parse import quote

from claire.model.errors import SafetyRefusal

Params = Iterable[tuple[str, str]]

ORDER_PATHS: Final = ("/api/v3/order", "/api/v3/order/test", "/api/v3/batchOrders")
"""What is POSTed here creates an order (or pretends to)."""

SIGNABLE: Final = {
    "DELETE": ("/api/v3/order", "/api/v3/openOrders", "/api/v3/order/all", "/api/v3/userDataStream"),
    "POST": ("/api/v3/userDataStream",),
    "PUT": ("/api/v3/userDataStream",),
}
"""Beside every GET, all that `QuerySigner` signs: cancels and listen keys."""

_PATH: Final = re.compile(r"/api/v3(/[A-Za-z0-9]+)+")


def encode(params: Params) -> str:
    """Write parameters as a query: everything but letters, digits and ``_.-~`` percent-encoded, a blank as ``%20``."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params)


def signature(secret: str, total_params: str) -> str:
    """Return the signature of a query followed by a body."""
    return hmac.new(secret.encode(), total_params.encode(), hashlib.sha256).hexdigest()


class Keys:
    """An access key and its secret. Neither can be printed, compared or pickled by accident."""

    __slots__ = ("_access_key", "_secret_key")

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._access_key = access_key
        self._secret_key = secret_key

    def __repr__(self) -> str:
        return "Keys(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not written anywhere")


def to_child(keys: Keys) -> bytes:
    """Return keys as the line that a process of ours reads from its standard input: never an argument, a variable or a file."""
    return f"{keys._access_key} {keys._secret_key}\n".encode()


def from_parent(line: bytes) -> Keys:
    """Return the keys in such a line.

    Raises:
        SafetyRefusal: it is none.
    """
    words = line.decode("ascii", "replace").split()
    if len(words) != 2:
        raise SafetyRefusal(
            "standard input holds no keys; they are given as two words on one line, by the process that starts this one"
        )
    return Keys(*words)


class _Signer:
    """Holds the keys and makes signed queries."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("signers are not written anywhere")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every signed request."""
        return {"X-MEXC-APIKEY": self._keys._access_key, "Content-Type": "application/json"}

    def _sign(self, params: Params, timestamp_ms: int, recv_window_ms: int) -> str:
        stamped = [*params, ("timestamp", str(timestamp_ms)), ("recvWindow", str(recv_window_ms))]
        query = encode(stamped)
        return f"{query}&signature={signature(self._keys._secret_key, query)}"


class OrderSigner(_Signer):
    """Signs what creates an order. Only `send` holds one."""

    __slots__ = ()

    def sign(self, path: str, params: Params, *, timestamp_ms: int, recv_window_ms: int) -> str:
        """Return the query of a POST that creates an order, signed.

        Raises:
            SafetyRefusal: the path does not create orders.
        """
        if path not in ORDER_PATHS:
            raise SafetyRefusal(
                f"POST {path} creates no order; the signer of orders signs only {', '.join(ORDER_PATHS)}"
            )
        return self._sign(params, timestamp_ms, recv_window_ms)


class QuerySigner(_Signer):
    """Signs queries, cancels and listen keys; refuses everything else, what creates an order first of all."""

    __slots__ = ()

    def sign(self, method: str, path: str, params: Params, *, timestamp_ms: int, recv_window_ms: int) -> str:
        """Return the query of a request, signed.

        Raises:
            SafetyRefusal: the request is neither a query, nor a cancel, nor about a listen key.
        """
        is_known = _PATH.fullmatch(path) if method == "GET" else path in SIGNABLE.get(method, ())
        if not is_known:
            raise SafetyRefusal(
                f"{method} {path} is refused: this signer signs queries, cancels and listen keys only;"
                " an order goes through claire.gateway.send"
            )
        return self._sign(params, timestamp_ms, recv_window_ms)
