"""What can be configured: every key once, with its type, default, range, unit and meaning.

The reference in `docs/configuration.md`, the example file and the JSON schema are generated from these classes.
Unknown keys are errors everywhere. Values are checked here one by one; `checks` holds what concerns two of them.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from claire.adapters.config.values import Amount, Asset, Count, Number, Section, Step, Symbol, Text, as_list
from claire.adapters.config.values import key as _key
from claire.latch import ceilings


class Mode(StrEnum):
    """Where orders go and whether money moves (DESIGN 12)."""

    BACKTEST = "backtest"
    PAPER = "paper"
    TESTNET = "testnet"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"


class RiskProfile(StrEnum):
    """Which limits hold."""

    DEFAULT = "default"
    """All of them."""
    UNLIMITED = "unlimited"
    """Cash and venue rules only; for backtest and replay."""


class BacktestRelease(StrEnum):
    """What ends, in a backtest, a lock that only an operator could take back."""

    NEXT_DAY = "next_day"
    """The next midnight UTC."""
    NEVER = "never"


class FeeAsset(StrEnum):
    """What a fee is taken from."""

    QUOTE = "quote"
    BASE = "base"
    """Buys pay in what they bought, sells in what they got: as most spot venues do."""


class AllocationMode(StrEnum):
    """Whether the regime scales the entry size."""

    REGIME = "regime"
    FULL = "full"


class Keep(StrEnum):
    """What the journal keeps."""

    ALL = "all"
    """Every input and every decision."""
    TRADED = "traded"
    """Of the inputs only those that something was decided from, and how to find the others; every decision."""
    DECISIONS = "decisions"
    """Decisions only, and how to find the inputs."""


class OnRestart(StrEnum):
    """What becomes of a position that is found beyond its stop when a run goes on."""

    SELL = "sell"
    """Its exit is sent, as it would have been."""
    ASK = "ask"
    """It is held until an operator says otherwise, or the price was above the stop again."""


class EntryType(StrEnum):
    """How an entry meets the book. Exits are market orders."""

    MARKET = "market"
    IOC = "ioc"
    LIMIT = "limit"


class AccountSettings(Section):
    """What Claire may trade with."""

    id: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")] = _key("paper", "Name of the account.")
    currency: Asset | None = _key(
        None,
        "Asset that equity is counted in. Default: the common quote asset of the configured symbols, else USDT.",
        unit="asset, in capitals",
    )
    capital: Annotated[Number, Field(gt=0, le=10**15)] | None = _key(
        None,
        "How much of `account.currency` may be traded; never more than the balance. Default: the whole paper balance.",
        unit="`account.currency`",
    )


class PaperSettings(Section):
    """The paper venue."""

    balance: dict[Asset, Amount] = _key(
        {"USDT": Decimal(1000)},
        "What the paper account starts with. Any amount given replaces the default.",
        unit="ASSET",
    )
    latency_ms: Count = _key(50, "Latency, each of the three parts below.", unit="milliseconds", ge=0, le=60_000)
    feed_latency_ms: Count | None = _key(
        None, "Venue to Claire. Default: `paper.latency_ms`.", unit="milliseconds", ge=0, le=60_000
    )
    entry_latency_ms: Count | None = _key(
        None, "Order from Claire to the venue. Default: `paper.latency_ms`.", unit="milliseconds", ge=0, le=60_000
    )
    response_latency_ms: Count | None = _key(
        None, "Answer from the venue to Claire. Default: `paper.latency_ms`.", unit="milliseconds", ge=0, le=60_000
    )
    slippage_ticks: Count = _key(
        1, "How much worse than the trade a market order fills where there is no book.", unit="ticks", ge=0, le=10_000
    )

    @property
    def feed_ms(self) -> int:
        """Effective latency from the venue to Claire."""
        return self.latency_ms if self.feed_latency_ms is None else self.feed_latency_ms

    @property
    def entry_ms(self) -> int:
        """Effective latency of an order on its way to the venue."""
        return self.latency_ms if self.entry_latency_ms is None else self.entry_latency_ms

    @property
    def response_ms(self) -> int:
        """Effective latency of the venue's answer."""
        return self.latency_ms if self.response_latency_ms is None else self.response_latency_ms


class FeeSettings(Section):
    """What the paper venue charges."""

    taker_bps: Number = _key(
        Decimal(5), "Fee of an order that takes.", unit="bps of the value (5 means 0.05 %)", ge=0, le=1000
    )
    maker_bps: Number = _key(
        Decimal(0), "Fee of an order that rests.", unit="bps of the value (5 means 0.05 %)", ge=0, le=1000
    )
    asset: FeeAsset = _key(FeeAsset.QUOTE, "What a fee is taken from: the quote asset, or `base`: buys pay in base.")


class RiskSettings(Section):
    """How much may be risked. Every limit has a ceiling (`claire/latch/ceilings.py`) that no configuration exceeds."""

    profile: RiskProfile = _key(
        RiskProfile.DEFAULT,
        "`unlimited`: cash and venue rules only; backtest and replay only, and every result says so.",
    )
    position_pct: Number = _key(
        Decimal(5), "Size of an entry, before allocation. Must fit all limits below.", unit="% of equity", gt=0, le=100
    )
    max_order_pct: Number = _key(
        Decimal(10), "Largest order.", unit="% of equity", gt=0, le=ceilings.MAX_ORDER_PCT, ceiling=True
    )
    max_symbol_pct: Number = _key(
        Decimal(20),
        "Largest exposure in one symbol, held and in flight.",
        unit="% of equity",
        gt=0,
        le=ceilings.MAX_SYMBOL_PCT,
        ceiling=True,
    )
    max_gross_pct: Number = _key(
        Decimal(60),
        "Largest exposure in all symbols, held and in flight.",
        unit="% of equity",
        gt=0,
        le=ceilings.MAX_GROSS_PCT,
        ceiling=True,
    )
    cash_reserve_pct: Number = _key(
        Decimal(5),
        "Free cash that an entry must leave.",
        unit="% of equity",
        ge=0,
        le=ceilings.MAX_CASH_RESERVE_PCT,
        ceiling=True,
    )
    max_open_orders: Count = _key(
        20, "Orders working or in flight at once.", unit="orders", ge=1, le=ceilings.MAX_OPEN_ORDERS, ceiling=True
    )
    max_symbol_orders: Count = _key(
        5, "The same of one symbol.", unit="orders", ge=1, le=ceilings.MAX_SYMBOL_ORDERS, ceiling=True
    )
    max_daily_loss_pct: Number = _key(
        Decimal(3),
        "Loss since 00:00 UTC after which entries stop until somebody releases the lock.",
        unit="% of the day's first equity",
        gt=0,
        le=ceilings.MAX_DAILY_LOSS_PCT,
        ceiling=True,
    )
    max_drawdown_pct: Number = _key(
        Decimal(10),
        "Fall of equity from its peak after which entries stop until somebody releases the lock.",
        unit="% of the peak",
        gt=0,
        le=ceilings.MAX_DRAWDOWN_PCT,
        ceiling=True,
    )
    max_data_age_ms: Count = _key(
        2000,
        "Oldest last trade that an entry may rest on.",
        unit="milliseconds",
        ge=1,
        le=ceilings.MAX_DATA_AGE_MS,
        ceiling=True,
    )
    max_jump_pct: Number = _key(
        Decimal(5),
        "Largest step from one trade to the next that an entry may rest on; beyond it a second trade has to confirm the price.",
        unit="%",
        gt=0,
        le=ceilings.MAX_JUMP_PCT,
        ceiling=True,
    )
    collar_pct: Number = _key(
        Decimal(1),
        "How far an entry's price may be from the reference, and the fill of a market order from its decision. Exits: 1, then"
        " 2, then 5 %, or this where it is more.",
        unit="%",
        gt=0,
        le=ceilings.MAX_COLLAR_PCT,
        ceiling=True,
    )
    duplicate_window_ms: Count = _key(
        5000,
        "How long the same entry (strategy, symbol, quantity, price) counts as a duplicate.",
        unit="milliseconds",
        ge=ceilings.MIN_DUPLICATE_WINDOW_MS,
        le=86_400_000,
    )
    max_orders_per_s: Count = _key(
        5,
        "Entries of the account within any second; one strategy may use half.",
        unit="orders",
        ge=1,
        le=ceilings.MAX_ORDERS_PER_S,
        ceiling=True,
    )
    max_orders_per_min: Count = _key(
        20, "The same within any minute.", unit="orders", ge=1, le=ceilings.MAX_ORDERS_PER_MIN, ceiling=True
    )
    max_orders_per_day: Count = _key(
        300, "The same within any 24 hours.", unit="orders", ge=1, le=ceilings.MAX_ORDERS_PER_DAY, ceiling=True
    )
    max_entries_per_min: Count = _key(
        3,
        "Entries of one strategy in one symbol within any minute; one more locks the pair of them.",
        unit="entries",
        ge=1,
        le=ceilings.MAX_ENTRIES_PER_MIN,
        ceiling=True,
    )
    max_entries_per_h: Count = _key(
        10, "The same within any hour.", unit="entries", ge=1, le=ceilings.MAX_ENTRIES_PER_H, ceiling=True
    )
    max_entries_per_day: Count = _key(
        20, "The same within any 24 hours.", unit="entries", ge=1, le=ceilings.MAX_ENTRIES_PER_DAY, ceiling=True
    )
    cooldown_s: Count = _key(
        120, "How long a symbol is not entered after a position in it was left.", unit="seconds", ge=0, le=86_400
    )
    stop_guard_exits: Count = _key(
        4,
        "Exits of one symbol that lost money, within `risk.stop_guard_min`, after which it is not entered for as long.",
        unit="exits",
        ge=1,
        le=ceilings.MAX_STOP_GUARD_EXITS,
        ceiling=True,
    )
    stop_guard_min: Count = _key(
        24,
        "Time in which losing exits are counted, and for which entries stop then.",
        unit="minutes",
        ge=ceilings.MIN_STOP_GUARD_MIN,
        le=1440,
    )
    max_rejects_in_row: Count = _key(
        5,
        "Rejects by the venue, one after the other, after which a strategy stops entering.",
        unit="rejects",
        ge=1,
        le=ceilings.MAX_REJECTS_IN_ROW,
        ceiling=True,
    )
    max_rejects_per_5_min: Count = _key(
        10,
        "Rejects by the venue within five minutes after which a strategy stops entering.",
        unit="rejects",
        ge=1,
        le=ceilings.MAX_REJECTS_PER_5_MIN,
        ceiling=True,
    )
    symbols: Annotated[tuple[Symbol, ...], BeforeValidator(as_list)] = _key(
        (), "What may be entered, of what the strategies trade. Default: all of it."
    )
    backtest_release: BacktestRelease = _key(
        BacktestRelease.NEXT_DAY,
        "When a lock that only an operator could take back ends in a backtest: at the `next_day`'s start (UTC), or `never`.",
    )


class AllocationSettings(Section):
    """How the regime scales entries."""

    mode: AllocationMode = _key(AllocationMode.REGIME, "`full`: every entry has its full size, whatever the regime.")
    cooldown_h: Number = _key(
        Decimal(72), "How long entries stay off after a chaotic regime, in data time.", unit="hours", ge=0, le=8760
    )


class RegimeSettings(Section):
    """How the market's regime is told."""

    high_vol_atr_pct: Number = _key(
        Decimal("1.5"),
        "ATR(14) of one-minute candles from which a market is chaotic.",
        unit="% of the close",
        gt=0,
        le=100,
    )


class PortfolioSettings(Section):
    """How the portfolio is valued."""

    valuation_s: Count = _key(1, "Data time between two valuations of equity.", unit="seconds", ge=1, le=3600)


class JournalSettings(Section):
    """What a run keeps."""

    record: Keep = _key(
        Keep.ALL, "Inputs kept: all of them, those that decided something, or none. Decisions are always kept."
    )
    keep_days: Count = _key(0, "How long runs are kept (0: for ever).", unit="days", ge=0, le=36_500)
    snapshot_s: Count = _key(
        60,
        "How often a live run saves its state, so that going on with it need not repeat all of it (0: never).",
        unit="seconds",
        ge=0,
        le=86_400,
    )
    segment_mb: Count = _key(64, "Size at which a journal segment is closed and compressed.", unit="MB", ge=1, le=4096)


class ExecutionSettings(Section):
    """How orders are sent."""

    entry_type: EntryType = _key(EntryType.MARKET, "How an entry meets the book. Exits are market orders.")
    entry_ttl_s: Number = _key(
        Decimal(60), "How long a resting entry may wait before it is cancelled.", unit="seconds", gt=0, le=86_400
    )


class ExitSettings(Section):
    """How positions are left."""

    on_restart: OnRestart = _key(
        OnRestart.SELL,
        "A position that `claire run --continue` finds beyond its stop: `sell` it at once, or `ask`: hold it"
        " until an operator says `--release restart`, or the price was above the stop again.",
    )
    timeout_ms: Count = _key(
        2000,
        "How long a limit order at the worst price may rest, where it stands in for a market or IOC order that the venue refuses;"
        " then it is cancelled.",
        unit="milliseconds",
        ge=100,
        le=60_000,
    )


class ReconciliationSettings(Section):
    """How often a run on an account outside compares its books with the venue's. More often than the default, never less."""

    open_orders_s: Count = _key(
        10,
        "Time between two looks at the open orders.",
        unit="seconds",
        ge=1,
        le=ceilings.MAX_RECONCILE_ORDERS_S,
        ceiling=True,
    )
    fills_s: Count = _key(
        15,
        "Time between two looks at the executions.",
        unit="seconds",
        ge=1,
        le=ceilings.MAX_RECONCILE_FILLS_S,
        ceiling=True,
    )
    balances_s: Count = _key(
        30,
        "Time between two looks at the balances.",
        unit="seconds",
        ge=1,
        le=ceilings.MAX_RECONCILE_BALANCES_S,
        ceiling=True,
    )


class MarketSettings(Section):
    """Where market data comes from."""

    source: Text = _key(
        "",
        "`synth[:KEY=VALUE,…]`, `stub` (the synthetic market, marked STUB), `recorded:FILE`, or `mexc` (live, also `mexc_pb`)."
        " Default: `synth` for `claire run`. Alias: `WS_SOURCE`.",
    )
    interval: Literal["10ms", "100ms"] = _key(
        "100ms", "Update interval of the venue's stream, for the source `mexc`. Alias: `MEXC_INTERVAL`."
    )


class MexcSettings(Section):
    """Where MEXC is, or a simulator of it. Signed orders go only to this machine, whatever stands here."""

    rest_url: Annotated[Text, Field(pattern=r"^(https?://[^\s/?#@]+/?|unix:(//)?/\S+)$")] = _key(
        "https://api.mexc.com", "Address of the REST interface.", unit="https://HOST, http://HOST:PORT or unix:/PATH"
    )
    ws_url: Annotated[Text, Field(pattern=r"^wss?://[^\s?#@]+$")] = _key(
        "wss://wbs-api.mexc.com/ws", "Address of the WebSocket.", unit="wss://HOST/ws or ws://HOST:PORT/ws"
    )
    recv_window_ms: Count = _key(
        2000,
        "How long after its timestamp the venue may still take a signed request. Short: an order that is late is refused.",
        unit="milliseconds",
        ge=100,
        le=5000,
    )


class SentinelSettings(Section):
    """The process beside a run that cleans up when the run is killed, or dead."""

    heart_s: Count = _key(
        10,
        "Silence of the trading process after which it is taken for dead, and the account is killed.",
        unit="seconds",
        ge=2,
        le=ceilings.MAX_HEART_S,
        ceiling=True,
    )


class SecretsSettings(Section):
    """Where secrets lie: the files `mexc_access_key` and `mexc_secret_key`."""

    path: Text = _key(
        "", "Folder with one file for each secret, readable by its owner only (chmod 600). Alias: `SECRETS_PATH`."
    )


class InstrumentSettings(Section):
    """Trading rules of one symbol; what is given here wins over every other source."""

    tick: Step | None = _key(None, "Price step.", unit="quote per base")
    lot: Step | None = _key(None, "Quantity step.", unit="base")
    min_notional: Amount | None = _key(None, "Smallest value of an order.", unit="quote")
    base: Asset | None = _key(None, "Base asset. Default: what the symbol tells.", unit="asset, in capitals")
    quote: Asset | None = _key(None, "Quote asset. Default: what the symbol tells.", unit="asset, in capitals")


class StrategySettings(Section):
    """One strategy. In the file its parameters stand beside `id`, `kind` and `symbols`."""

    id: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")] = _key(
        ..., "Name of this strategy in results, unique in the file.", unit="letters, digits, - and _; at most 32"
    )
    kind: Annotated[Text, Field(min_length=1)] = _key(
        ..., "A built-in strategy, or a file of yours: `my_file.py` or `my_file.py:ClassName`."
    )
    symbols: Annotated[tuple[Symbol, ...], BeforeValidator(as_list)] = _key(
        (), "What it trades. Default: every symbol of the market source."
    )
    params: Mapping[str, Any] = _key({}, "Every parameter of the strategy with its effective value.")


DEFAULT_STRATEGY = StrategySettings(id="momentum-1", kind="momentum")
"""What trades when no `[[strategy]]` is configured."""


class Settings(BaseSettings):
    """The effective configuration of one run.

    Constructed directly it takes its arguments only; `load` is what reads files and the environment.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    config_version: Count = _key(1, "Version of this file's format.", ge=1, le=1)
    mode: Mode = _key(Mode.PAPER, "Where orders go. Modes that are not built yet are refused.")
    account: AccountSettings = AccountSettings()
    paper: PaperSettings = PaperSettings()
    fees: FeeSettings = FeeSettings()
    risk: RiskSettings = RiskSettings()
    allocation: AllocationSettings = AllocationSettings()
    regime: RegimeSettings = RegimeSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    journal: JournalSettings = JournalSettings()
    execution: ExecutionSettings = ExecutionSettings()
    exit: ExitSettings = ExitSettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    market: MarketSettings = MarketSettings()
    mexc: MexcSettings = MexcSettings()
    secrets: SecretsSettings = SecretsSettings()
    sentinel: SentinelSettings = SentinelSettings()
    instruments: dict[Symbol, InstrumentSettings] = Field({}, description="Trading rules by symbol.")
    strategy: Annotated[tuple[StrategySettings, ...], Field(min_length=1)] = (DEFAULT_STRATEGY,)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing from outside: `load` subclasses this with the layers it has read."""
        return (init_settings,)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The configured symbols in order of first mention; empty when a strategy trades every symbol of the source."""
        if any(not strategy.symbols for strategy in self.strategy):
            return ()
        return tuple(dict.fromkeys(symbol for strategy in self.strategy for symbol in strategy.symbols))
