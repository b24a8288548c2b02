"""The errors a user can meet, mapped by what they mean for the process that meets them.

ClaireError                 exit 1: the work failed
├── DataError               a recording, import or candle file cannot be used as it is
├── JournalError            a journal is broken, altered or cannot be written
├── ReplayError             a run cannot be replayed
├── StrategyError           a strategy raised or answered nonsense
├── LedgerError             the SQL ledger contradicts itself or the journal
├── UsageError              exit 2: wrong usage or configuration
│   └── ConfigError         a setting is unknown, of the wrong type, or out of range
└── SafetyRefusal           exit 3: refused for safety
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class ClaireError(Exception):
    """Something a person has to know and can act on.

    The message names the value, the place and the remedy; it is printed as it is, without a traceback.
    """

    exit_code: ClassVar[int] = 1


class DataError(ClaireError):
    """A recording or candle file cannot be used as it is."""


class JournalError(ClaireError):
    """A journal is broken, was altered, or cannot be written."""


class ReplayError(ClaireError):
    """A run cannot be replayed (missing recording, another version of the journal format)."""


class StrategyError(ClaireError):
    """A strategy raised, or answered something that is not an opinion."""


class LedgerError(ClaireError):
    """The SQL ledger contradicts itself or the journal."""


class UsageError(ClaireError):
    """The command line is wrong."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type, or out of range."""


class SafetyRefusal(ClaireError):
    """What was asked is refused because money or evidence could be harmed."""

    exit_code: ClassVar[int] = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean X?`` (with a leading space) for the closest known word, or an empty string."""
    candidates = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(candidates)}
    match = get_close_matches(word.lower(), sorted(lowered), n=1, cutoff=0.6)
    return f" Did you mean {lowered[match[0]]}?" if match else ""
