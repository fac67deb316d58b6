"""The mutants of a source: copies with one place changed, but never a type annotation, message or log call."""

from __future__ import annotations

import ast
import difflib
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
_ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
_SWAPPED_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, order=True)
class Mutant:
    """
    A source with one place changed.

    :param start: Offset of the first byte that is replaced.
    :param end: Offset of the byte after the last one that is replaced.
    :param text: The replacement.
    """

    start: int
    end: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def line(self, source: bytes) -> int:
        """Return the number of the changed line."""
        return source[: self.start].count(b"\n") + 1

    def diff(self, source: bytes, name: str) -> str:
        """Return the change as a unified diff."""
        before, after = (text.decode().splitlines() for text in (source, self.apply(source)))
        return "\n".join(difflib.unified_diff(before, after, name, "mutant", n=1, lineterm=""))


def find_mutants(source: bytes) -> list[Mutant]:
    """Return all mutants of a source, ordered by position."""
    starts = [0, *(at + 1 for at, byte in enumerate(source) if byte == ord("\n"))]

    def changed(node: ast.stmt | ast.expr, text: str) -> Mutant:
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        return Mutant(starts[node.lineno - 1] + node.col_offset, end, text)

    nodes = list(_nodes(ast.parse(source)))
    changes = {changed(node, text) for node in nodes for text in _changes(node)}
    negations = {changed(test, f"(not ({ast.unparse(test)}))") for node in nodes for test in _conditions(node)}
    return sorted(changes | negations)


def _nodes(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """Yield the statements and expressions that may be changed."""
    if _is_left_alone(node):
        return
    if isinstance(node, ast.stmt | ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list", "bases"):
            for child in value if isinstance(value, list) else [value]:
                yield from _nodes(child) if isinstance(child, ast.AST) else ()


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        call = node.value
        docstring = isinstance(call, ast.Constant)
        return docstring or (isinstance(call, ast.Call) and getattr(call.func, "attr", None) in _LOG_METHODS)
    if isinstance(node, ast.ClassDef):  # a protocol is for type checkers: its methods are never called
        return "Protocol" in map(ast.unparse, node.bases)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")


def _changes(node: ast.stmt | ast.expr) -> Iterator[str]:
    """Yield what may replace a statement or an expression."""
    match node:
        case ast.Compare(ops=[operator]):
            yield from (_text(node, ops=[other()]) for other in _COMPARISONS[type(operator)])
        case ast.BoolOp(op=operator):
            yield _text(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.BinOp(op=operator) if type(operator) in _ARITHMETIC:
            yield _text(node, op=_ARITHMETIC[type(operator)]())
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            # No test can notice one second more in a limit of a day, so large numbers change by half of their value.
            step = 1 if abs(value) <= 100 else value // 2
            yield from (f"({value + step!r})", f"({value - step!r})")
        case ast.Call(func=ast.Name(id=name)) if name in _SWAPPED_CALLS:
            yield _text(node, func=ast.Name(_SWAPPED_CALLS[name]))
        case ast.Return(value=value) if value and not isinstance(value, ast.Constant):
            yield "return None"
        case ast.Return(value=None) | ast.Raise() | ast.Break() | ast.Continue() | ast.Delete() | ast.AugAssign():
            yield "pass"
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"


def _conditions(node: ast.AST) -> list[ast.expr]:
    """Return the conditions of a node, except those that another change already negates."""
    conditions = [node.test] if isinstance(node, ast.If | ast.While | ast.IfExp) else []
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        conditions = [condition for generator in node.generators for condition in generator.ifs]
    return [each for each in conditions if not isinstance(each, ast.Compare | ast.Constant | ast.UnaryOp)]


def _text(node: ast.expr, **changed: object) -> str:
    """Return an expression with some of its fields changed, as source."""
    changed_node = copy(node)
    for name, value in changed.items():
        setattr(changed_node, name, value)
    return f"({ast.unparse(changed_node)})"
