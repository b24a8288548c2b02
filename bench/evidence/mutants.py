"""Evidence: would the tests notice? One small fault after the other is put into the code that money depends on.

    ./dev evidence mutants [--mutants 300] [--seed 1] [--workers 2] [--minutes M] [--list]

A seeded sample of faults (a comparison turned or moved by one, ``and`` for ``or``, a ``not`` left out, a number off by one, a
statement left out, a constant returned) over gateway, risk, order life, books, ledger and latch. Each is tried in a copy of the
tree against the unit and property tests of its module, a suite of seconds; one that fails them, or makes them hang, is killed.
What was tried stays in .cache/mutants.jsonl until code or tests change, so a run that was cut off goes on where it was.

Prints one JSON document; exits 1 if fewer than nine of ten are killed.
"""

import argparse
import ast
import copy
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = CHECKOUT / "src" / "claire"
DONE: Final = CHECKOUT / ".cache" / "mutants.jsonl"
TIMEOUT_S: Final = 120.0
WANTED: Final = 0.9

GATEWAY: Final = ("unit/test_gate.py", "unit/test_gateway.py", "unit/test_mexc_rest.py")
RISK: Final = (
    *("unit/test_risk.py", "unit/test_controls.py", "unit/test_risk_states.py", "unit/test_orphans.py"),
    *("unit/test_restart.py", "unit/test_operator_asks.py", "unit/test_small_faults.py"),
    *("property/test_risk.py", "property/test_risk_machine.py"),
)
LIFE: Final = (
    *("unit/test_order_life.py", "unit/test_execution.py", "property/test_order_life_properties.py"),
    *("property/test_late_reports.py", "property/test_execution_properties.py"),
)
BOOKS: Final = ("unit/test_books.py", "unit/test_portfolio.py", "property/test_books.py", "unit/test_paper_money.py")
STORE: Final = (
    *("unit/test_store_ledger.py", "unit/test_small_faults.py", "property/test_store_money.py"),
    "unit/test_store_resume.py",
)
LATCH: Final = ("unit/test_latch.py", "unit/test_small_faults.py", "unit/test_latch_page.py")
CEILINGS: Final = ("unit/test_config.py", "unit/test_controls.py", "property/test_config_fuzz.py")

SUITES: Final[tuple[tuple[str, Sequence[str]], ...]] = (
    ("gateway/gate.py", GATEWAY),
    ("gateway/send.py", GATEWAY),
    ("gateway/signer.py", GATEWAY),
    ("gateway/hosts.py", GATEWAY),
    ("stages/risk*.py", RISK),
    ("stages/controls*.py", RISK),
    ("model/orders.py", LIFE),
    ("model/books.py", BOOKS),
    ("adapters/store/ledger.py", STORE),
    ("adapters/store/rows.py", STORE),
    ("latch/ceilings.py", CEILINGS),
    ("latch/epoch.py", LATCH),
    ("latch/kill.py", LATCH),
    ("latch/latch.py", LATCH),
    ("latch/page.py", LATCH),
    ("latch/rearm.py", LATCH),
)
"""Files, and the tests that have to notice."""

REASONS: Final[dict[str, str]] = {}
"""Survivors that are known, and why they may survive."""

PROFILE: Final = """
import hypothesis
hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True, max_examples=25, database=None)
hypothesis.settings.load_profile("mutants")
"""
"""Behind the project's own profile, in the copy of the tree."""

TURNED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
RETURNED: Final[dict[str, tuple[str | float | bool | None, ...]]] = {
    "bool": (True, False),
    "str": ("",),
    "int": (0, 1),
    "float": (0.0,),
    "None": (),
}
"""By the return type's name; of others None is returned."""


class Mutant(NamedTuple):
    """One fault."""

    file: str
    """Below src/claire."""
    tests: tuple[str, ...]
    line: int
    where: str
    """Class and function."""
    what: str
    """What becomes of what."""
    source: str
    """The whole file with it."""

    @property
    def name(self) -> str:
        """What it is called, wherever it stands in the file."""
        return f"{self.file} {self.where}: {self.what}"


class Change(NamedTuple):
    """A node, by its number in the tree, and what it becomes."""

    number: int
    kind: str
    choice: int


class _Finder(ast.NodeVisitor):
    """Lists what can be changed in a module; text for people, annotations and declarations are left alone."""

    def __init__(self, tree: ast.Module) -> None:
        self.numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
        self.found: list[tuple[Change, str, int]] = []
        self._scope: list[str] = []
        self._returns: list[str] = []

    def _add(self, node: ast.expr | ast.stmt, kind: str, choices: int = 1) -> None:
        for choice in range(choices):
            change = Change(self.numbers[id(node)], kind, choice)
            self.found.append((change, ".".join(self._scope) or "module", node.lineno))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name in ("__repr__", "__reduce__"):
            return
        self._scope.append(node.name)
        self._returns.append("" if node.returns is None else ast.unparse(node.returns))
        for default in (*node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)):
            self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._returns.pop()
        self._scope.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the visitor's own way of naming

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add(node, "left out")

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        return

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call | ast.Await):
            self._add(node, "left out")
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets) and self._scope[-1:] != [
            "__init__"
        ]:
            self._add(node, "left out")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, "left out")
        self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            return
        if not isinstance(node.value, ast.Constant):
            self._add(node, "returned", max(1, len(RETURNED.get(self._returns[-1], ("",)))))
        self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            self._add(node, "turned", len(TURNED[type(node.ops[0])]))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._add(node, "and/or")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add(node, "not")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add | ast.Sub) and not isinstance(node.left, ast.JoinedStr | ast.Constant):
            self._add(node, "sign")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, "constant")
        elif isinstance(node.value, int):
            self._add(node, "constant", 2)


def changed(tree: ast.Module, change: Change, returns: str = "") -> tuple[ast.Module, str]:
    """Return a module with a change, and the change in words."""
    tree = copy.deepcopy(tree)
    node = next(each for number, each in enumerate(ast.walk(tree)) if number == change.number)
    before = _short(node)
    new: ast.AST
    match node:
        case ast.Compare():
            node.ops = [TURNED[type(node.ops[0])][change.choice]()]
            return tree, f"{before} → {_short(node)}"
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return tree, f"{before} → {_short(node)}"
        case ast.BinOp():
            node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            return tree, f"{before} → {_short(node)}"
        case ast.Constant(value=bool()):
            node.value = not node.value
            return tree, f"{before} → {_short(node)}"
        case ast.Constant(value=int(value)):
            node.value = value + (1 if change.choice == 0 else -1)
            return tree, f"{before} → {_short(node)}"
        case ast.Return():
            values = RETURNED.get(_returns(tree, node), (None,)) or (None,)
            node.value = ast.Constant(values[change.choice])
            return tree, f"{before} → {_short(node)}"
        case ast.UnaryOp():
            new = node.operand
        case _:
            new = ast.Pass()
    _replace(tree, node, new)
    return ast.fix_missing_locations(tree), f"{before} → {_short(new)}"


def _returns(tree: ast.Module, node: ast.Return) -> str:
    """Return the annotation of the function that a return belongs to."""
    owner = ""
    for each in ast.walk(tree):  # outer functions come first, so the last that holds it is its own
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and any(inner is node for inner in ast.walk(each)):
            owner = "" if each.returns is None else ast.unparse(each.returns)
    return owner


def _replace(tree: ast.AST, node: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(each is node for each in value):
                value[next(index for index, each in enumerate(value) if each is node)] = new
                return


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else text[:87] + "..."


def every_mutant() -> Iterator[tuple[str, tuple[str, ...], ast.Module, Change, str, int]]:
    """List what can be changed in all files."""
    for pattern, tests in SUITES:
        for path in sorted(SOURCE.glob(pattern)):
            tree = ast.parse(path.read_text("utf-8"))
            finder = _Finder(tree)
            finder.visit(tree)
            for change, where, line in finder.found:
                yield str(path.relative_to(SOURCE)), tuple(tests), tree, change, where, line


def sample(count: int, seed: int) -> list[Mutant]:
    """Draw so many mutants, always the same for a seed."""
    known = list(every_mutant())
    random.Random(seed).shuffle(known)
    found: dict[str, Mutant] = {}
    for file, tests, tree, change, where, line in known:
        if len(found) == count:
            break
        mutated, what = changed(tree, change)
        mutant = Mutant(file, tests, line, where, what, ast.unparse(mutated))
        found.setdefault(mutant.name, mutant)  # of two that read alike, the first
    return list(found.values())


class Copy:
    """A copy of the tree in which one mutant after the other is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("src", "tests", "tools", "bench"):
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "dev", "README.md"):
            shutil.copy2(CHECKOUT / name, folder / name)
        shutil.copytree(CHECKOUT / "docs", folder / "docs")
        with (folder / "tests" / "conftest.py").open("a") as conftest:
            conftest.write(PROFILE)

    def try_it(self, mutant: Mutant) -> tuple[str, float]:
        """Return ``killed``, ``hung`` or ``survived``, and how long that took."""
        target = self._folder / "src" / "claire" / mutant.file
        whole = target.read_text("utf-8")
        began = time.monotonic()
        try:
            _put(target, mutant.source)
            return self.test(mutant.tests), time.monotonic() - began
        finally:
            _put(target, whole)

    def test(self, tests: Sequence[str]) -> str:
        """Run a suite until its first failure."""
        words = ["-m", "pytest", "-x", "-q", "-p", "no:xdist", "--no-header"]
        environment = {**os.environ, "PYTHONPATH": f"{self._folder / 'src'}:{self._folder}"}
        environment.pop("CLAIRE_TIER", None)
        there = [f"tests/{name}" for name in tests]
        process = subprocess.Popen(
            [sys.executable, *words, *there],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return "hung"
        if code > 3:
            raise SystemExit(f"mutants: {', '.join(there)} could not be run (pytest says {code})")
        return "survived" if code == 0 else "killed"


def _put(target: Path, source: str) -> None:
    """Write a module; what was compiled of it goes, for two texts of one second and one size look the same to Python."""
    target.write_text(source, encoding="utf-8")
    for compiled in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
        compiled.unlink()


def states() -> dict[str, str]:
    """Return for each file a digest of what decides what becomes of its mutants: its code and its tests."""
    found = {}
    for pattern, tests in SUITES:
        for path in SOURCE.glob(pattern):
            digest = hashlib.sha256(path.read_bytes())
            for name in tests:
                digest.update((CHECKOUT / "tests" / name).read_bytes())
            found[str(path.relative_to(SOURCE))] = digest.hexdigest()[:16]
    return found


def tried_before(known: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what was tried with the same code and tests, by name."""
    if not DONE.exists():
        return {}
    lines = [json.loads(line) for line in DONE.read_text("utf-8").splitlines()]
    return {line["name"]: line for line in lines if line["state"] == known.get(line["name"].partition(" ")[0])}


def try_all(mutants: Sequence[Mutant], workers: int, ends: float) -> dict[str, dict[str, Any]]:
    """Try what was not tried yet, until it is done or the time is over."""
    known = states()
    done = tried_before(known)
    left = [mutant for mutant in mutants if mutant.name not in done]
    print(f"{len(mutants)} mutants, {len(mutants) - len(left)} tried before", file=sys.stderr)
    DONE.parent.mkdir(exist_ok=True)
    copies: SimpleQueue[Copy] = SimpleQueue()

    def one(mutant: Mutant) -> None:
        if time.monotonic() > ends:
            return
        place = copies.get()
        try:
            outcome, seconds = place.try_it(mutant)
        finally:
            copies.put(place)
        told = {"state": known[mutant.file], "name": mutant.name, "outcome": outcome, "seconds": round(seconds, 1)}
        done[mutant.name] = told
        with DONE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told, ensure_ascii=False) + "\n")
        if len(done) % 10 == 0 or outcome == "survived":
            print(f"{len(done)} of {len(mutants)}: {outcome} {mutant.name} ({seconds:.0f} s)", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="claire-mutants-") as folder, ThreadPoolExecutor(workers) as pool:
        for number in range(workers):
            copies.put(Copy(Path(folder) / str(number)))
        if left:
            _check_unharmed(copies)
        try:
            list(pool.map(one, left))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def _check_unharmed(copies: "SimpleQueue[Copy]") -> None:
    """Refuse to begin where tests fail without any fault."""
    place = copies.get()
    for tests in dict.fromkeys(tuple(tests) for _, tests in SUITES):
        began = time.monotonic()
        if place.test(tests) != "survived":
            raise SystemExit(f"mutants: {', '.join(tests)} fail without a fault; mend that first")
        print(f"{len(tests)} files of tests, {time.monotonic() - began:.0f} s: {tests[0]} ...", file=sys.stderr)
    copies.put(place)


def document(mutants: Sequence[Mutant], done: dict[str, dict[str, Any]], seed: int, seconds: float) -> dict[str, Any]:
    """Put the figures together."""
    tried = [mutant for mutant in mutants if mutant.name in done]
    files: dict[str, dict[str, int]] = {}
    for mutant in tried:
        row = files.setdefault(mutant.file, {"mutants": 0, "killed": 0})
        row["mutants"] += 1
        row["killed"] += done[mutant.name]["outcome"] != "survived"
    killed = sum(row["killed"] for row in files.values())
    survivors = [mutant for mutant in tried if done[mutant.name]["outcome"] == "survived"]
    return {
        "possible": sum(1 for _ in every_mutant()),
        "drawn": len(mutants),
        "tried": len(tried),
        "seed": seed,
        "killed": killed,
        "killed_share": round(killed / len(tried), 4) if tried else 0.0,
        "hung": sum(done[mutant.name]["outcome"] == "hung" for mutant in tried),
        "files": dict(sorted(files.items())),
        "survivors": {mutant.name: REASONS.get(mutant.name, "") for mutant in survivors},
        "unexplained": sum(mutant.name not in REASONS for mutant in survivors),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Harm, test, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long; the next run goes on")
    parser.add_argument("--list", action="store_true", help="only name them")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mutants = sample(given.mutants, given.seed)
    if given.list:
        for mutant in mutants:
            print(f"{mutant.line:5} {mutant.name}")
        return
    began = time.monotonic()
    done = try_all(mutants, given.workers, began + given.minutes * 60 if given.minutes else float("inf"))
    found = document(mutants, done, given.seed, time.monotonic() - began)
    print(json.dumps(found, ensure_ascii=False))
    raise SystemExit(1 if found["killed_share"] < WANTED else 0)


if __name__ == "__main__":
    main()
