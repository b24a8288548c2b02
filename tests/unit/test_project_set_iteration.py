"""No decision may depend on the order of a set: held by reading the core's syntax, with proof that the reader sees."""

from pathlib import Path

import pytest

from tests.support.set_iteration import find, known_sets
from tests.support.tree import CHECKOUT, core_files

FILES = core_files("engine")

VISITS = {
    "for over a literal": "for x in {1, 2}: pass",
    "for over a call": "for x in set(rows): pass",
    "for over frozenset": "for x in frozenset(rows): pass",
    "comprehension": "ys = [x for x in {1, 2}]",
    "second for of a comprehension": "ys = [x for row in rows for x in set(row)]",
    "dict comprehension": "ys = {x: 1 for x in {1, 2}}",
    "generator": "ys = list(x for x in {a for a in rows})",
    "assigned name": "s = {1}\nfor x in s: pass",
    "name assigned through another": "def f():\n  t = {1}\n  s = t\n  return [x for x in s]",
    "annotated name": "s: set[int] = make()\nlist(s)",
    "annotated argument": "def f(s: frozenset[str]):\n  return tuple(s)",
    "quoted annotation": "def f(s: 'set[str] | None'):\n  return tuple(s)",
    "abstract annotation": "def f(s: collections.abc.Set[str]):\n  return tuple(s)",
    "optional annotation": "def f(s: Optional[set[str]]):\n  return tuple(s)",
    "field": "class A:\n  s: set[int]\ndef f(a):\n  for x in a.s: pass",
    "attribute assigned in __init__": "class A:\n  def __init__(self): self.s = set()\n  def f(self): return [x for x in self.s]",
    "property": "class A:\n  @property\n  def s(self) -> set[int]: ...\ndef f(a): return list(a.s)",
    "function's result": "def s() -> set[int]: ...\nfor x in s(): pass",
    "union operator": "for x in set(a) | b: pass",
    "difference of key views": "for x in a.keys() - b.keys(): pass",
    "set method": "for x in set(a).union(b): pass",
    "either of two": "for x in (set(a) if a else b): pass",
    "walrus": "if s := set(a):\n  list(s)",
    "join": "', '.join({'a', 'b'})",
    "extend": "rows.extend({1, 2})",
    "dict.fromkeys": "dict.fromkeys({1, 2})",
    "sum, where floats do not associate": "sum({0.1, 0.2, 0.3})",
    "enumerate": "for i, x in enumerate({1, 2}): pass",
    "next of iter": "next(iter({1, 2}))",
    "min with a key": "min({-1, 1}, key=abs)",
    "pop": "s = {1, 2}\ns.pop()",
    "star in a call": "f(*{1, 2})",
    "star in a list": "[*{1, 2}]",
    "unpacking": "a, b = {1, 2}",
    "yield from": "def f():\n  yield from {1, 2}",
    "text": "str({1, 2})",
    "f-string": "f'{ {1, 2} }'",
    "async for": "async def f(s: set[int]):\n  async for x in s: pass",
    "seen from a nested function": "def f(s: set[int]):\n  def g(): return list(s)\n  return g",
}

FINE = {
    "membership": "s = {1, 2}\nx in s",
    "size": "len({1, 2})",
    "sorted": "for x in sorted({1, 2}): pass",
    "sorted generator": "sorted(x + 1 for x in {1, 2})",
    "sorted with a key": "sorted({1, 2}, key=abs)",
    "comprehension that makes a set": "t = {x + 1 for x in {1, 2}}",
    "any over a generator": "any(x > 1 for x in {1, 2})",
    "least": "min({1, 2})",
    "comparison": "{1} <= {1, 2}",
    "dictionary": "for x in {'a': 1}: pass",
    "key view alone": "for x in a.keys(): pass",
    "list": "for x in [1, 2]: pass",
    "same name elsewhere": "def f():\n  s = {1}\n  return len(s)\ndef g(s: list[int]):\n  return [x for x in s]",
    "subtraction of numbers": "for x in range(a - b): pass",
    "pop from a list": "rows = [1]\nrows.pop()",
    "pop from a dictionary": "d.pop(k)",
}


@pytest.mark.parametrize("source", VISITS.values(), ids=VISITS.keys())
def test_a_planted_visit_of_a_set_is_found(source: str):
    assert find(source), source


@pytest.mark.parametrize("source", FINE.values(), ids=FINE.keys())
def test_uses_that_do_not_depend_on_the_order_are_let_through(source: str):
    assert not find(source), source


def test_a_set_declared_in_one_file_is_known_in_another():
    declared, used = "class A:\n  members: frozenset[int]", "def f(a):\n  return [m for m in a.members]"
    assert not find(used)
    assert find(used, known_sets([declared, used]))


def test_there_is_a_core_to_judge():
    assert {path.parent.name for path in FILES} >= {"model", "stages", "strategies"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_the_core_never_visits_a_set_in_its_own_order(path: Path):
    known = known_sets(other.read_text(encoding="utf-8") for other in FILES)
    findings = find(path.read_text(encoding="utf-8"), known)
    assert not findings, "sort it, or keep a dict: " + "; ".join(f"line {line}: {what}" for line, what in findings)
