"""A REST call as handlers see it, and the table that says which handler a path has."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from claire.mexcsim.accounts import Account, ApiKey
from claire.mexcsim.exchange import Market
from claire.mexcsim.rules import Rejection, mandatory
from claire.mexcsim.state import Venue


class Call(Struct):
    """One call, read and (where it must be) authenticated."""

    venue: Venue
    method: str
    path: str
    params: Mapping[str, str]
    now_ms: int
    """The venue's clock when the call arrived."""
    key: ApiKey | None = None

    @property
    def account(self) -> Account:
        """The account of a signed call."""
        return self.signed_key.account

    @property
    def signed_key(self) -> ApiKey:
        """The key of a signed call."""
        assert self.key is not None  # noqa: S101 - the table marks the endpoint as signed
        return self.key

    def market(self) -> Market:
        """The market of the mandatory parameter ``symbol``.

        Raises:
            Rejection: it is missing (700004) or unknown (−1121).
        """
        return self.venue.exchange.market(mandatory(self.params, "symbol"))

    def whole(self, name: str, default: int | None = None) -> int | None:
        """A whole number among the parameters, such as a time in ms.

        Raises:
            Rejection: it is something else (700008).
        """
        text = self.params.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise Rejection(700008, f"Illegal characters found in parameter '{name}'.")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """The parameter ``limit``, at least 1 and cut to the most that the venue returns."""
        return max(1, min(self.whole("limit", default) or default, most))


Handler = Callable[[Call], Any]


class Endpoint(Struct, frozen=True):
    """One method of one path."""

    handler: Handler
    weight: int = 1
    permission: str = ""
    """What the key must have; empty: unsigned."""
    counted_as: str = ""
    """``order``, ``batch`` or ``account``: has a limit of its own per second."""
    changes: bool = False
    """Whether it can change something: then its answer can be lost after the deed."""
