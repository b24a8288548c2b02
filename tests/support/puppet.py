"""A strategy that does what the trade says: its quantity in lots is the word."""

from claire.model.market import Trade
from claire.strategies.base import Opinion, Strategy

ENTER_LOTS = 2
EXIT_LOTS = 3


class Puppet(Strategy):
    """Enters at a trade of 2 lots, leaves at one of 3; nothing else moves it."""

    def on_trade(self, trade: Trade) -> Opinion:
        """Look at the quantity."""
        if trade.quantity_lots == ENTER_LOTS:
            return Opinion.ENTER
        return Opinion.EXIT if trade.quantity_lots == EXIT_LOTS else Opinion.NO_ENTRY
