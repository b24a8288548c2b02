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

MAX_SYMBOL_ORDERS: Final = 20
"""Most orders working, in flight or unknown in one symbol (control C09)."""

MAX_DRAWDOWN_PCT: Final = Decimal(30)
"""Largest fall of equity from its peak before entries stop, in % of the peak (control C17)."""

MAX_DATA_AGE_MS: Final = 60_000
"""Oldest last trade that an entry may rest on, in milliseconds (control C13)."""

MAX_JUMP_PCT: Final = Decimal(20)
"""Largest step between two trades that an entry may rest on without a second trade there, in % (control C13)."""

MAX_COLLAR_PCT: Final = Decimal(5)
"""Furthest that a price may be from its reference, in % (control C02; RTS 6 article 15(1)(a), FIA price tolerance)."""

EXIT_COLLARS_PCT: Final = (Decimal(1), Decimal(2), Decimal(5))
"""The same for orders that reduce, attempt by attempt (DESIGN 7): getting out matters more than the last percent."""

MIN_DUPLICATE_WINDOW_MS: Final = 1_000
"""Shortest time within which the same order counts as a duplicate, in milliseconds (control C07; 15c3-5(c)(1)(ii))."""

MAX_ORDERS_PER_S: Final = 10
"""Most entries of the account within a second (control C05; RTS 6 article 15(1)(d), FIA message throttles)."""

MAX_ORDERS_PER_MIN: Final = 100
"""Most entries of the account within a minute (control C05)."""

MAX_ORDERS_PER_DAY: Final = 2_000
"""Most entries of the account within 24 hours (control C05)."""

MAX_ENTRIES_PER_MIN: Final = 10
"""Most entries of one strategy in one symbol within a minute (control C06; RTS 6 article 15(3))."""

MAX_ENTRIES_PER_H: Final = 60
"""Most entries of one strategy in one symbol within an hour (control C06)."""

MAX_ENTRIES_PER_DAY: Final = 300
"""Most entries of one strategy in one symbol within 24 hours (control C06)."""

MAX_STOP_GUARD_EXITS: Final = 20
"""Most losing exits of a symbol before its entries pause (control C18)."""

MIN_STOP_GUARD_MIN: Final = 5
"""Shortest time in which losing exits are counted and then paused for, in minutes (control C18)."""

MAX_REJECTS_IN_ROW: Final = 20
"""Most rejects in a row before a strategy stops (control C19)."""

MAX_REJECTS_PER_5_MIN: Final = 50
"""Most rejects within five minutes before a strategy stops (control C19)."""

MAX_RECONCILE_ORDERS_S: Final = 10
"""Longest time between two comparisons of open orders with the venue, in seconds (control C24; FIA drop copy reconciliation)."""

MAX_RECONCILE_FILLS_S: Final = 15
"""Longest time between two comparisons of executions, in seconds (control C24)."""

MAX_RECONCILE_BALANCES_S: Final = 30
"""Longest time between two comparisons of balances, in seconds (control C24)."""

MAX_HEART_S: Final = 60
"""Longest silence of a trading process that is borne before its account is killed, in seconds (control C22)."""
