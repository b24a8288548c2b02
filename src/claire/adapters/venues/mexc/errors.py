"""What an answer of MEXC means: the table of its error codes, and the outcome of a call that follows from it.

One rule matters more than all others: about a call that creates an order only a refusal that is known to be final is an
answer. Everything else (a time-out, a 5xx, a 429, a code that is not in the table, a body that cannot be read) means that
the order may exist, and that the venue has to be asked. Source: sheet 3.9; the table in docs/venues/mexc.md is made from it.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from claire.gateway.answers import Answer, Exchange, NeverSent, NoAnswer
from claire.model.errors import ClaireError


class Kind(StrEnum):
    """What a failed call means."""

    REJECTED = "rejected"
    """The venue refused it, finally: nothing was done."""
    CONFIGURATION = "configuration"
    """The venue refused it, finally, for something that a person has to put right: keys, permissions, clock."""
    UNKNOWN = "unknown"
    """Whether it was done is not known."""
    THROTTLED = "throttled"
    """Too many requests; the budget pauses."""
    BANNED = "banned"
    """The address is shut out for a while; the budget pauses."""
    NOT_SENT = "not_sent"
    """The venue never saw it."""


class Call(StrEnum):
    """What was asked for; the same answer means different things to each."""

    READ = "read"
    """Changes nothing; may be asked again."""
    CANCEL = "cancel"
    """May be asked again: a second cancel of the same order changes nothing."""
    CREATE = "create"
    """Creates an order (or a test order); is never sent again."""
    STREAM = "stream"
    """Listen keys."""


class Retry(StrEnum):
    """The sheet's word on asking again."""

    NO = "N"
    FIXED = "C"
    """Once what is wrong here has been put right."""
    LATER = "Y"
    QUERY = "Q"
    """The outcome is unknown: query first."""


class Rule(Struct, frozen=True):
    """One row of the table."""

    codes: tuple[str, ...]
    meaning: str
    kind: Kind
    retry: Retry
    remedy: str


_C, _R, _U, _T = Kind.CONFIGURATION, Kind.REJECTED, Kind.UNKNOWN, Kind.THROTTLED

RULES: Final = (
    Rule(("429", "510"), "too many requests", _T, Retry.LATER, "wait; Claire pauses all calls for as long as MEXC asks"),
    Rule(("500", "503", "504", "20002"), "a fault on MEXC's side", _U, Retry.QUERY, "ask again; for an order, look for it first"),
    Rule(
        ("400",), "a parameter is wrong, or the access key is missing", _R, Retry.NO,
        "MEXC's own words name it; a wrong scale means that the symbol's tick or lot changed: start again to read them anew",
    ),
    Rule(("401",), "no authority", _C, Retry.NO, "compare the key in SECRETS_PATH with the one on MEXC's page of API keys"),
    Rule(("402",), "the key has expired", _C, Retry.NO, "make a new key; keys without a bound address live 90 days"),
    Rule(("26",), "this operation is not allowed", _R, Retry.NO, "see what the account may do on MEXC's page"),
    Rule(
        ("602", "700002"), "the signature is wrong", _C, Retry.NO,
        "the secret does not belong to the access key (or the key has expired): write both anew into the files of SECRETS_PATH",
    ),
    Rule(
        ("700001", "10072"), "the access key is unknown", _C, Retry.NO,
        "it was revoked, has expired, or is misspelt in mexc_access_key: make a new key and write both files anew",
    ),
    Rule(
        ("700003", "10073"), "the timestamp lies outside the window", _C, Retry.FIXED,
        "venue time is read again; if this goes on, set the clock (timedatectl set-ntp true) or raise mexc.recv_window_ms",
    ),
    Rule(("700004",), "a parameter is missing", _R, Retry.NO, "this is a fault of Claire; please report the request"),
    Rule(("700005",), "recvWindow is too long", _C, Retry.NO, "set mexc.recv_window_ms to 5000 or less"),
    Rule(
        ("700006",), "this address is not on the key's list", _C, Retry.NO,
        "add this machine's public address to the key on MEXC's page of API keys",
    ),
    Rule(
        ("700007",), "the key may not do this", _C, Retry.NO,
        "give the key SPOT_ACCOUNT_READ, SPOT_DEAL_READ and SPOT_DEAL_WRITE, and nothing else",
    ),
    Rule(("700008",), "a parameter holds illegal characters", _R, Retry.NO, "use letters, digits, - and _ only"),
    Rule(("700013",), "the content type is wrong", _R, Retry.NO, "a proxy on the way changes headers; connect without it"),
    Rule(("730708",), "the listen key is unknown or has expired", _R, Retry.FIXED, "a new listen key is made"),
    Rule(
        ("730000", "730001", "730002", "730003", "730100"), "the request or the state of the user is wrong", _R, Retry.NO,
        "MEXC's own words tell more",
    ),
    Rule(
        ("10001", "10015", "60005", "140001", "140002"), "something is wrong with the account", _C, Retry.NO,
        "log in at MEXC and look for a notice about the account",
    ),
    Rule(
        ("10007", "-1121", "30014", "30021"), "the symbol is unknown, or closed to the API", _R, Retry.NO,
        "choose another: claire symbols --venue mexc",
    ),
    Rule(
        ("70011", "30020"), "this key may not trade the pair", _C, Retry.NO,
        "add the pair to the key on MEXC's page of API keys, or choose another: claire symbols --venue mexc",
    ),
    Rule(
        ("10095", "10096", "10097", "10102"), "the quantity is missing, too fine, or not above zero", _R, Retry.NO,
        "round it to the symbol's lot; the rules may have changed: start again",
    ),
    Rule(("10098",), "MEXC's risk control refused", _R, Retry.NO, "log in at MEXC and look for a notice about the account"),
    Rule(
        ("10101", "30004", "30005"), "the balance does not pay for it", _R, Retry.NO,
        "balances are read again; something else trades this account, or account.capital is too high",
    ),
    Rule(
        ("30000", "30016", "30001"), "trading in the pair is suspended, or this side of it", _R, Retry.NO,
        "wait, or choose another: claire symbols --venue mexc",
    ),
    Rule(
        ("30041",), "the pair refuses this type of order", _R, Retry.NO,
        "set execution.entry_type to a type that it takes, or choose another: claire symbols --venue mexc",
    ),
    Rule(("30002",), "the order is worth less than the minimum", _R, Retry.NO, "raise risk.position_pct or account.capital"),
    Rule(("30003",), "the order is worth more than the venue's maximum", _R, Retry.NO, "lower risk.position_pct"),
    Rule(
        ("30010",), "the price is not valid (off the tick, or none)", _R, Retry.NO,
        "round it to the symbol's tick; the rules may have changed: start again",
    ),
    Rule(
        ("30018", "30019", "30051"), "the pair takes no market orders through the API", _R, Retry.NO,
        "start again: Claire tests the pair and sends limits that do not rest instead",
    ),
    Rule(("30025",), "the other side of the book is empty", _R, Retry.NO, "wait for a market, or choose a more liquid symbol"),
    Rule(("30026",), "the order ids are wrong", _R, Retry.NO, "this is a fault of Claire; please report the request"),
    Rule(("30027", "30028"), "a limit of the platform was reached", _R, Retry.NO, "log in at MEXC and look for a notice"),
    Rule(("30029", "30032"), "too many open orders, or too large a position", _R, Retry.LATER, "cancel some, then later"),
    Rule(
        ("30087",), "the price is outside the allowed range", _R, Retry.NO,
        "the limit lies too far from the last price; the market moved, decide anew",
    ),
    Rule(("-2011",), "there is no such open order", _R, Retry.NO, "it is finished; its final state is queried"),
    Rule(("-2013",), "the order does not exist", _R, Retry.LATER, "right after sending this proves nothing: ask again"),
    Rule(("-1128",), "these parameters do not go together", _R, Retry.NO, "this is a fault of Claire; please report the request"),
    Rule(("33333", "44444", "22222"), "a wrong parameter, or no such record", _R, Retry.NO, "MEXC's own words tell more"),
)  # fmt: skip
"""Every code that a final meaning is known of. Those of margin (88xxx) and of sub-accounts, transfers, withdrawals and key
administration (10099-10268, 7306xx, 7307xx) belong to calls that Claire never makes; they count as not known."""

_BY_CODE: Final = {code: rule for rule in RULES for code in rule.codes}
_NO_ANSWERS: Final = ("-2011", "-2013", "730708")
"""About an order that was to be made these say nothing: they speak of one that is there, or of a listen key."""
_THROTTLING: Final = (429, 418, 510)


class Fault(Struct, frozen=True):
    """Why a call failed."""

    kind: Kind
    code: str
    """The venue's own, as text, whatever it was on the wire; ``HTTP 503`` where there is none."""
    reason: str
    """What is wrong: the table's words, then the venue's."""
    remedy: str
    status: int = 0
    """HTTP status; 0: no answer."""
    retry_after_s: float | None = None
    may_ask_again: bool = False
    """Whether the same request may be sent again. Never, of what creates an order."""
    is_json: bool = True

    @property
    def is_final(self) -> bool:
        """Whether the venue certainly did nothing, and said so."""
        return self.kind in (Kind.REJECTED, Kind.CONFIGURATION)

    @property
    def is_clock(self) -> bool:
        """Whether venue time has to be read again."""
        return self.code in ("700003", "10073")


class MexcError(ClaireError):
    """A call to MEXC failed. `fault` says why; the message names the call, the venue's words and the remedy."""

    def __init__(self, what: str, fault: Fault) -> None:
        super().__init__(f"MEXC: {what} failed: {fault.reason}\n{fault.remedy}")
        self.what = what
        self.fault = fault


class Complaint(Struct, frozen=True):
    """The venue's `{code, msg}`."""

    code: str
    msg: str


class _Told(Struct):
    """What an answer says about itself; everything else in it is skipped."""

    code: Any = None
    msg: Any = None


def rule_of(code: str) -> Rule | None:
    """Return the row of a code."""
    return _BY_CODE.get(code)


def fault_of(result: Exchange, call: Call) -> Fault | None:
    """Return what is wrong with an answer; None: nothing, its body may be read."""
    match result:
        case NeverSent(reason, code):
            remedy = "the gate refused; see docs/orders.md" if code else "check the network and mexc.rest_url"
            return Fault(Kind.NOT_SENT, code, reason, remedy, may_ask_again=call is not Call.CREATE)
        case NoAnswer(reason):
            return Fault(Kind.UNKNOWN, "", reason, _after_silence(call), may_ask_again=call is not Call.CREATE)
        case Answer():
            return _fault_of_answer(result, call)


def complaint_of(body: bytes) -> Complaint | None:
    """Return the venue's complaint; None: the body is no object with a code, or its code says that all is well.

    A code may be a number or a text; 0 and 200 mean success.
    """
    try:
        told = msgspec.json.decode(body, type=_Told)
    except (msgspec.DecodeError, RecursionError):
        return None
    code = told.code
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    text = str(code).strip()
    if text in ("0", "200"):
        return None
    return Complaint(text[:20], plain(told.msg if isinstance(told.msg, str) else ""))


def rejected(code: str, message: str) -> Fault:
    """Return the fault of one order of a batch, whose answer as a whole was well."""
    return _coded(Complaint(code, plain(message)), 200, Call.CREATE)


def unreadable(what: str, call: Call, status: int = 200) -> Fault:
    """Return the fault of an answer that came but cannot be read."""
    reason = f"the answer cannot be read: {what}"
    return Fault(Kind.UNKNOWN, "", reason, _after_silence(call), status, may_ask_again=False)


def plain(text: str) -> str:
    """Return a venue's text as one short line that cannot be mistaken for ours."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    return " ".join(line.split())[:200]


def _fault_of_answer(answer: Answer, call: Call) -> Fault | None:
    complaint = complaint_of(answer.body)
    if answer.status in _THROTTLING:
        return _throttled(answer, call, complaint)
    if answer.status == 403 and (complaint is None or rule_of(complaint.code) is None):
        return _throttled(answer, call, complaint)
    if answer.status >= 500:
        words = f"a fault on MEXC's side (HTTP {answer.status})" + (f': "{complaint.msg}"' if complaint else "")
        code = complaint.code if complaint else f"HTTP {answer.status}"
        again = call is not Call.CREATE
        return Fault(Kind.UNKNOWN, code, words, _after_silence(call), answer.status, answer.retry_after_s, again)
    if complaint is not None:
        return _coded(complaint, answer.status, call)
    if 200 <= answer.status < 300:
        return None
    reason = f"HTTP {answer.status} without a reason"
    kind = Kind.UNKNOWN if call is Call.CREATE else Kind.REJECTED
    return Fault(kind, f"HTTP {answer.status}", reason, "check mexc.rest_url", answer.status)


def _throttled(answer: Answer, call: Call, complaint: Complaint | None) -> Fault:
    is_ban = answer.status in (418, 403)
    words = {
        418: "MEXC has banned this address for a while",
        403: "the firewall before MEXC turns this address away",
    }.get(answer.status, "too many requests")
    said = f': "{complaint.msg}"' if complaint and complaint.msg else ""
    return Fault(
        kind=Kind.BANNED if is_ban else Kind.THROTTLED,
        code=complaint.code if complaint else f"HTTP {answer.status}",
        reason=f"{words} (HTTP {answer.status}){said}",
        remedy="wait; Claire pauses all calls, and resumes by itself. Other programs at this address count too",
        status=answer.status,
        retry_after_s=answer.retry_after_s,
        may_ask_again=call is not Call.CREATE,
        is_json=complaint is not None,
    )


def _coded(complaint: Complaint, status: int, call: Call) -> Fault:
    rule = _BY_CODE.get(complaint.code)
    said = f': "{complaint.msg}"' if complaint.msg else ""
    if rule is None:
        kind = Kind.UNKNOWN if call is Call.CREATE else Kind.REJECTED
        reason = f"code {complaint.code}, which Claire does not know{said}"
        return Fault(kind, complaint.code, reason, _after_silence(call), status)
    creates = call is Call.CREATE
    kind = Kind.UNKNOWN if creates and rule.retry is Retry.QUERY else rule.kind
    if creates and complaint.code in _NO_ANSWERS:
        kind = Kind.UNKNOWN
    again = not creates and rule.retry in (Retry.LATER, Retry.QUERY, Retry.FIXED)
    return Fault(
        kind, complaint.code, f"{rule.meaning} (code {complaint.code}){said}", rule.remedy, status, None, again
    )


def _after_silence(call: Call) -> str:
    if call is Call.CREATE:
        return "whether the order exists is not known; Claire asks the venue until it is"
    return "Claire asks again; if it goes on, see MEXC's notices and the network"
