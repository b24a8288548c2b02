"""The table of error codes against the sheet's."""

import re
from pathlib import Path

from claire.adapters.venues.mexc.errors import RULES, Kind, Retry, rule_of

NOT_USED = ("88xxx", "10099–10268", "HTTP")


def codes_of(cell: str) -> list[str]:
    """The codes of a cell such as ``−1121, 30014`` or ``730000–730003, 730100``."""
    found = []
    for part in cell.replace("−", "-").split(","):
        first, dash, last = part.strip().partition("–")
        if dash:
            found += [str(code) for code in range(int(first), int(last) + 1)]
        elif re.fullmatch(r"-?\d+", part.strip()):
            found.append(part.strip())
    return found


def test_every_code_of_the_sheet_has_its_row_and_its_word_on_asking_again(shared: Path) -> None:
    sheet = (shared / "mexc-spot-v3.md").read_text()
    table = sheet[sheet.index("### 3.9") : sheet.index("## 4.")]
    known: dict[str, str] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 3 or cells[0].startswith((*NOT_USED, "Code", "---")):
            continue
        retry = cells[2].split()[0].rstrip(";:")
        known |= dict.fromkeys(codes_of(cells[0]), retry)
    assert len(known) > 60
    for code, retry in known.items():
        rule = rule_of(code)
        assert rule is not None, code
        if retry in list(Retry):
            assert rule.retry == retry, code
    five = "500, 503, 504, 20002"
    assert all(rule_of(code).kind is Kind.UNKNOWN for code in five.split(", "))  # type: ignore[union-attr]


def test_no_code_stands_in_two_rows() -> None:
    codes = [code for rule in RULES for code in rule.codes]
    assert len(codes) == len(dict.fromkeys(codes))
