"""Whatever is written into a configuration: it is refused in words, or every limit stays below its ceiling."""

import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from claire.adapters.config import Settings, canonical, load, restore
from claire.adapters.config.keys import settings_keys
from claire.adapters.config.schema import Mode
from claire.latch import ceilings
from claire.model.books import Books
from claire.model.errors import ConfigError
from claire.services.assembly import risk_rules
from claire.stages.controls_limits import limits
from claire.stages.risk import Identity, Risk
from claire.stages.risk_state import Release

VALID = """config_version = 1
mode = "paper"

[account]
capital = 500

[paper]
latency_ms = 20
slippage_ticks = 2

[paper.balance]
USDT = 1000
BTC = 0.5

[fees]
taker_bps = 10

[risk]
position_pct = 4
max_order_pct = 8
max_daily_loss_pct = 2.5

[instruments.BTCUSDT]
tick = 0.01
lot = 0.00001

[[strategy]]
id = "m"
kind = "momentum"
symbols = ["BTCUSDT"]
lookback_s = 60
"""

numbers = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.floats().map(repr),
    st.sampled_from(["5%", "3m", "1_0", "١٢", "true", "-0", "1e-400", "9" * 4000, "", "[]", "{}"]),
)
names = st.sampled_from([key.name for key in settings_keys().values()]).map(
    lambda name: name.replace("ASSET", "USDT").replace("SYMBOL", "BTCUSDT")
)


COUNTED = (
    "max_orders_per_s", "max_orders_per_min", "max_orders_per_day", "max_entries_per_min", "max_entries_per_h",
    "max_entries_per_day", "stop_guard_exits", "max_rejects_in_row", "max_rejects_per_5_min",
)  # fmt: skip


def in_force(settings: Settings) -> None:
    """What the stage goes by is within the ceilings too, whatever the mode."""
    rules = risk_rules(settings)
    books = Books("USDT", {}, {}, cash={"USDT": 10**21})
    listed = limits(Risk(rules, books, Identity("a", "v"), {}, {}), 0)
    assert listed
    for limit in listed:
        assert limit.enforced
        assert limit.ceiling is None or 0 <= limit.value <= limit.ceiling, limit
    if settings.mode is not Mode.BACKTEST:
        assert rules.release is Release.OPERATOR


def check(settings: Settings) -> None:
    risk = settings.risk
    assert 0 < risk.max_order_pct <= ceilings.MAX_ORDER_PCT
    assert 0 < risk.max_symbol_pct <= ceilings.MAX_SYMBOL_PCT
    assert 0 < risk.max_gross_pct <= ceilings.MAX_GROSS_PCT
    assert 0 < risk.max_daily_loss_pct <= ceilings.MAX_DAILY_LOSS_PCT
    assert 0 <= risk.cash_reserve_pct <= ceilings.MAX_CASH_RESERVE_PCT
    assert 1 <= risk.max_open_orders <= ceilings.MAX_OPEN_ORDERS
    assert 1 <= risk.max_data_age_ms <= ceilings.MAX_DATA_AGE_MS
    assert 0 < risk.max_drawdown_pct <= ceilings.MAX_DRAWDOWN_PCT
    assert 0 < risk.max_jump_pct <= ceilings.MAX_JUMP_PCT
    assert 0 < risk.collar_pct <= ceilings.MAX_COLLAR_PCT
    assert 1 <= risk.max_symbol_orders <= ceilings.MAX_SYMBOL_ORDERS
    assert risk.duplicate_window_ms >= ceilings.MIN_DUPLICATE_WINDOW_MS
    assert risk.stop_guard_min >= ceilings.MIN_STOP_GUARD_MIN
    assert risk.cooldown_s >= 0
    for name in COUNTED:
        assert (
            1
            <= getattr(risk, name)
            <= getattr(ceilings, name.upper() if name.startswith("max") else f"MAX_{name.upper()}")
        )
    assert risk.profile == "default"
    in_force(settings)
    assert (
        0
        < risk.position_pct
        <= min(risk.max_order_pct, risk.max_symbol_pct, risk.max_gross_pct, 100 - risk.cash_reserve_pct)
    )
    assert all(Decimal(0) <= amount <= 10**15 for amount in settings.paper.balance.values())
    text = canonical(settings)
    assert restore(text).settings == settings
    assert canonical(restore(text).settings) == text


def accepted(text: str, assignments: list[str], environ: dict[str, str]) -> bool:
    """Load; return whether it was accepted. Anything but `ConfigError` breaks the test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "claire.toml")
        file.write_text(text, encoding="utf-8")
        try:
            settings = load(config=file, environ=environ, assignments=assignments).settings
        except ConfigError:
            return False
    check(settings)
    return True


def test_the_unchanged_file_is_accepted():
    assert accepted(VALID, [], {})


@given(st.lists(st.tuples(names, numbers), max_size=4))
@example([("risk.max_order_pct", "10.000000000000000001")])
def test_any_setting_to_any_number(pairs):
    assignments = [f"{name}={value}" for name, value in pairs]
    accepted(VALID, assignments, {})
    accepted(VALID, [], {"CLAIRE_" + name.upper().replace(".", "__"): value for name, value in pairs})


@given(st.lists(st.tuples(st.integers(0, len(VALID.splitlines()) - 1), numbers), min_size=1, max_size=3))
def test_any_line_of_the_file_with_another_value(changes):
    lines = VALID.splitlines()
    for number, value in changes:
        name, equals, _ = lines[number].partition(" = ")
        lines[number] = f"{name} = {value}" if equals else lines[number]
    accepted("\n".join(lines), [], {})


@given(st.data())
def test_any_cut_or_inserted_text(data):
    start = data.draw(st.integers(0, len(VALID)))
    end = data.draw(st.integers(start, min(len(VALID), start + 30)))
    accepted(VALID[:start] + data.draw(st.text(max_size=8)) + VALID[end:], [], {})
