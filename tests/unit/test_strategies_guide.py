"""The strategy of `docs/write-a-strategy.md` is a working file: it loads, does what the page says, trades and repeats itself."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from claire.strategies import Opinion, load
from tests.support.markets import ABC, ListSource, run, trade


@pytest.fixture
def page(checkout: Path) -> str:
    return (checkout / "docs" / "write-a-strategy.md").read_text()


@pytest.fixture
def breakout(page: str, tmp_path: Path) -> str:
    """The path of the page's strategy, saved as the page says."""
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "breakout.py"
    path.write_text(code)
    return str(path)


def test_it_answers_as_the_page_says(breakout: str):
    kind: Any = load(breakout)
    strategy = kind(kind.Params(window_s=10, above_ticks=2), ABC)
    for at_s, ticks, opinion in (
        (0, 10_000, Opinion.WARMING_UP),
        (5, 10_050, Opinion.WARMING_UP),
        (10, 10_051, Opinion.NO_ENTRY),
        (11, 10_053, Opinion.ENTER),
        (12, 10_020, Opinion.EXIT),
        (12, 10_054, Opinion.NO_ENTRY),
        (23, 10_030, Opinion.NO_ENTRY),
    ):
        assert strategy.on_trade(trade(at_s, ticks)) is opinion


def test_it_trades_and_repeats_itself(breakout: str):
    source = ListSource([trade(n, 10_000 + 30 * (n % 50) - 10 * (n % 7)) for n in range(400)])
    first, again = (run(source, "window_s=20", "allocation.mode=full", strategy=breakout).tally for _ in range(2))
    assert len(first.round_trips) >= 3
    assert first.digest == again.digest


def test_its_file_can_name_its_class_and_stand_in_a_table(page: str, breakout: str):
    assert load(f"{breakout}:Breakout").__name__ == "Breakout"
    (table,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (strategy,) = tomllib.loads(table)["strategy"]
    assert strategy["kind"] == "breakout.py"
    kind: Any = load(breakout)
    assert kind.Params(window_s=strategy["window_s"]).window_s == 120


def test_the_page_names_every_opinion_and_every_shared_exit(page: str):
    for opinion in Opinion:
        assert f"`{opinion.name}`" in page
    for name in ("stop_loss_pct", "take_profit_pct", "max_hold_s"):
        assert f"`{name}`" in page
