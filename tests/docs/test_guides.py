"""What the guides show works as it stands: every page is run from top to bottom."""

import ast
import builtins
import contextlib
import io
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from outlast import Engine
from outlast._kernel.objects import OBJECTS
from outlast._kernel.program import DEFINED

GUIDES = Path(__file__).parent.parent.parent / "docs" / "guides"
PAGES = sorted(GUIDES.glob("*.md"))
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_a_guide_runs_as_it_is_written(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFINED, "_programs", dict(DEFINED._programs))  # what a page declares stays its own.
    monkeypatch.setattr(OBJECTS, "_types", {})
    monkeypatch.setattr(OBJECTS, "_names", [])
    text = page.read_text(encoding="utf-8")
    module = types.ModuleType(f"guide_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where its exceptions are found again.
    names: dict[str, Any] = vars(module)
    printed = ""
    async with Engine(f"sqlite:///{tmp_path}/guide.db", queues={"default": 10}) as engine:
        names["engine"] = engine
        for match in _BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 2
            if match[1] == "text":
                assert printed == match[2], f"{page.name}:{line} shows another output"
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                await _run(match[2], names, f"{page.name}:{line}")
            printed = out.getvalue()


async def test_code_of_a_page_has_the_builtins() -> None:
    names: dict[str, Any] = {}

    await _run("import datetime\nday = f'{datetime.date(2030, 1, 31):%d.%m.}'", names, "page")

    assert names["day"] == "31.01."


async def _run(code: str, names: dict[str, Any], where: str) -> None:
    names.setdefault("__builtins__", builtins)  # what C code imports on our behalf is looked up there.
    made = compile(code, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    answer = types.FunctionType(made, names)()
    if answer is not None:
        await answer


def test_the_upgrade_that_is_shown_suits_a_type_checker(tmp_path: Path) -> None:
    page = (GUIDES / "machines.md").read_text(encoding="utf-8")
    (shown,) = [match[2] for match in _BLOCK.finditer(page) if "@upgrade(" in match[2]]
    (tmp_path / "shown.py").write_text(shown)

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", tmp_path / "shown.py"],
        cwd=GUIDES.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_index_names_every_guide() -> None:
    readme = (GUIDES.parent.parent / "README.md").read_text(encoding="utf-8")

    assert [page.name for page in PAGES if f"docs/guides/{page.name}" not in readme] == []
