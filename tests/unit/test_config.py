"""The configuration: who wins, what is refused, and whether a person can act on what is said."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from claire.adapters.config import Keep, Mode, account_of, canonical, digest, load, restore
from claire.adapters.config.keys import settings_keys
from claire.adapters.config.layers import ALIASES, PROCESS_VARIABLES, key_lines
from claire.latch import ceilings
from claire.model.errors import ConfigError, UsageError

LIMITS: dict[str, Decimal | int] = {
    "max_order_pct": ceilings.MAX_ORDER_PCT,
    "max_symbol_pct": ceilings.MAX_SYMBOL_PCT,
    "max_gross_pct": ceilings.MAX_GROSS_PCT,
    "cash_reserve_pct": ceilings.MAX_CASH_RESERVE_PCT,
    "max_daily_loss_pct": ceilings.MAX_DAILY_LOSS_PCT,
    "max_open_orders": ceilings.MAX_OPEN_ORDERS,
    "max_data_age_ms": ceilings.MAX_DATA_AGE_MS,
    "max_symbol_orders": ceilings.MAX_SYMBOL_ORDERS,
    "max_drawdown_pct": ceilings.MAX_DRAWDOWN_PCT,
    "max_jump_pct": ceilings.MAX_JUMP_PCT,
    "collar_pct": ceilings.MAX_COLLAR_PCT,
    "max_orders_per_s": ceilings.MAX_ORDERS_PER_S,
    "max_orders_per_min": ceilings.MAX_ORDERS_PER_MIN,
    "max_orders_per_day": ceilings.MAX_ORDERS_PER_DAY,
    "max_entries_per_min": ceilings.MAX_ENTRIES_PER_MIN,
    "max_entries_per_h": ceilings.MAX_ENTRIES_PER_H,
    "max_entries_per_day": ceilings.MAX_ENTRIES_PER_DAY,
    "stop_guard_exits": ceilings.MAX_STOP_GUARD_EXITS,
    "max_rejects_in_row": ceilings.MAX_REJECTS_IN_ROW,
    "max_rejects_per_5_min": ceilings.MAX_REJECTS_PER_5_MIN,
}
FLOORS = {"duplicate_window_ms": ceilings.MIN_DUPLICATE_WINDOW_MS, "stop_guard_min": ceilings.MIN_STOP_GUARD_MIN}


class Folder:
    """A working directory of its own: no file and no environment but what a test puts there."""

    def __init__(self, path: Path):
        self.path = path
        self.environ: dict[str, str] = {}

    def write(self, text: str, name: str = "claire.toml") -> Path:
        file = self.path / name
        file.write_text(text, encoding="utf-8")
        return file

    def load(self, *assignments: str, **options):
        return load(environ=self.environ, assignments=assignments, folder=self.path, **options)

    def refused(self, *assignments: str, **options) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(*assignments, **options)
        assert caught.value.exit_code == 2
        return str(caught.value)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


# -- who wins -----------------------------------------------------------------------------------------------------------


def test_without_anything_configured_momentum_trades_paper_money_with_careful_limits(folder):
    settings = folder.load().settings
    assert settings.mode is Mode.PAPER
    assert settings.paper.balance == {"USDT": Decimal(1000)}
    assert (settings.risk.position_pct, settings.risk.max_order_pct) == (5, 10)
    assert [(s.id, s.kind, s.symbols) for s in settings.strategy] == [("momentum-1", "momentum", ())]
    assert settings.strategy[0].params["threshold_pct"] == 3.0
    assert settings.journal.record is Keep.ALL


def test_each_place_wins_over_the_one_before_it_and_every_value_tells_its_place(folder):
    file = folder.write("[fees]\ntaker_bps = 1\nmaker_bps = 1\n\n[risk]\nposition_pct = 1\n")
    folder.environ = {"CLAIRE_FEES__MAKER_BPS": "2", "CLAIRE_RISK__POSITION_PCT": "2"}
    loaded = folder.load("risk.position_pct=3")
    assert (loaded.settings.fees.taker_bps, loaded.settings.fees.maker_bps, loaded.settings.risk.position_pct) == (
        1,
        2,
        3,
    )
    assert loaded.file == file
    assert loaded.sources["fees.taker_bps"] == f"{file}, line 2"
    assert loaded.sources["fees.maker_bps"] == "CLAIRE_FEES__MAKER_BPS"
    assert loaded.sources["risk.position_pct"] == "--set risk.position_pct=3"
    assert loaded.sources["risk.max_order_pct"] == "default"
    rows = {name: (text, source) for name, text, source in loaded.rows()}
    assert rows["risk.position_pct"] == ("3", "--set risk.position_pct=3")
    assert rows["account.currency"] == ("USDT", "default")


def test_a_named_file_wins_over_the_usual_one_and_the_usual_one_over_the_variable(folder):
    named = folder.write("[risk]\nposition_pct = 1\n", "named.toml")
    folder.environ = {"CLAIRE_CONFIG": str(named)}
    assert folder.load().settings.risk.position_pct == 1
    folder.write("[risk]\nposition_pct = 2\n")
    assert folder.load().settings.risk.position_pct == 2
    assert folder.load(config=named).settings.risk.position_pct == 1


def test_any_balance_given_replaces_the_default_balance(folder):
    settings = folder.load("paper.balance.ETH=2.5", "symbols=XRPETH").settings
    assert settings.paper.balance == {"ETH": Decimal("2.5")}
    assert account_of(settings, ["ETH"]) == ("ETH", Decimal("2.5"))


def test_one_latency_sets_all_three_parts_and_a_part_wins_over_it(folder):
    paper = folder.load("paper.latency_ms=7").settings.paper
    assert (paper.feed_ms, paper.entry_ms, paper.response_ms) == (7, 7, 7)
    paper = folder.load("paper.latency_ms=7", "paper.entry_latency_ms=0").settings.paper
    assert (paper.feed_ms, paper.entry_ms, paper.response_ms) == (7, 0, 7)


def test_the_old_variables_mean_what_they_meant_and_lose_against_the_new_ones(folder):
    folder.environ = {
        "WS_SOURCE": "stub",
        "MEXC_SYMBOL": "ETHUSDT",
        "MEXC_INTERVAL": "10ms",
        "SECRETS_PATH": "keys",  # pragma: allowlist secret
    }
    loaded = folder.load()
    settings = loaded.settings
    assert (settings.market.source, settings.market.interval, settings.secrets.path) == ("stub", "10ms", "keys")
    assert settings.symbols == ("ETHUSDT",)
    assert loaded.sources["market.source"] == "WS_SOURCE"
    assert loaded.sources["strategy.momentum-1.symbols"] == "MEXC_SYMBOL"
    folder.environ["CLAIRE_MARKET__SOURCE"] = "synth"
    assert folder.load().settings.market.source == "synth"


def test_variables_of_the_process_are_no_settings(folder):
    folder.environ = dict.fromkeys(PROCESS_VARIABLES, "")
    assert folder.load().settings.market.source == ""


def test_numbers_are_exact_from_the_file_on(folder):
    folder.write("[fees]\ntaker_bps = 0.1\n\n[paper.balance]\nUSDT = 1000.000000000000000001\n")
    settings = folder.load().settings
    assert settings.fees.taker_bps == Decimal("0.1")
    assert settings.paper.balance["USDT"] == Decimal("1000.000000000000000001")


# -- strategies -----------------------------------------------------------------------------------------------------------

TWO = """
[[strategy]]
id = "fast"
kind = "momentum"
symbols = ["BTCUSDT"]
lookback_s = 60

[[strategy]]
id = "cross"
kind = "ema_cross"
symbols = ["ETHUSDT", "BTCUSDT"]
fast = 5
"""


def test_a_plain_parameter_means_the_only_strategy(folder):
    loaded = folder.load("lookback_s=300", "threshold_pct=0.5")
    assert loaded.settings.strategy[0].params["lookback_s"] == 300.0
    assert loaded.sources["strategy.momentum-1.threshold_pct"] == "--set threshold_pct=0.5"


def test_with_two_strategies_a_parameter_names_its_strategy(folder):
    folder.write(TWO)
    folder.environ = {"CLAIRE_STRATEGY__CROSS__FAST": "6"}
    settings = folder.load("strategy.fast.lookback_s=30").settings
    assert [dict(s.params)[name] for s, name in zip(settings.strategy, ("lookback_s", "fast"), strict=True)] == [
        30.0,
        6,
    ]
    assert settings.symbols == ("BTCUSDT", "ETHUSDT")
    says = folder.refused("lookback_s=30")
    assert "say which one: strategy.fast.lookback_s or strategy.cross.lookback_s" in says
    assert "Did you mean fast?" in folder.refused("strategy.fsat.lookback_s=30")


def test_the_command_line_chooses_strategy_and_symbols(folder):
    folder.write(TWO)
    chosen = folder.load(strategy="cross", symbols=["SOLUSDT"]).settings
    assert [(s.id, s.params["fast"], s.symbols) for s in chosen.strategy] == [("cross", 5, ("SOLUSDT",))]
    by_kind = folder.load(strategy="momentum").settings
    assert [s.id for s in by_kind.strategy] == ["fast"]


def test_a_kind_that_is_not_configured_trades_with_its_defaults(folder):
    settings = folder.load("fast=3", strategy="ema_cross").settings
    assert [(s.id, s.kind, s.params["fast"], s.params["slow"]) for s in settings.strategy] == [
        ("ema-cross-1", "ema_cross", 3, 26)
    ]


def test_a_strategy_file_outside_the_package_brings_its_own_parameters(folder):
    file = folder.write(
        "from typing import Annotated, ClassVar\n"
        "from msgspec import Meta\n"
        "from claire.strategies import Opinion, Strategy, StrategyParams\n\n\n"
        "class Params(StrategyParams, frozen=True, kw_only=True, forbid_unknown_fields=True):\n"
        "    patience_s: Annotated[int, Meta(ge=1)] = 5\n\n\n"
        "class Patient(Strategy):\n"
        "    Params: ClassVar[type[StrategyParams]] = Params\n\n"
        "    def on_trade(self, trade):\n"
        "        return Opinion.NO_ENTRY\n",
        "mine.py",
    )
    settings = folder.load("patience_s=9", strategy=str(file)).settings
    assert (settings.strategy[0].id, settings.strategy[0].params["patience_s"]) == ("mine-1", 9)
    assert "patience_s = 0: give a whole number at least 1, in seconds" in folder.refused(
        "patience_s=0", strategy=str(file)
    )


def test_a_strategys_own_rule_between_two_parameters_is_a_fault_with_a_place(folder):
    says = folder.refused("fast=30", strategy="ema_cross")
    assert "fast = 30 must be less than slow = 26" in says
    assert "(--set fast=30)" in says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[strategy]]\nid = "a"\n', "strategy number 1 has no kind"),
        ('[[strategy]]\nkind = "momentum"\n', "strategy number 1 has no id"),
        ('[[strategy]]\nid = "a"\nkind = "momentm"\n', "Did you mean momentum?"),
        ('[[strategy]]\nid = "a"\nkind = "momentum"\nlokback_s = 5\n', "Did you mean lookback_s?"),
        ('[[strategy]]\nid = "a b"\nkind = "momentum"\n', "strategy.a b.id = a b: give letters, digits"),
        ('[[strategy]]\nid = "a"\nkind = "momentum"\nsymbols = ["BTC USDT"]\n', "give a list of symbols"),
        (
            '[[strategy]]\nid = "a"\nkind = "momentum"\nthreshold_pct = nan\n',
            "threshold_pct = NaN: give a number more than 0",
        ),
        ('[[strategy]]\nid = "a"\nkind = "momentum"\nthreshold_pct = true\n', "threshold_pct = true: give a number"),
        ('[strategy]\nid = "a"\n', "headed [[strategy]]"),
        ('[[strategy]]\nid = "a"\nkind = "momentum"\n' * 2, "strategy id a is used 2 times"),
    ],
)
def test_a_strategy_table_that_is_wrong_is_refused(folder, text, says):
    folder.write(text)
    assert says in folder.refused()


# -- faults ---------------------------------------------------------------------------------------------------------------


def test_all_faults_come_at_once_each_with_value_place_range_and_remedy(folder):
    file = folder.write(
        "[risk]\nposition_pct = 150\nmax_daily_los_pct = 3\n"
        '[paper]\nlatency_ms = "5s"\n[fees]\nasset = "qoute"\n[instruments.BTCUSDT]\nlott = 1\n'
    )
    folder.environ = {"CLAIRE_RISK_POSITION_PCT": "1", "CLAIRE_FEES": "x"}
    says = folder.refused("lookback_s=5m", "threshold_pct=3%", "risk.nonsense=1", "journal", "paper=1")
    assert says.splitlines() == [
        "CLAIRE_FEES names a whole table; set CLAIRE_FEES__KEY for one of its keys   (CLAIRE_FEES)",
        "CLAIRE_RISK_POSITION_PCT is not a setting. Did you mean CLAIRE_RISK__POSITION_PCT?"
        "   (environment; claire reads every variable that starts with CLAIRE_)",
        "risk.nonsense is not a setting. claire doctor lists every setting.   (--set risk.nonsense=1)",
        "'journal' is not KEY=VALUE, as in risk.position_pct=4   (--set journal)",
        "paper is a table of settings, not one; set paper.KEY=VALUE   (--set paper=1)",
        f"risk.max_daily_los_pct is not a setting. Did you mean risk.max_daily_loss_pct?   ({file}, line 3)",
        f"instruments.BTCUSDT.lott is not a setting. Did you mean instruments.BTCUSDT.lot?   ({file}, line 9)",
        "strategy.momentum-1.lookback_s = 5m: give a number from 0 to 31536000, in seconds. 5m is 300 here."
        "   (--set lookback_s=5m)",
        "strategy.momentum-1.threshold_pct = 3%: give a number more than 0 and at most 10000, in percent (0.25 means 0.25 %)."
        " 3% is 3 here.   (--set threshold_pct=3%)",
        f"paper.latency_ms = 5s: give a whole number from 0 to 60000, in milliseconds. 5s is 5000 here.   ({file}, line 5)",
        f"fees.asset = qoute: give one of quote, base. Did you mean quote?   ({file}, line 7)",
        f"risk.position_pct = 150: give a number more than 0 and at most 100, in % of equity.   ({file}, line 2)",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lookback", "lookback_s"),
        ("max_daily_loss_pct", "risk.max_daily_loss_pct"),
        ("fees.takr_bps", "fees.taker_bps"),
        ("position_pct", "risk.position_pct"),
        ("paper.slippage", "paper.slippage_ticks"),
    ],
)
def test_an_unknown_key_is_answered_with_the_setting_or_parameter_it_resembles(folder, name, meant):
    assert f"{name} is not a setting. Did you mean {meant}?" in folder.refused(f"{name}=1")


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_no_limit_goes_beyond_its_ceiling(folder, name):
    ceiling = LIMITS[name]
    says = folder.refused(f"risk.{name}={ceiling + 1}")
    assert f"risk.{name} = {ceiling + 1}: give " in says
    assert "ceiling that no configuration exceeds" in says
    assert settings_keys()["risk", name].ceiling


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_what_may_be_too_little_has_a_floor(folder, name):
    assert f"risk.{name} = {FLOORS[name] - 1}: give " in folder.refused(f"risk.{name}={FLOORS[name] - 1}")
    assert getattr(folder.load(f"risk.{name}={FLOORS[name]}").settings.risk, name) == FLOORS[name]


def test_every_limit_may_be_as_high_as_its_ceiling(folder):
    assignments = [f"risk.{name}={ceiling}" for name, ceiling in LIMITS.items() if name != "cash_reserve_pct"]
    risk = folder.load(*assignments, "risk.position_pct=10").settings.risk
    assert all(getattr(risk, name) == ceiling for name, ceiling in LIMITS.items() if name != "cash_reserve_pct")


@pytest.mark.parametrize(
    ("assignment", "bound"),
    [
        ("risk.max_order_pct=4", "risk.max_order_pct = 4"),
        ("risk.max_symbol_pct=4", "risk.max_symbol_pct = 4"),
        ("risk.max_gross_pct=4", "risk.max_gross_pct = 4"),
        ("risk.cash_reserve_pct=96", "give a number from 0 to 90"),
        ("risk.position_pct=10.5", "risk.max_order_pct = 10"),
    ],
)
def test_a_position_above_a_limit_is_an_error_not_a_stream_of_denials(folder, assignment, bound):
    assert bound in folder.refused(assignment)


def test_without_limits_a_position_may_be_all_of_equity_but_not_more(folder):
    unlimited = ("risk.profile=unlimited", "risk.position_pct=100")
    assert folder.load(*unlimited, mode="backtest").settings.risk.position_pct == 100
    assert "at most 100" in folder.refused("risk.profile=unlimited", "risk.position_pct=101", mode="backtest")
    assert "backtest and replay only; this is mode paper" in folder.refused(*unlimited)


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (["account.capital=1001"], "account.capital = 1001 is more than the balance paper.balance.USDT = 1000"),
        (
            ["account.currency=BTC"],
            "the paper account has no BTC to trade with (it has 1000 USDT); give it some, as in --set paper.balance.BTC=10",
        ),
        (["symbols=XRPETH"], "--set paper.balance.ETH=10"),
        (["paper.balance.USDT=0"], "no USDT to trade with"),
        (["paper.balance.USDT=-1"], "paper.balance.USDT = -1: give a number from 0 to 1000000000000000, in USDT."),
        (["paper.balance.usdt=1"], "Write paper.balance.USDT"),
        (["paper.balance.USDT=1e-19"], "give a number"),
        (["config_version=2"], "this Claire reads version 1"),
        (["risk.position_pct="], "risk.position_pct = ''"),
        (["fees.taker_bps=Infinity"], "give a number from 0 to 1000"),
        (["fees.taker_bps=5bps"], "5bps is 5 here."),
        (["fees.taker_bps=0.05%"], "0.05% is 5 here."),
        (["paper.balance.USDT=10,000"], "10,000 is 10000 here."),
        (["risk.max_open_orders=2.5"], "give a whole number"),
        (["mode=papr"], "Did you mean paper?"),
        (["instruments.BTCUSDT.tick=0"], "more than 0"),
        (["strategy.momentum-1.a.b=1"], "A parameter is strategy.ID.NAME"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_what_would(folder, assignments, says):
    assert says in folder.refused(*assignments)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("risk = 5\n", "risk = 5: risk is a table; write its keys under [risk]"),
        ("[mode]\na = 1\n", "mode is one value, not a table"),
        ("[[risk]]\nposition_pct = 5\n", "risk is a table"),
        ("[risk]\nmax_open_orders = true\n", "risk.max_open_orders = true: give a whole number from 1 to 100"),
        ("[risk]\nposition_pct = 2026-01-01\n", "risk.position_pct = 2026-01-01"),
        ("[risk\n", "is not TOML: "),
        ("a = " + "9" * 5000, "is not TOML: "),
        ("[account]\nid = 5\n", "account.id = 5: give "),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(folder, text, says):
    file = folder.write(text)
    message = folder.refused()
    assert says in message
    assert str(file) in message


def test_a_file_that_cannot_be_read_is_named(folder):
    assert "there is no configuration file" in folder.refused(config=folder.path / "absent.toml")
    assert "cannot read the configuration file" in folder.refused(config=folder.path)
    (folder.path / "claire.toml").write_bytes(b"mode = '\xff'")
    assert "not UTF-8 text (byte 8)" in folder.refused()


def test_a_line_is_found_behind_everything_that_toml_allows():
    text = (
        '# a comment = 1\na = """\nb = 1\n"""\n"quoted key" = 1\nc.d = {e = 1, f = [\n1,\n]}\n\n[t]\nx = 1 # y = 2\n'
        "[[s]]\nid = 1\n[s.inner]\nz = 1\n[[s]]\nid = 2\n"
    )
    assert key_lines(text) == {
        ("a",): 2,
        ("quoted key",): 5,
        ("c",): 6,
        ("c", "d"): 6,
        ("c", "d", "e"): 6,
        ("c", "d", "f"): 6,
        ("t",): 10,
        ("t", "x"): 11,
        ("s",): 12,
        ("s", "0"): 12,
        ("s", "0", "id"): 13,
        ("s", "0", "inner"): 14,
        ("s", "0", "inner", "z"): 15,
        ("s", "1"): 16,
        ("s", "1", "id"): 17,
    }


@pytest.mark.parametrize("name", ["foo", "nothing.like.it", "strategy.momentum-1.foo"])
def test_an_unknown_key_that_resembles_none_is_answered_with_where_they_are_listed(folder, name):
    says = folder.refused(f"{name}=1")
    assert "Did you mean" not in says
    listed = "It takes stop_loss_pct, take_profit_pct, max_hold_s, lookback_s, threshold_pct, min_volume_quote."
    assert (listed if name.startswith("strategy") else "claire doctor lists every setting.") in says


def test_of_two_values_for_one_key_the_later_one_wins(folder):
    loaded = folder.load("risk.position_pct=4", "risk.position_pct=3")
    assert str(loaded.settings.risk.position_pct) == "3"
    assert loaded.sources["risk.position_pct"] == "--set risk.position_pct=3"


def test_a_mode_named_twice_differently_is_a_fault_that_names_both(folder):
    assert "--set mode=testnet and --mode paper" in folder.refused("mode=testnet", mode="paper")
    assert folder.load("mode=testnet", mode="testnet").settings.mode is Mode.TESTNET


@pytest.mark.parametrize("mode", ["testnet", "shadow", "canary", "live", "papr"])
def test_a_mode_that_contradicts_a_backtest_is_refused_wherever_it_stands(folder, mode):
    text = f"mode = {mode} contradicts claire backtest, which trades a recording and nothing else."
    assert f"{text} Leave it out, or use claire run.   (--set mode={mode})" in folder.refused(
        f"mode={mode}", mode="backtest"
    )
    folder.environ = {"CLAIRE_MODE": mode}
    assert f"{text} Leave it out, or use claire run.   (CLAIRE_MODE)" in folder.refused(mode="backtest")
    folder.environ = {}
    file = folder.write(f'mode = "{mode}"\n')
    assert f"   ({file}, line 1)" in folder.refused(mode="backtest")
    assert folder.load("mode=paper", mode="backtest").settings.mode is Mode.BACKTEST


@pytest.mark.parametrize("mode", ["paper", "backtest"])
def test_a_backtest_goes_with_a_file_for_paper(folder, mode):
    folder.write(f'mode = "{mode}"\n')
    assert folder.load(mode="backtest").settings.mode is Mode.BACKTEST


def test_rules_set_for_a_symbol_that_is_not_traded_are_refused(folder):
    says = folder.refused("instruments.PEPUSDT.tick=1", symbols=["PEPEUSDT", "BTCUSDT"])
    assert "instruments.PEPUSDT.tick: PEPUSDT is not traded. Did you mean PEPEUSDT?   (--set instr" in says
    says = folder.refused("instruments.FOO.tick=1", "symbols=BTC/USDT")
    assert "FOO is not traded. Traded: BTC/USDT." in says
    assert folder.load("instruments.BTCUSDT.tick=1", "symbols=BTC/USDT").settings.symbols == ("BTC/USDT",)
    assert folder.load("instruments.FOO.tick=1").settings.instruments["FOO"].tick == 1
    folder.write("[instruments.FOO]\ntick = 1\n")
    assert folder.load("symbols=BTCUSDT").settings.symbols == ("BTCUSDT",)


def test_the_currency_follows_from_a_base_that_is_configured_alone(folder):
    settings = folder.load("symbols=ODDXYZ", "instruments.ODDXYZ.base=ODD", "paper.balance.XYZ=5")
    assert {name: value for name, value, _ in settings.rows()}["account.currency"] == "XYZ"


def test_a_number_may_be_given_as_text(folder):
    folder.write(
        '[risk]\nposition_pct = "4"\nmax_open_orders = "3"\n[[strategy]]\nid = "a"\nkind = "momentum"\nlookback_s = "60"\n'
    )
    settings = folder.load().settings
    assert (settings.risk.position_pct, settings.risk.max_open_orders) == (4, 3)
    assert settings.strategy[0].params["lookback_s"] == 60


# -- the recorded form ----------------------------------------------------------------------------------------------------


def test_the_canonical_text_loads_back_to_the_same_settings(folder):
    folder.write(TWO)
    loaded = folder.load("risk.position_pct=2.50", "instruments.BTCUSDT.tick=0.10", "account.capital=1e2")
    text = canonical(loaded.settings)
    assert restore(text).settings == loaded.settings
    assert canonical(restore(text).settings) == text
    assert json.loads(text)["risk"]["position_pct"] == "2.5"
    assert json.loads(text)["account"] == {"capital": "100", "id": "paper"}


def test_the_digest_changes_with_a_parameter_and_not_with_the_way_of_writing_it(folder):
    same = {digest(folder.load(f"risk.position_pct={text}").settings) for text in ("4", "4.0", "4e0", "04.00")}
    assert len(same) == 1
    assert digest(folder.load("lookback_s=301").settings) != digest(folder.load("lookback_s=300").settings)


def test_a_recorded_configuration_takes_changes(folder):
    text = canonical(folder.load("lookback_s=300", "paper.latency_ms=5").settings)
    changed = restore(text, ["lookback_s=301", "paper.latency_ms=6"])
    assert changed.settings.strategy[0].params["lookback_s"] == 301.0
    assert changed.settings.paper.entry_ms == 6
    assert changed.sources["strategy.momentum-1.lookback_s"] == "--set lookback_s=301"
    assert changed.sources["strategy.momentum-1.threshold_pct"] == "recorded configuration"
    assert restore(text, ["risk.profile=unlimited"]).settings.risk.profile == "unlimited"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"strategy": 5}', '{"strategy": [{}]}', '{"strategy":[],"x":1}'])
def test_a_recorded_configuration_that_is_damaged_is_refused(text):
    with pytest.raises(ConfigError):
        restore(text)


def test_aliases_lead_to_settings():
    known = set(settings_keys()) | {("strategy", "*", "symbols")}
    assert set(ALIASES.values()) <= known
    assert issubclass(ConfigError, UsageError)
