"""Finds places where the order of a set could reach a decision: a set's order depends on PYTHONHASHSEED and on history.

Judged from the syntax tree alone: literals, comprehensions, `set()` and `frozenset()`, set operators and methods, key views
under an operator, and every name, argument, attribute or function that is annotated as a set or assigned one. Membership, size,
comparison and `sorted()` are fine; anything else that visits the members is not.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

SET_TYPES: Final = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
SET_METHODS: Final = {"union", "intersection", "difference", "symmetric_difference"}
VIEW_METHODS: Final = {"keys", "items"}
SET_OPERATORS: Final = (ast.BitOr, ast.BitAnd, ast.BitXor, ast.Sub)
# What may visit a set: the result does not depend on the order of the visit.
ORDERLESS: Final = {"sorted", "set", "frozenset", "len", "any", "all", "bool", "isinstance", "min", "max"}
TAKES_A_KEY: Final = {"min", "max"}  # with a key, the first of equals wins: that is an order
VISITORS: Final = {
    "list", "tuple", "iter", "enumerate", "map", "filter", "zip", "reversed", "sum", "deque", "chain", "str", "repr", "format",
    "print", "reduce", "islice", "cycle", "accumulate", "OrderedDict", "dict",
}  # fmt: skip
VISITING_METHODS: Final = {"join", "extend", "extendleft", "fromkeys", "from_iterable", "writelines", "format"}
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Finding(NamedTuple):
    """One place, with the line and what is wrong there."""

    line: int
    what: str


class Known(NamedTuple):
    """Names that mean a set wherever they are seen as `x.NAME` or `NAME()`."""

    attributes: frozenset[str]
    functions: frozenset[str]


def annotates_a_set(annotation: ast.expr | None) -> bool:
    """Tell whether an annotation (also a quoted one, or one side of a union) names a set."""
    match annotation:
        case ast.Constant(value=str(text)):
            return annotates_a_set(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SET_TYPES
        case ast.Subscript(value=value, slice=inner):
            wrapper = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
            if wrapper in {"Optional", "Final", "ClassVar", "Annotated"}:
                return annotates_a_set(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
            return annotates_a_set(value)
        case ast.BinOp(left=left, right=right):
            return annotates_a_set(left) or annotates_a_set(right)
    return False


def known_sets(sources: Iterable[str]) -> Known:
    """Collect attributes and functions that are annotated as sets, over all the files that may use each other."""
    attributes, functions = set(), set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                fields = (item for item in node.body if isinstance(item, ast.AnnAssign))
                attributes |= {
                    item.target.id
                    for item in fields
                    if isinstance(item.target, ast.Name) and annotates_a_set(item.annotation)
                }
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and annotates_a_set(node.returns):
                functions.add(node.name)
                attributes.add(node.name)  # a property is read like an attribute
            elif (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Attribute)
                and annotates_a_set(node.annotation)
            ):
                attributes.add(node.target.attr)
    return Known(frozenset(attributes), frozenset(functions))


def find(source: str, known: Known | None = None) -> list[Finding]:
    """Return every place in `source` that visits a set in its own order."""
    tree = ast.parse(source)
    visitor = _Finder(known or known_sets([source]))
    visitor.read_scope(tree)
    visitor.visit(tree)
    return sorted(visitor.findings)


class _Finder(ast.NodeVisitor):
    """Walks one file with a stack of scopes; each scope maps a name to whether it means a set there."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.attributes = set(known.attributes)
        self.scopes: list[dict[str, bool]] = []
        self.findings: list[Finding] = []
        self.orderless: set[ast.AST] = set()

    # -- what is a set -------------------------------------------------------------------------------------------

    def is_set(self, node: ast.expr | None) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name):
                return next((scope[name] for scope in reversed(self.scopes) if name in scope), False)
            case ast.Attribute(attr=name):
                return name in self.attributes
            case ast.Call(func=ast.Name(id=name)):
                return name in {"set", "frozenset"} or name in self.known.functions
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                if name in SET_METHODS or name == "copy":
                    return self.is_set(owner)
                return name in self.known.functions
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, SET_OPERATORS):
                return any(self.is_set(side) or is_view(side) for side in (left, right))
            case ast.IfExp(body=body, orelse=orelse):
                return self.is_set(body) or self.is_set(orelse)
            case ast.BoolOp(values=values):
                return any(self.is_set(value) for value in values)
            case ast.NamedExpr(value=value) | ast.Starred(value=value):
                return self.is_set(value)
        return False

    def read_scope(self, owner: ast.AST) -> None:
        """Open a scope and learn its names; twice, so that a name that is assigned from a later one is known too."""
        scope: dict[str, bool] = {}
        self.scopes.append(scope)
        if isinstance(owner, Function):
            arguments = owner.args
            for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
                scope[argument.arg] = annotates_a_set(argument.annotation)
        for _ in range(2):
            for node in own_nodes(owner):
                match node:
                    case ast.AnnAssign(target=target, annotation=annotation):
                        self.learn(target, annotates_a_set(annotation), scope)
                    case ast.Assign(targets=targets, value=value):
                        for assigned in targets:
                            self.learn(assigned, self.is_set(value), scope)
                    case ast.NamedExpr(target=named, value=value):
                        self.learn(named, self.is_set(value), scope)

    def learn(self, target: ast.expr, means_set: bool, scope: dict[str, bool]) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = scope.get(target.id, False) or means_set
        elif isinstance(target, ast.Attribute) and means_set:
            self.attributes.add(target.attr)

    # -- who visits it -------------------------------------------------------------------------------------------

    def flag(self, node: ast.expr, how: str) -> None:
        if self.is_set(node):
            self.findings.append(Finding(node.lineno, f"{how} {ast.unparse(node)}"))

    def visit_function(self, node: Function) -> None:
        self.read_scope(node)
        self.generic_visit(node)
        self.scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function  # noqa: N815 - names of ast

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.flag(node.iter, "for over")
        self.generic_visit(node)

    visit_AsyncFor = visit_For  # noqa: N815 - a name of ast

    def visit_comprehension_owner(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        if node not in self.orderless:
            for generator in node.generators:
                self.flag(generator.iter, "comprehension over")
        self.generic_visit(node)

    visit_ListComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_owner  # noqa: N815 - names of ast

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self.flag(node.value, "yield from")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Tuple | ast.List) for target in node.targets):
            self.flag(node.value, "unpacking")
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self.flag(node.value, "unpacking")
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.flag(node.value, "text of")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in ORDERLESS:
                if name in TAKES_A_KEY and node.keywords:
                    self.flag_arguments(node, f"{name}(key=) of")
                else:
                    self.orderless.update(node.args)
            case ast.Name(id=name) if name in VISITORS:
                self.flag_arguments(node, f"{name}() of")
            case ast.Attribute(value=owner, attr="pop") if not node.args:
                self.flag(owner, "pop() from")
            case ast.Attribute(attr=name) if name in VISITING_METHODS | VISITORS:
                self.flag_arguments(node, f"{name}() of")
        self.generic_visit(node)

    def flag_arguments(self, node: ast.Call, how: str) -> None:
        for argument in node.args:
            if not isinstance(argument, ast.Starred):
                self.flag(argument, how)


def is_view(node: ast.expr) -> bool:
    """Tell whether this is `x.keys()` or `x.items()`: under a set operator they make a set."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VIEW_METHODS


def own_nodes(owner: ast.AST) -> Iterator[ast.AST]:
    """Walk a scope without entering the functions inside it (their names are theirs)."""
    waiting = list(ast.iter_child_nodes(owner))
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, Function):
            waiting.extend(ast.iter_child_nodes(node))
