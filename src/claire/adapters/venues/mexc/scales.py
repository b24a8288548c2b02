"""Decimal text of the venue into whole ticks and lots, exactly and fast; and into Decimals where no step is known.

The text is taken as digits, never through a float: ``84270.01`` at a tick of 0.01 is the integer 8427001. A text that is not a
plain number, or not a whole number of steps, is refused; it is never rounded.
"""

import re
from decimal import Decimal
from typing import Final

from claire.adapters.venues.mexc.pushes import Reason
from claire.model.instrument import Instrument, decimals_of
from claire.model.money import plain_text

LONGEST: Final = 40
"""Characters of the longest number that is looked at; a market needs half as many."""
STEPS_BELOW: Final = 2**63
"""The journal keeps ticks and lots in 64 bits."""
REMEMBERED: Final = 512
"""Texts that one scale remembers: prices around the market come over and over."""

MS: Final = 1_000_000
"""Nanoseconds in a millisecond."""
LATEST_MS: Final = (2**63 - 1) // MS
"""The last time that 64 bits of nanoseconds hold, in the year 2262."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")


class Fault(Exception):
    """A value that is not what it should be; the decoder adds where."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


class Scale(dict[str, int]):
    """Whole steps of a price or a quantity by its text, worked out (`steps`) or looked up (``scale[text]``).

    A look-up remembers what it worked out, which pays where texts repeat, as prices do; it forgets all when full. What it answers
    does not depend on what it remembers.

    Raises:
        Fault: from both, where the text is not a number, negative, not a whole number of steps, or too large.
    """

    __slots__ = ("_decimals", "_digits", "_factors", "_name", "_off", "_step", "_unit")

    def __init__(self, name: str, step: Decimal, unit: str, off: Reason) -> None:
        """Make a scale of multiples of `step`, a positive number, for values that messages call `name`."""
        super().__init__()
        self._name = name
        self._step = step
        self._unit = unit
        self._off = off
        self._decimals = decimals = decimals_of(step)
        self._digits = int(plain_text(step).replace(".", ""))
        self._factors: tuple[int, ...] = tuple(10 ** (decimals - written) for written in range(decimals + 1))

    def __missing__(self, text: str) -> int:
        value = self.steps(text)
        if len(self) >= REMEMBERED:
            self.clear()
        self[text] = value
        return value

    def steps(self, text: str) -> int:
        """Return how many steps a text is, without remembering it."""
        whole, point, fraction = text.partition(".")
        digits = whole + fraction
        # with both parts not empty, one look at the digits is a look at both
        if not (whole and (fraction or not point) and digits.isdecimal() and text.isascii()) or len(text) > LONGEST:
            raise not_a_number(self._name, text)
        written = len(fraction)
        if written <= self._decimals:
            value = int(digits) * self._factors[written]
        else:  # padded beyond the step, or finer than it
            if fraction[self._decimals :].strip("0"):
                raise self._off_step(text)
            value = int(whole + fraction[: self._decimals])
        if self._digits != 1:
            value, rest = divmod(value, self._digits)
            if rest:
                raise self._off_step(text)
        if value >= STEPS_BELOW:
            raise Fault(Reason.OUT_OF_RANGE, f"{self._name} {text} is more than 64 bits of {self._unit}s hold")
        return value

    def _off_step(self, text: str) -> Fault:
        step = plain_text(self._step)
        return Fault(self._off, f"{self._name} {text} is not a whole number of {self._unit}s of {step}")


class Scales:
    """The two scales of one instrument."""

    __slots__ = ("instrument", "lots", "ticks")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.ticks = Scale(f"{instrument.symbol}: price", instrument.tick, "tick", Reason.OFF_TICK)
        self.lots = Scale(f"{instrument.symbol}: quantity", instrument.lot, "lot", Reason.OFF_LOT)


def decimal(name: str, text: str) -> Decimal:
    """Return a number as it is written, of either sign and any scale.

    Raises:
        Fault: it is absent, or not a plain finite number of at most 40 characters.
    """
    if not text:
        raise Fault(Reason.MISSING, f"{name} is absent")
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        raise not_a_number(name, text)
    return Decimal(text)


def not_negative(name: str, text: str) -> Decimal:
    """Return a number that is zero or more.

    Raises:
        Fault: as `decimal`, or it is negative.
    """
    value = decimal(name, text)
    if value < 0:
        raise Fault(Reason.NOT_POSITIVE, f"{name} {text} is negative")
    return value


def positive(name: str, text: str) -> Decimal:
    """Return a number above zero.

    Raises:
        Fault: as `decimal`, or it is zero or negative.
    """
    value = decimal(name, text)
    if value <= 0:
        raise Fault(Reason.NOT_POSITIVE, f"{name} {text} is not positive")
    return value


def optional(name: str, text: str) -> Decimal | None:
    """Return a number, or None where the message holds none.

    Raises:
        Fault: there is a text, and it is not a plain finite number.
    """
    return decimal(name, text) if text else None


def optional_not_negative(name: str, text: str) -> Decimal | None:
    """Return a number that is zero or more, or None where the message holds none.

    Raises:
        Fault: there is a text, and it is not such a number.
    """
    return not_negative(name, text) if text else None


def whole(name: str, text: str) -> int:
    """Return a version: a whole number of at most 18 digits.

    Raises:
        Fault: it is anything else.
    """
    if not (text.isdecimal() and text.isascii()) or len(text) > 18:
        raise _not_whole(name, text)
    return int(text)


def optional_whole(name: str, text: str) -> int | None:
    """Return a version, or None where the message holds none.

    Raises:
        Fault: there is a text, and it is not a version.
    """
    return whole(name, text) if text else None


def nanoseconds(name: str, ms: int) -> int:
    """Return a venue time as nanoseconds.

    Raises:
        Fault: it is absent, or before 1970 or after 2262.
    """
    if not 0 < ms <= LATEST_MS:
        raise not_a_time(name, ms)
    return ms * MS


def optional_nanoseconds(name: str, ms: int) -> int | None:
    """Return a venue time as nanoseconds, or None where the message holds none.

    Raises:
        Fault: there is a time, before 1970 or after 2262.
    """
    return nanoseconds(name, ms) if ms else None


def not_a_time(name: str, ms: int) -> Fault:
    """Say what is wrong with a number that is no time."""
    if not ms:
        return Fault(Reason.MISSING, f"{name} is absent")
    return Fault(Reason.OUT_OF_RANGE, f"{name} {ms} is no time in milliseconds between 1970 and 2262")


def not_a_number(name: str, text: str) -> Fault:
    """Say what is wrong with a text that is no plain number; the venue's text is quoted, but not without end."""
    if not text:
        return Fault(Reason.MISSING, f"{name} is absent")
    shown = _shown(text)
    if len(text) <= LONGEST and _NUMBER.fullmatch(text):
        return Fault(Reason.NOT_POSITIVE, f"{name} {shown} is negative")
    return Fault(Reason.NOT_A_NUMBER, f"{name} {shown} is not a plain decimal number")


def _not_whole(name: str, text: str) -> Fault:
    if not text:
        return Fault(Reason.MISSING, f"{name} is absent")
    return Fault(Reason.NOT_A_NUMBER, f"{name} {_shown(text)} is not a whole number of at most 18 digits")


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
