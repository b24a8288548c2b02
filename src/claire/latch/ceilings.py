"""Ceilings: how far configuration may go. A setting beyond one is a configuration error, in every mode.

They are constants on purpose. Who wants more changes this file, in a commit that says why and that the owners of risk
review. Each ceiling names the control that it belongs to and the documents that ask for the control; the number is
ours: about twice what a careful default uses, so that no typing error (50 for 5) turns into a ruinous order.

Sources: Commission Delegated Regulation (EU) 2017/589 ("RTS 6"), articles 15 and 17; SEC Rule 15c3-5
(17 CFR 240.15c3-5); FIA, Best Practices for Automated Trading Risk Controls, 2024.
"""

from decimal import Decimal
from typing import Final

MAX_ORDER_PCT: Final = Decimal(10)
"""Largest value of one order, in % of equity (control C03; RTS 6 article 15(1)(b), FIA maximum order size)."""

MAX_SYMBOL_PCT: Final = Decimal(40)
"""Largest exposure in one symbol, held and in flight, in % of equity (control C10; RTS 6 article 15(2))."""

MAX_GROSS_PCT: Final = Decimal(100)
"""Largest exposure in all symbols together, in % of equity (control C10): what is owned, never what is borrowed."""

MAX_CASH_RESERVE_PCT: Final = Decimal(90)
"""Largest share of equity that may be kept back (control C11; 15c3-5(c)(1)(i)). Above it nothing would ever trade."""

MAX_DAILY_LOSS_PCT: Final = Decimal(10)
"""Largest loss since 00:00 UTC before entries stop, in % of the day's starting equity (control C16; RTS 6 article 15(4))."""

MAX_OPEN_ORDERS: Final = 100
"""Most orders working or in flight at once (control C09). MEXC allows 500; five times less leaves room to sweep them."""

MAX_DATA_AGE_MS: Final = 60_000
"""Oldest last trade that an entry may rest on, in milliseconds (control C13)."""

MAX_RECONCILE_ORDERS_S: Final = 10
"""Longest time between two comparisons of open orders with the venue, in seconds (control C24; FIA drop copy reconciliation)."""

MAX_RECONCILE_FILLS_S: Final = 15
"""Longest time between two comparisons of executions, in seconds (control C24)."""

MAX_RECONCILE_BALANCES_S: Final = 30
"""Longest time between two comparisons of balances, in seconds (control C24)."""
