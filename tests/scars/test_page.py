"""The page of scars and the tests are in step."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "internals" / "scars.md"
_ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \| `([\w/]+\.py)::test_(\w+)` \|$", re.MULTILINE)


def test_the_page_names_every_scar_once_and_where_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = _ROW.findall(text)

    assert len(rows) == len(re.findall(r"^\| `", text, re.MULTILINE)), "a row is not whole"
    assert [scar for scar, *_ in rows] == [test for *_, test in rows]
    assert sorted((scar, path) for scar, _, _, path, _ in rows) == sorted(_scars())


def test_every_scar_tells_what_happened_there_and_what_holds_here() -> None:
    untold = [name for name, story in _stories().items() if not (story and "\n\nHere " in story)]

    assert untold == []


def _scars() -> list[tuple[str, str]]:
    """Each scar's name, and the file of its test."""
    return [
        (function.name.removeprefix("test_"), str(path.relative_to(ROOT)))
        for path in _files()
        for function in _tests(path)
    ]


def _stories() -> dict[str, str | None]:
    return {function.name: ast.get_docstring(function) for path in _files() for function in _tests(path)}


def _files() -> list[Path]:
    return [path for path in sorted(HERE.glob("test_*.py")) if path != Path(__file__)]


def _tests(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    found = ast.parse(path.read_text(encoding="utf-8")).body
    functions = [node for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [function for function in functions if function.name.startswith("test_")]
