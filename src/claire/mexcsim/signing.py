"""Who calls, and may they: parameters, signature, time window, permissions (sheet 3.1).

The signature covers the bytes as they were sent: the query string followed at once by the body, without ``signature``.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl

from claire.mexcsim.accounts import ApiKey
from claire.mexcsim.rules import Rejection

MAX_RECV_WINDOW_MS = 60_000
DEFAULT_RECV_WINDOW_MS = 5_000
AHEAD_MS = 1_000
"""A timestamp may be less than this ahead of the venue's clock."""


def parameters(query: str, body: str) -> dict[str, str]:
    """The parameters of query and body; a name in both has the query's value."""
    found = dict(parse_qsl(body, keep_blank_values=True))
    found.update(parse_qsl(query, keep_blank_values=True))
    return found


def without_signature(text: str) -> str:
    """Drop ``signature=…`` from query or body, and nothing else."""
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


def sign(secret: str, query: str, body: str) -> str:
    """The signature of query and body: HMAC-SHA256 in lower-case hexadecimal."""
    message = without_signature(query) + without_signature(body)
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def check_content_type(method: str, content_type: str) -> None:
    """Hold calls that may have a body to JSON's content type, form bodies too.

    Raises:
        Rejection: it is another (700013).
    """
    if method != "GET" and content_type.partition(";")[0].strip().lower() != "application/json":
        raise Rejection(700013, "Invalid content Type.")


def check_signature(key: ApiKey | None, query: str, body: str, params: Mapping[str, str], now_ms: int) -> ApiKey:
    """Find out that a signed call is whose it says, and when it was made; return its key.

    Raises:
        Rejection: unknown or ended key, missing or wrong signature, or a time outside the window.
    """
    if not params.get("signature"):
        raise Rejection(700004, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    if key is None or key.revoked:
        raise Rejection("10072", "Api key info invalid")  # this code comes as text
    if key.expires_ms is not None and now_ms >= key.expires_ms:
        raise Rejection(402, "API key expired", 401)
    timestamp = _whole(params, "timestamp", None)
    window = _whole(params, "recvWindow", DEFAULT_RECV_WINDOW_MS)
    if window > MAX_RECV_WINDOW_MS:
        raise Rejection(700005, "recvWindow must less than 60000")
    if not hmac.compare_digest(sign(key.secret, query, body), params["signature"]):
        raise Rejection(700002, "Signature for this request is not valid.")
    if timestamp >= now_ms + AHEAD_MS or now_ms - timestamp > window:
        raise Rejection(700003, "Timestamp for this request is outside of the recvWindow.")
    return key


def _whole(params: Mapping[str, str], name: str, default: int | None) -> int:
    text = params.get(name, "")
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Rejection(700004, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return int(text)
