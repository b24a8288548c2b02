"""The paper venue keeps the promises of every venue: near and far away, with fees in quote and in base."""

from decimal import Decimal

import pytest

from claire.adapters.venues.paper import PaperRules
from tests.contract.venue_contract import VenueContract
from tests.contract.venue_desk import MS_NS, PaperDesk, VenueDesk


class TestPaperVenue(VenueContract):
    @pytest.fixture
    def desk(self) -> VenueDesk:
        return PaperDesk()


class TestDistantPaperVenue(VenueContract):
    @pytest.fixture
    def desk(self) -> VenueDesk:
        rules = PaperRules(
            feed_latency_ns=30 * MS_NS,
            entry_latency_ns=50 * MS_NS,
            response_latency_ns=70 * MS_NS,
            taker_bps=Decimal("7.5"),
            maker_bps=Decimal(2),
        )
        return PaperDesk(rules)


class TestPaperVenueWithFeesInBase(VenueContract):
    @pytest.fixture
    def desk(self) -> VenueDesk:
        return PaperDesk(PaperRules(taker_bps=Decimal(10), maker_bps=Decimal(5), fee_asset="base"))
