"""How a simulator is made."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from claire.mexcsim.exchange import VenueHabits
from claire.mexcsim.faults import Fault
from claire.mexcsim.flow import FlowSettings, Recording
from claire.mexcsim.limits import Limits
from claire.mexcsim.symbols import BUILT_IN, SymbolRule
from claire.model.errors import ConfigError, SafetyRefusal

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class StreamRules(Struct, frozen=True, kw_only=True):
    """Limits and times of the WebSocket and of listen keys (sheet 1.1 and 2.1)."""

    subscriptions: int = 30
    unsubscribed_ms: int = 30_000
    """A socket without a subscription is cut after this long without a PING."""
    quiet_ms: int = 60_000
    """A socket without data is cut after this long without a PING."""
    life_ms: int = 86_400_000
    messages_1s: int = 100
    """Client messages in one second; one more and the socket is cut."""
    listen_key_ms: int = 3_600_000
    connections_per_listen_key: int = 5
    listen_keys_per_uid: int = 60
    repeat_book_ticker: bool = True
    """Send the best bid and ask in every window, changed or not, as the venue does."""
    outbox_frames: int = 20_000
    """A reader that is this far behind is cut."""


class SimConfig(Struct, frozen=True, kw_only=True):
    """Everything a simulator is made from; each has a default that works."""

    symbols: tuple[SymbolRule, ...] = BUILT_IN
    seed: int = 1
    host: str = "127.0.0.1"
    port: int | None = 0
    """0: a free one; None: no TCP at all, only the Unix socket."""
    unix_socket: Path | None = None
    """Also listen on this Unix socket."""
    clock: Callable[[], int] | None = None
    """Milliseconds since 1970; None: the system's clock. A virtual clock moves 24 hours in no time."""
    flow: FlowSettings = FlowSettings()
    recording: Recording | None = None
    """(ts_ms, symbol, price, quantity, side) in order of time, instead of the seeded flow."""
    speed: float | None = 1.0
    """Of a recording: 1 as it was, 10 ten times faster, None as fast as it goes."""
    lockstep: bool = False
    """Of a recording: the next trade only when the client asks (`Simulator.step`, ``POST /sim/step``)."""
    slippage_ticks: int = 1
    """In lockstep: how far from the last price the one level of each side stands."""
    recorded_times: bool = True
    """Trades of a recording carry its times; else the present."""
    habits: VenueHabits = VenueHabits()
    limits: Limits = Limits()
    stream: StreamRules = StreamRules()
    scenario: tuple[Fault, ...] = ()
    """Faults that are set when the simulator starts."""
    past_minutes: int = 10_080
    """How many minutes of candles there are from before the start; with more than 100 pairs
    there are fewer for each, and a recording has none but its own."""
    beat_ms: int = 5
    """How often the simulator looks at its clock, in real milliseconds."""

    def checked(self) -> "SimConfig":
        """Return itself.

        Raises:
            SafetyRefusal: another host than loopback.
            ConfigError: contradictory or impossible settings.
        """
        if self.host not in LOOPBACK:
            raise SafetyRefusal(
                f"host {self.host}: the simulator serves made-up money and takes secrets over plain HTTP, so it listens on"
                " loopback only; use 127.0.0.1"
            )
        if not self.symbols:
            raise ConfigError("symbols: give the simulator at least one pair")
        if len({rule.symbol for rule in self.symbols}) != len(self.symbols):
            raise ConfigError("symbols: each pair can be given once")
        if self.port is None and self.unix_socket is None:
            raise ConfigError("port and unix_socket: give the simulator at least one of the two to listen on")
        if self.lockstep and self.recording is None:
            raise ConfigError("lockstep needs a recording: it plays one trade of it at a time")
        if self.speed is not None and not self.speed > 0:
            raise ConfigError(f"speed {self.speed}: choose more than 0, or None for as fast as it goes")
        if self.slippage_ticks < 0 or self.past_minutes < 0 or self.beat_ms < 1:
            raise ConfigError("slippage_ticks and past_minutes cannot be negative, beat_ms not less than 1")
        return self


DEFAULT_BALANCES = {"USDT": Decimal(100_000), "USDC": Decimal(100_000), "BTC": Decimal(1), "ETH": Decimal(10)}
"""What an account holds unless it is told otherwise."""
