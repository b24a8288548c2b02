"""Finding strategies: shipped ones by name, a user's own by file, and what is said when that fails."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from claire.model.errors import ConfigError
from claire.strategies import Strategy, known_kinds, load
from claire.strategies.ema_cross import EmaCross
from claire.strategies.momentum import Momentum
from tests.support.markets import ListSource, run, trade

MINE = """
from claire.strategies import Opinion, Strategy

class Mine(Strategy):
    def on_trade(self, trade):
        return Opinion.ENTER if trade.price_ticks > 10_000 else Opinion.NO_ENTRY
"""


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_shipped_strategies_are_found_by_name():
    assert known_kinds() == ("ema_cross", "momentum")
    assert [load(kind) for kind in known_kinds()] == [EmaCross, Momentum]


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(
        ConfigError, match=r"'momentun' is not known\. Did you mean momentum\? Known: ema_cross, momentum"
    ):
        load("momentun")


def test_a_file_outside_the_package_is_loaded_and_trades(tmp_path: Path):
    path = written(tmp_path, MINE)
    assert issubclass(load(path), Strategy)
    made = run(
        ListSource([trade(n, 9_999 + n % 3) for n in range(9)]),
        "paper.latency_ms=0",
        "allocation.mode=full",
        strategy=path,
    )
    assert made.tally.fills >= 1


def test_a_file_may_name_one_of_its_classes(tmp_path: Path):
    path = written(tmp_path, MINE + "\n\nclass Other(Mine):\n    pass\n")
    assert load(f"{path}:Other").__name__ == "Other"
    with pytest.raises(
        ConfigError, match=r"mine\.py must hold exactly one strategy class, found: Mine, Other; name it as"
    ):
        load(path)
    with pytest.raises(ConfigError, match=r"has no strategy 'Othr'\. Did you mean Other\?"):
        load(f"{path}:Othr")


def test_a_class_that_a_file_only_imports_is_not_its_own(tmp_path: Path):
    path = written(tmp_path, "from claire.strategies.momentum import Momentum\n\nclass Mine(Momentum):\n    pass\n")
    assert load(path).__name__ == "Mine"
    path = written(tmp_path, "from claire.strategies.momentum import Momentum\n", "import_only.py")
    with pytest.raises(ConfigError, match="must hold exactly one strategy class, found: none"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"strategy file .*nowhere\.py does not exist"):
        load(str(tmp_path / "nowhere.py"))


def test_a_file_that_misses_another_file_is_not_called_missing(tmp_path: Path):
    path = written(tmp_path, "open('/no/such/table.csv')\n")
    with pytest.raises(ConfigError, match=r"mine\.py does not import: FileNotFoundError: .*table\.csv"):
        load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class Mine(Strategy\n", "SyntaxError"),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_file_that_does_not_import_says_why(tmp_path: Path, text: str, says: str):
    with pytest.raises(ConfigError, match=rf"mine\.py does not import: {says}"):
        load(written(tmp_path, text))


def test_parameters_may_have_annotations_that_are_text(tmp_path: Path):
    text = """
from __future__ import annotations
from typing import Annotated
from msgspec import Meta
from claire.strategies import Opinion, Strategy, StrategyParams

class MineParams(StrategyParams, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level_ticks: Annotated[int, Meta(ge=1)] = 5

class Mine(Strategy):
    Params = MineParams
"""
    kind = load(written(tmp_path, text))
    made: Any = msgspec.convert({"level_ticks": 7}, kind.Params)
    assert made.level_ticks == 7
    with pytest.raises(msgspec.ValidationError, match="level_ticks"):
        msgspec.convert({"level_ticks": 0}, kind.Params)


def test_two_files_whose_names_differ_in_a_dash_are_two_modules(tmp_path: Path):
    text = "from __future__ import annotations\n" + MINE
    one, two = written(tmp_path, text, "a-b.py"), written(tmp_path, text, "a_b.py")
    assert load(one).__module__ != load(two).__module__


def test_a_strategy_without_on_trade_says_what_to_define(tmp_path: Path):
    path = written(tmp_path, "from claire.strategies import Strategy\n\nclass Mine(Strategy):\n    pass\n")
    with pytest.raises(Exception, match=r"Mine does not say what it thinks: define on_trade"):
        run(ListSource([trade(0, 1)]), strategy=path)
