"""The rules of the house that no linter knows."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "outlast"
LINES_MAX = 500

# What users may lack; importing it late is allowed, in the one place that needs it.
OPTIONAL = {"asyncpg", "rich", "uvloop", "pydantic", "sqlalchemy", "django", "psycopg", "opentelemetry"}

# Reads of a clock and throws of dice, by module and name. A `random.Random` may be handed around and named in
# annotations; making one is a throw.
IMPURE = re.compile(
    r"time\.\w+|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today|random\.(?!Random$)\w+"
    r"|uuid\.uuid[1467]|os\.(urandom|getrandom)|secrets\.\w+"
)
EXECUTES_DATA = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "eval", "exec"}
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE) ")
# Put together here, so that this file may exist.
PRIVATE_PATHS = ["/" + "work/", "/" + "root/", "/" + "tmp/plan"]

PLAIN_NAME = re.compile(r"[A-Za-z0-9._/-]+")

# Folders that tools or runs make: never part of the repository.
_MADE = {".git", ".venv", "__pycache__", "build", "dist", "htmlcov", ".hypothesis"}

Finding = tuple[int, str]
Functions = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_modules_are_short() -> None:
    long = [f"{_shown(path)}: {size} lines" for path in _modules() if (size := _lines(path)) > LINES_MAX]

    assert not long, _report(f"modules of more than {LINES_MAX} lines", long)


def test_imports_stand_at_the_top() -> None:
    found = _search(_modules(), _late_imports)

    assert not found, _report("imports inside functions", found)


def test_only_the_world_reads_clocks_and_throws_dice() -> None:
    modules = [path for path in _modules() if path != PACKAGE / "_world.py"]

    found = _search(modules, _impurities)

    assert not found, _report("clocks and dice outside _world.py", found)


def test_no_data_is_ever_executed() -> None:
    found = _search(_python_files(), _executed_data)

    assert not found, _report("code that could execute data", found)


def test_sql_stands_in_the_store_alone() -> None:
    modules = [path for path in _modules() if not path.is_relative_to(PACKAGE / "_store")]

    found = _search(modules, _sql_texts)

    assert not found, _report("SQL outside of _store", found)


def test_what_is_public_has_a_docstring() -> None:
    modules = [path for path in _modules() if _is_public(path)]

    found = _search(modules, _undocumented)

    assert not found, _report("public names without a docstring", found)


def test_no_file_names_a_private_path() -> None:
    found = [
        f"{_shown(path)}:{number}: {private}"
        for path in _files()
        for number, line in enumerate(path.read_text(errors="ignore").splitlines(), 1)
        for private in PRIVATE_PATHS
        if private in line
    ]

    assert not found, _report("paths of one machine", found)


def test_file_names_are_plain() -> None:
    # What a mistyped redirection leaves behind, and what one file system holds and another refuses.
    odd = [repr(_shown(path)) for path in _files() if not PLAIN_NAME.fullmatch(_shown(path))]

    assert not odd, _report("file names beside letters, digits and ._-/", odd)


def _late_imports(tree: ast.Module) -> Iterator[Finding]:
    for function in ast.walk(tree):
        if not isinstance(function, Functions):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = ["." * node.level + (node.module or "")]
            else:
                continue
            for name in names:
                if name.split(".")[0] not in OPTIONAL:
                    yield node.lineno, name


def _impurities(tree: ast.Module) -> Iterator[Finding]:
    names = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                if IMPURE.fullmatch(f"{node.module}.{alias.name}"):
                    yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute):
            path = _dotted(node, names)
            if path and IMPURE.fullmatch(path):
                yield node.lineno, path
        elif isinstance(node, ast.Call) and _dotted(node.func, names) == "random.Random":
            yield node.lineno, "random.Random()"


def _executed_data(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        names: list[str]
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [(node.module or "").split(".")[0]]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = [node.func.id]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name in EXECUTES_DATA)


def _sql_texts(tree: ast.Module) -> Iterator[Finding]:
    # A string that stands alone is a docstring, or does nothing.
    idle = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in idle:
            if SQL.search(node.value):
                yield node.lineno, node.value.strip()[:60]


def _undocumented(tree: ast.Module | ast.ClassDef) -> Iterator[Finding]:
    for node in tree.body:
        if not isinstance(node, (*Functions, ast.ClassDef)) or node.name.startswith("_"):
            continue
        # An overload, or the setter of a property, is told about elsewhere.
        decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
        if not decorators & {"overload", "override", "setter"} and not ast.get_docstring(node):
            yield node.lineno, node.name
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node)


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for, with its module: `{"dt": "datetime.datetime"}`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                names[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and (owner := _dotted(node.value, names)):
        return f"{owner}.{node.attr}"
    return None


def _search(paths: list[Path], rule: Callable[[ast.Module], Iterator[Finding]]) -> list[str]:
    return [f"{_shown(path)}:{line}: {what}" for path in paths for line, what in rule(_tree(path))]


def _report(title: str, found: list[str]) -> str:
    return "\n  ".join([f"{title}:", *found])


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _is_public(path: Path) -> bool:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return not any(part.startswith("_") and not part.startswith("__") for part in parts)


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _python_files() -> list[Path]:
    return [path for path in _files() if path.suffix == ".py"]


@cache
def _files() -> list[Path]:
    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name in _MADE or path.name.endswith("_cache"):
                continue
            if path.is_dir():
                yield from walk(path)
            elif path.is_file():
                yield path

    return list(walk(ROOT))
