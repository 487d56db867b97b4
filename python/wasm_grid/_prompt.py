"""Functions that were typed at a prompt or in a notebook: their source, with what of the program they use."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import math
import sys
import symtable
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Callable

from ._wasm_grid import GridError


class FunctionError(GridError):
    """A function cannot become a worker, and why."""


def is_typed(function: Callable[..., Any]) -> bool:
    """True for a function of the program itself that is not in the program's file."""
    if getattr(function, "__module__", None) != "__main__":
        return False
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is None or not Path(path).is_file():
        return True
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and code.co_filename != path and not Path(code.co_filename).is_file()


def source_of(function: Callable[..., Any]) -> str:
    """A module that has the function, and all that it uses: other functions and classes, imports and constants.

    Raises:
        FunctionError: It uses something that no host has.
    """
    gathered = _Gathered()
    gathered.add(function)
    return "\n".join(["from __future__ import annotations", *gathered.imports, *gathered.constants, *gathered.sources])


class _Gathered:
    """What a function uses, in an order in which it can be defined."""

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.constants: list[str] = []
        self.sources: list[str] = []
        self._seen: dict[str, Any] = {}

    def add(self, thing: Callable[..., Any]) -> None:
        """Adds a function or a class of the program, behind what it uses."""
        user = thing.__qualname__
        source = _typed_source(thing)
        tree = ast.parse(source)
        space = sys.modules["__main__"].__dict__
        inner = inspect.unwrap(thing)
        if isinstance(inner, FunctionType):
            space = inner.__globals__
        for name in _global_names(tree):
            if name in space and name != user:
                self._add_name(name, space[name], user, tree)
        self.sources.append(source)

    def _add_name(self, name: str, value: Any, user: str, tree: ast.Module) -> None:
        if isinstance(value, ModuleType):
            self.imports[_import_of(value, name)] = None
            for module in _submodules(tree, name, value):
                self.imports[f"import {module}"] = None
        if name in self._seen:
            return
        self._seen[name] = value
        if isinstance(value, ModuleType):
            return
        module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if callable(value) and isinstance(module, str) and isinstance(qualname, str):
            if module == "__main__" and qualname.isidentifier():
                self._add_own(name, value)
                return
            if getattr(sys.modules.get(module), qualname, None) is value:
                self.imports[f"from {module} import {qualname} as {name}"] = None
                return
        literal = _literal(value)
        if literal is None:
            raise FunctionError(
                f"{user} uses {name}, a {type(value).__name__} of your program, which no host has; make it inside of the "
                "function, or send it with each input"
            )
        self.constants.append(f"{name} = {literal}")

    def _add_own(self, name: str, value: Any) -> None:
        self._seen[value.__qualname__] = value
        self.add(value)
        if name != value.__qualname__:
            self.sources.append(f"{name} = {value.__qualname__}\n")


def _typed_source(thing: Any) -> str:
    inner = inspect.unwrap(thing)
    if isinstance(inner, type):
        found = _class_source(inner)
    else:
        try:
            found = inspect.getsource(inner)
        except (OSError, TypeError):
            found = None
    if found is None:
        raise FunctionError(
            f"nobody has kept the lines of {thing.__qualname__}, which was typed here (IPython, notebooks and the prompt of "
            "Python 3.13 keep them); put it into a file, and import it from there"
        )
    found = textwrap.dedent(found)
    if not isinstance(ast.parse(found).body[0], (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        raise FunctionError(f"{thing.__qualname__} is not the name of a def; write it as one")
    return found if found.endswith("\n") else f"{found}\n"


def _class_source(kind: type) -> str | None:
    """The lines of a class. A class does not say where it is from, but its methods do."""
    for method in vars(kind).values():
        code = getattr(inspect.unwrap(getattr(method, "__func__", method)), "__code__", None)
        if code is None:
            continue
        lines = linecache.getlines(code.co_filename)
        for node in reversed(ast.parse("".join(lines)).body):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return "".join(lines[first - 1 : node.end_lineno])
    return None


def _global_names(tree: ast.Module) -> list[str]:
    """The names that a definition takes from its module, in order, but for annotations: no host evaluates those."""
    bare = ast.fix_missing_locations(_WithoutAnnotations().visit(ast.parse(ast.unparse(tree))))
    table = symtable.symtable(ast.unparse(bare), "prompt", "exec")
    names: dict[str, None] = {}
    for name in _referenced(table):
        if not hasattr(builtins, name) or name in sys.modules["__main__"].__dict__:
            names[name] = None
    return list(names)


def _referenced(table: symtable.SymbolTable) -> Iterator[str]:
    is_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _referenced(child)


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(arg=node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _import_of(module: ModuleType, name: str) -> str:
    # The module of a package that is used by its own name is reached through the package.
    return f"import {name}" if module.__name__ == name else f"import {module.__name__} as {name}"


def _submodules(tree: ast.Module, name: str, module: ModuleType) -> Iterator[str]:
    """The modules that are reached as attributes of a package: who imports it elsewhere has not imported them."""
    for node in ast.walk(tree):
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id != name:
            continue
        reached = module
        for part in reversed(path):
            inner = getattr(reached, part, None)
            if not isinstance(inner, ModuleType) or inner.__name__ != f"{reached.__name__}.{part}":
                break
            yield inner.__name__
            reached = inner


def _literal(value: Any) -> str | None:
    """A constant as it is written in a program; `None` if it is none."""
    kind = type(value).__name__ if type(value).__module__ == "builtins" else ""
    if value is None or kind in ("bool", "int", "str", "bytes"):
        return repr(value)
    if kind == "float":
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if kind == "dict":
        pairs = _literals(part for pair in value.items() for part in pair)
        if pairs is None:
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in zip(pairs[::2], pairs[1::2])) + "}"
    items = _literals(value) if kind in ("list", "tuple", "set", "frozenset") else None
    if items is None:
        return None
    inside = ", ".join(items)
    if kind == "tuple":
        return f"({inside},)" if items else "()"
    return f"[{inside}]" if kind == "list" else f"{kind}([{inside}])"


def _literals(values: Iterable[Any]) -> list[str] | None:
    found = [_literal(value) for value in values]
    return None if None in found else [literal for literal in found if literal is not None]
