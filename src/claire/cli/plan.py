"""What `claire` can do, and what it will: commands by group, modes, and how its ways of stopping differ.

Plain data and no imports, for `claire --help` has to answer at once.
"""

GROUPS: dict[str, dict[str, str]] = {
    "Trade": {
        "run": "Trade with paper money: a synthetic market, a recorded one at any speed, or a live one.",
        "backtest": "Run a strategy over a recording, as fast as it goes.",
    },
    "Look": {
        "positions": "What each strategy owns; --venue: beside what the venue says.",
        "orders": "The orders that are not finished.",
        "balance": "What the account holds.",
        "risk": "Locks, and each limit with how much of it is used.",
        "explain": "Why a signal was refused or an order made, and what became of it.",
    },
    "Steer": {
        "pause": "No new entries, in one symbol or all; exits go on.",
        "unpause": "Entries again.",
        "close": "Sell what is owned of a symbol.",
        "cancel": "Cancel one order.",
    },
    "Stop": {
        "kill": "Stop sending orders, within a second; the sentinel cancels what is open.",
        "panic": "Cancel everything at the venue, whatever else is dead.",
        "sentinel": "The process that cleans up after a kill; a run on a venue starts its own.",
        "rearm": "Allow orders again after a kill, once books and venue agree.",
    },
    "Prove": {
        "replay": "Decide a run again from its journal and compare every decision.",
        "history": "List the runs and how they ended.",
        "audit": "The chain of records verified; the table of controls and their tests.",
        "decision": "Put on record what an operator decided, and why.",
        "drill": "Practise failures: no order lost or doubled, and the kill switch measured.",
    },
    "Prepare": {
        "data": "Import, inspect, check, make and download market data.",
        "mexc-sim": "A local venue that speaks MEXC's wire protocol, and misbehaves when told to.",
        "symbols": "What a venue trades through its API, at which spread; choose by rule.",
        "doctor": "Check this machine and show every setting with its source.",
    },
}
"""Commands that are built, with a line each."""

PLANNED: dict[str, str] = {
    "export": "runs and trades as files",
    "up": "start the many-process topology",
    "status": "what runs where, and how it is",
    "top": "the running processes, live",
    "service": "one process of the many",
    "flatten": "sell everything",
    "down": "stop all processes in order",
    "campaign": "evidence runs that count for promotion",
    "promote": "one step up the ladder of modes, by evidence",
    "sweep": "try many parameters",
    "report": "a run as a page",
    "backup": "copy ledger and journal",
    "restore": "bring a copy back",
    "notify": "send a test message",
    "init": "write a first configuration",
    "web": "the operator's page",
}
"""Commands that are designed and not built; ROADMAP.md tells the order."""

NEAREST_MODE: dict[str, str] = {
    "shadow": "testnet",
    "canary": "testnet",
    "live": "testnet",
}
"""Modes that are designed and not built, with the nearest one that is."""

STOPPING: tuple[tuple[str, str, str, str, str], ...] = (
    ("", "entries", "open orders", "positions", "after a restart"),
    ("Ctrl-C", "stop", "stay as they are*", "kept", "goes on: run --continue"),
    ("down (planned)", "stop", "cancelled", "kept", "starts anew"),
    ("kill", "stop within 1 s", "swept", "kept", "stays killed until rearm"),
    ("flatten (planned)", "stop", "cancelled", "sold", "stays killed until rearm"),
    ("panic", "-", "cancelled at the venue", "kept", "nothing is remembered"),
)
"""The ways to stop, told apart."""

STOPPING_NOTE = (
    "* on paper they end with the run. Ctrl-C ends the run in order: journal, ledger and summary are complete."
)
