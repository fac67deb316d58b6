"""
Measure the structure of the package: ``python -m dev.structure``. A test enforces the limits below.

Every import counts: at the top of a module, inside a function, or for type checkers only.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = "airflow_provider_leadmagic"
ROOT = Path(__file__).parents[1] / PACKAGE

MAX_ROOT_MODULES = 8
MAX_FILES = 52
MAX_CLAIM_FILES = 9
MAX_PAGE_FILES = 8
MAX_SANDBOX_FILES = 26
MAX_LINES = 350
MAX_FUNCTION_P90 = 15

_BASE = {"exceptions", "version"}
_API = {*_BASE, "api"}
_HOOKS = {*_API, "client", "compat", "decisions", "hooks", "get_provider_info"}
_TASKS = {*_HOOKS, "bulk", "claims", "triggers", "links"}
#: Packages that each package may import. A module of the root counts as a package.
MAY_IMPORT: dict[str, set[str]] = {
    "version": set(),
    "exceptions": set(),
    "get_provider_info": set(),
    "api": _API,
    "client": _API,
    "compat": {"exceptions", "compat"},
    "decisions": {*_API, "compat", "decisions"},
    "hooks": _HOOKS - {"decisions"},
    "links": {"compat"},
    "bulk": {*_HOOKS, "bulk"},
    "claims": {*_HOOKS, "claims"},
    "triggers": _TASKS - {"links"},
    "sensors": {*_TASKS, "sensors"},
    "operators": {*_TASKS, "operators"},
    "cli": {*_HOOKS, "claims", "cli", "sandbox"},
    "ui": {*_HOOKS, "claims", "ui"},
    "__main__": {"cli"},
    "sandbox": {"version", "sandbox"},
}

#: Two large features have file counts of their own: the claims, and the page with the reports of bulk tasks.
CLAIMS = (
    "claims",
    "cli.claims",
    "compat.metadata",
    "decisions.claims",
    "decisions.ledger",
    "operators._bulk_claim",
    "triggers.claims",
)
PAGE = ("ui", "compat.auth", "operators._bulk_reports")


@cache
def sources() -> dict[str, ast.Module]:
    """Parse every non-empty file, and return the trees by module name."""
    paths = (path for path in sorted(ROOT.rglob("*.py")) if path.read_text().strip())
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text()) for path in paths}


def subpackage_of(module: str) -> str:
    """Return the subpackage of a module. The package's own ``__init__`` counts as a subpackage named ``version``."""
    return "version" if module in ("", "__init__") else module.partition(".")[0]


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return the modules of this package that a module imports."""
    return imported_modules(sources()[module]) - {module}


def imported_modules(tree: ast.Module) -> frozenset[str]:
    """Return the modules of this package that a source file imports, anywhere in the file."""
    names = (name for node in ast.walk(tree) for name in _imported_names(node))
    inner = (name.removeprefix(PACKAGE).removeprefix(".") for name in names if name.partition(".")[0] == PACKAGE)
    return frozenset(filter(sources().__contains__, map(_module_of, inner)))


def _imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _module_of(name: str) -> str:
    """Return the module that a name belongs to: itself, or else the module or subpackage that contains it."""
    container = name.rpartition(".")[0]
    candidates = [found for found in (name, container) if found in sources()]
    return candidates[0] if candidates else f"{container}.__init__".strip(".")


def forbidden_imports() -> list[str]:
    """List the imports that ``MAY_IMPORT`` does not allow."""
    pairs = [(module, imported) for module in sources() for imported in imports_of(module)]
    return [f"{one} imports {other}" for one, other in pairs if not _may_import(one, other)]


def import_cycles() -> list[str]:
    """List the modules that import themselves through others."""
    return [module for module in sources() if module in _reached_from(module)]


def mutual_imports() -> list[str]:
    """List the subpackages that import each other."""
    pairs = {(subpackage_of(one), subpackage_of(other)) for one in sources() for other in imports_of(one)}
    return [f"{one} and {other}" for one, other in pairs if one < other and (other, one) in pairs]


def airflow_imports(subpackage: str) -> list[str]:
    """List the imports of Airflow in a subpackage."""
    nodes = [
        (name, node) for name in sources() if subpackage_of(name) == subpackage for node in ast.walk(sources()[name])
    ]
    modules = [(name, node.module or "") for name, node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [(name, a.name) for name, node in nodes if isinstance(node, ast.Import) for a in node.names]
    return [f"{name} imports {module}" for name, module in modules if module.partition(".")[0] == "airflow"]


def line_counts() -> dict[str, int]:
    """Count the lines of each module."""
    paths = {name: ROOT / f"{name.replace('.', '/')}.py" for name in sources()}
    return {name: len(path.read_text().splitlines()) for name, path in paths.items()}


def function_lengths() -> list[int]:
    """Return the number of lines of each function without its docstring, in ascending order."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return sorted(_length(node) for tree in sources().values() for node in ast.walk(tree) if isinstance(node, kinds))


def function_p90() -> int:
    """Return the 90th percentile of the function lengths."""
    lengths = function_lengths()
    return lengths[len(lengths) * 9 // 10]


def figures() -> dict[str, int]:
    """Return all figures by name."""
    sandbox, claims, page = _count("sandbox"), _count(*CLAIMS), _count(*PAGE)
    return {
        "root modules": sum("." not in name for name in sources()),
        "files": len(sources()) - sandbox - claims - page,
        "files of claims": claims,
        "files of the page": page,
        "files of the sandbox": sandbox,
        "lines of the longest module": max(line_counts().values()),
        "function length, p90": function_p90(),
        "modules in import cycles": len(import_cycles()),
        "subpackages that import each other": len(mutual_imports()),
        "forbidden imports": len(forbidden_imports()),
    }


def _count(*names: str) -> int:
    """Count the modules with these names, and those in the subpackages with these names."""
    return sum(name in names or subpackage_of(name) in names for name in sources())


def _may_import(module: str, imported: str) -> bool:
    return subpackage_of(imported) in MAY_IMPORT[subpackage_of(module)]


def _reached_from(module: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(imports_of(module))
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports_of(name)
    return reached


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    skipped = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - skipped


if __name__ == "__main__":
    for _name, _figure in figures().items():
        print(f"{_figure:5} {_name}")
    for _line in (*import_cycles(), *mutual_imports(), *forbidden_imports()):
        print(f"      {_line}")
