"""Functions as workers: a function's module, and what that imports, built into a WebAssembly component."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, TypeVar, overload

from . import _prompt, _wasm_grid  # pyright: ignore[reportPrivateUsage]
from ._programs import program
from ._prompt import FunctionError

#: Built functions that are kept in the user's folder; each is some 18 MB.
KEPT_MAX = 32

#: Bytes of sources that one function may bring.
SOURCE_BYTES_MAX = 16 << 20

#: Bytes of a typed function: it goes as the arguments of a job, which are 512 KiB at the most.
TYPED_BYTES_MAX = 500 << 10

_GUEST = Path(__file__).parent / "_guest"

#: What of the standard library is ready in workers of its functions and of typed ones; any other module makes one more.
_READY = frozenset(
    "base64 binascii bisect builtins calendar cmath collections copy csv datetime decimal difflib fractions functools hashlib "
    "heapq html inspect io itertools json math operator random re statistics string struct textwrap time typing "
    "unicodedata urllib urllib.parse uuid zlib __future__ abc array ast contextlib dataclasses enum numbers os sys types "
    "collections.abc xml xml.etree xml.etree.ElementTree".split()
)

#: The attribute of a marked function that names the modules that go along.
_MODULES = "__wasm_grid_modules__"

#: Names that the parts of every worker have.
_TAKEN = {"worker", "grid_worker", "guest_values", "wasm_grid"}

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


@overload
def worker(function: AnyFunction, /) -> AnyFunction: ...


@overload
def worker(*, modules: Sequence[str]) -> Callable[[AnyFunction], AnyFunction]: ...


def worker(function: Any = None, /, *, modules: Sequence[str] = ()) -> Any:
    """Mark a function or a class as one that runs on the grid: it is checked at once that it can.

        @grid.worker(modules=["plugins.fast"])
        def run(name): ...

    Neither need be marked to be given to `Client.map` or `Client.spawn`.

    Args:
        modules: Modules in pure Python that go along although no import names them, as for `importlib.import_module`.

    Raises:
        FunctionError: It cannot become a worker.
    """
    if function is None:
        return functools.partial(_mark, modules=tuple(modules))
    return _mark(function, ())


def _mark(function: AnyFunction, modules: tuple[str, ...]) -> AnyFunction:
    _place_of(function)
    if modules:
        setattr(function, _MODULES, modules)
    return function


def shown_name_of(function: Callable[..., Any]) -> str:
    """The name of a function in its module."""
    return _place_of(function)[1]


def start_arguments(
    target: Callable[..., Any],
    prefix: bytes,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> bytes:
    """What names a function, or a class with what its objects are made of, to the worker of its module.

    A `prefix` of two stars stands for a function that unpacks each message into its arguments.
    """
    call = call_of(target)
    if isinstance(target, type) and hasattr(target, "handle_msg"):
        if prefix:
            raise ValueError(f"{target.__qualname__} is a worker's class; start it with client.spawn(…, args=…)")
        return _wasm_grid.dumps([call.decode(), list(args), dict(kwargs or {})])
    if prefix not in (b"", b"**") or args or kwargs:
        raise ValueError("a function takes no arguments but its input; send them with each input")
    return prefix + call


def call_of(function: Callable[..., Any]) -> bytes:
    """What tells the worker, as the arguments of a job, which function to call.

    It is the function's name in the module that the worker is built of; `MODULE:NAME` in the standard library, which every
    worker has; or, for a function that was typed, that and its source, so that it need not be built.
    """
    module, qualname = _place_of(function)
    if _is_standard(module):
        return f"{module}:{qualname}".encode()
    if not _prompt.is_typed(function):
        return qualname.encode()
    call = f"prompt:{qualname}\n{_prompt.source_of(function)}".encode()
    if len(call) > TYPED_BYTES_MAX:
        raise FunctionError(
            f"{qualname} and what it uses are {len(call) >> 10} KiB of source, more than {TYPED_BYTES_MAX >> 10}; put it "
            "into a file, and import it from there; send what is long with each input"
        )
    return call


def name_of(function: Callable[..., Any]) -> str:
    """The name under which a function's module is uploaded."""
    module = _place_of(function)[0]
    if _is_standard(module) or _prompt.is_typed(function):
        module = "python"
    elif module == "__main__":
        module = Path(getattr(sys.modules[module], "__file__", None) or "program").stem
    name = re.sub(r"[^a-z0-9_.-]", "-", module.lower()).strip("-_.")
    return (name if name[:1].isalpha() else f"m-{name}")[:64]


def build(function: Callable[..., Any]) -> bytes:
    """The component of a function's module, which calls the function that a job names with each message.

    It is built unless that was done before, for this function or for another one of the module. All functions of the
    standard library share one component, and so do functions that were typed and import nothing else.

    Raises:
        FunctionError: The function cannot become a worker.
    """
    files = _Sources(function).files
    tool = _builder()
    digest = hashlib.sha256(f"{_wasm_grid.__version__}\0{tool[1]}".encode())
    for path, source in sorted(files.items()):
        digest.update(f"\0{path}\0{len(source)}\0".encode() + source)
    folder = Path(_wasm_grid.home()) / "functions"
    kept = folder / f"{digest.hexdigest()}.wasm"
    try:
        built = kept.read_bytes()
        os.utime(kept)
        return built
    except OSError:
        pass
    folder.mkdir(parents=True, exist_ok=True)
    if sys.stderr.isatty():
        print(f"building {name_of(function)} for the grid, about half a minute, once", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        output = _componentize(Path(made), files, name_of(function), tool[0])
        built = output.read_bytes()
        output.replace(kept)
    _forget_oldest(folder)
    return built


def _forget_oldest(folder: Path) -> None:
    kept = sorted(folder.glob("*.wasm"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT_MAX:]:
        path.unlink(missing_ok=True)


def _builder() -> tuple[str, str]:
    """The folder of what builds Python workers, and its version."""
    beside = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    path = os.pathsep.join([*beside, os.environ.get("PATH", "")])
    found = shutil.which("componentize-py", path=path)
    if found is None:
        raise FunctionError("what builds functions is not installed; type: pip install 'wasm-grid[build]'")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return (str(Path(found).parent), version)


def _componentize(folder: Path, files: dict[str, bytes], name: str, tools: str) -> Path:
    new = [program("grid"), "module", "new", name, "--lang", "python", "--dir", str(folder / "worker")]
    _run(new, None, {})
    for path, source in files.items():
        target = folder / "worker" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source)
    output = folder / "worker.wasm"
    path = os.pathsep.join([tools, os.environ.get("PATH", "")])
    _run([program("grid"), "module", "build", "--output", str(output)], folder / "worker", {"PATH": path})
    return output


def _run(command: list[str], folder: Path | None, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise FunctionError(f"the function cannot be built:\n{done.stderr.strip()[-4000:]}")


def _place_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The module of a function and its name in there, by which a host finds it."""
    owner = getattr(function, "__objclass__", None) or getattr(function, "__self__", None)
    qualname = getattr(function, "__qualname__", None)
    if isinstance(owner, type):
        # A method of a class, such as `str.upper` or `datetime.fromisoformat`.
        module, qualname = owner.__module__, f"{owner.__qualname__}.{getattr(function, '__name__', '')}"
    else:
        module = getattr(function, "__module__", None)
        owner = None if isinstance(owner, type(sys)) else owner
    if module is None or qualname is None or owner is not None and not isinstance(owner, type):
        raise FunctionError(f"{function!r} is not a function of a module; put what it does into one")
    if "<lambda>" in qualname:
        raise FunctionError("a lambda has no name by which a host could find it; write it as a def in a file")
    if "<locals>" in qualname:
        raise FunctionError(
            f"{qualname} is defined inside of another function, whose variables no host has; move it to the top level "
            "of its file, and send what it needs with each input"
        )
    return module, qualname


class _Sources:
    """The files of a worker that calls a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        module, qualname = _place_of(function)
        self.files: dict[str, bytes] = {}
        self._imports: set[str] = set()
        self._seen: set[str] = set()
        if _is_standard(module):
            names = {module, module.partition(".")[0], module.lstrip("_")}  # `operator.mul` is of `_operator`.
            self._imports.update(_READY if names & _READY else {*_READY, module})
            module = "builtins"
        elif _prompt.is_typed(function):
            self._imports.update(_READY)
            self._add_imports(_prompt.source_of(function).encode(), Path(qualname))
            module = "builtins"
        elif module == "__main__":
            module = self._add_script()
        else:
            self._add_top(module.partition(".")[0], needed_by=qualname)
        for name in getattr(function, _MODULES, ()):
            self._add_named(name, qualname)
        text = (_GUEST / "worker.py.txt").read_text()
        for slot, value in [("imports", sorted(self._imports)), ("module", module)]:
            text = text.replace("{{" + slot + "}}", repr(value))
        self.files["worker.py"] = text.encode()
        self.files["guest_values.py"] = (_GUEST / "guest_values.py.txt").read_bytes()
        for part in ("__init__", "distributed_worker"):
            self.files[f"wasm_grid/{part}.py"] = (_GUEST / "wasm_grid" / f"{part}.py.txt").read_bytes()
        size = sum(map(len, self.files.values()))
        if size > SOURCE_BYTES_MAX:
            raise FunctionError(f"what {qualname} needs is {size >> 20} MiB of sources, more than 16")

    def _add_named(self, name: str, needed_by: str) -> None:
        """Adds a module that a marked function names."""
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise FunctionError(f"{needed_by} names the module {name}, which is not there")
        self._imports.add(name)
        self._add_top(name.partition(".")[0], needed_by)

    def _add_script(self) -> str:
        """Adds the program itself, under the name of its file."""
        path = Path(sys.modules["__main__"].__file__ or "")
        name = path.stem
        if not name.isidentifier() or name in _TAKEN or name in _standard():
            name = "program"
        self._add_file(path, f"{name}.py")
        return name

    def _add_top(self, name: str, needed_by: str) -> None:
        """Adds a module or a package, with what it imports."""
        if name in self._seen or name in _standard() or name == "wasm_grid":
            return
        self._seen.add(name)
        if name in _TAKEN:
            raise FunctionError(f"a module of yours cannot be called {name}: the worker's own parts are")
        spec = importlib.util.find_spec(name)
        if spec is None:
            # It may be optional; if not, the build says which line misses it.
            return
        if spec.submodule_search_locations is not None:
            for folder in map(Path, spec.submodule_search_locations):
                self._add_package(folder, name, needed_by)
        elif spec.origin is not None and spec.origin.endswith(".py"):
            self._add_file(Path(spec.origin), f"{name}.py")
        else:
            raise _compiled(needed_by, name)

    def _add_package(self, folder: Path, name: str, needed_by: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".so", ".pyd", ".dylib"}:
                raise _compiled(needed_by, name)
            if path.is_file() and path.suffix != ".pyc":
                self._add_file(path, f"{name}/{path.relative_to(folder).as_posix()}")

    def _add_file(self, path: Path, to: str) -> None:
        self.files[to] = source = path.read_bytes()
        if path.suffix == ".py":
            self._add_imports(source, path)

    def _add_imports(self, source: bytes, path: Path) -> None:
        try:
            tree = ast.parse(source, str(path))
        except SyntaxError as error:
            raise FunctionError(f"{path} cannot be read: {error}") from error
        for name, line in _imported(tree):
            self._imports.add(name)
            self._add_top(name.partition(".")[0], needed_by=f"{path}, line {line},")


def _compiled(needed_by: str, name: str) -> FunctionError:
    return FunctionError(
        f"{needed_by} needs {name}, which has compiled parts that no host can load; import it only where your program "
        "runs, or write the worker in another language: client.map('worker.wasm', …)"
    )


def _imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What a file imports, by absolute names, with the line; not what only type checkers do."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module, node.lineno
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        else:
            yield from _imported(node)


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in _standard()


@functools.lru_cache(maxsize=None)
def _standard() -> frozenset[str]:
    """The modules of the standard library: every host's interpreter has them."""
    try:
        return sys.stdlib_module_names
    except AttributeError:  # Python 3.9.
        folder = Path(sysconfig.get_path("stdlib"))
        found = [*folder.iterdir(), *(folder / "lib-dynload").glob("*.so")]
        names = {path.name.partition(".")[0] for path in found if path.suffix in {"", ".py", ".so"}}
        return frozenset((names | set(sys.builtin_module_names)) - {"__main__", "idlelib", "site-packages", "test"})
