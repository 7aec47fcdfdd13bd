"""Every example runs, and prints what its docstring says."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_prints_what_it_says(script: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAST_")}
    _, _, promised = _docstring(script).partition("\n\nPrints:\n\n")

    ran = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ran.stderr == ""
    assert ran.stdout == textwrap.dedent(promised) + "\n"
    assert ran.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_used_where_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "named.db"

    ran = subprocess.run([sys.executable, SCRIPTS[0], f"sqlite:///{file}"], cwd=tmp_path, timeout=60)

    assert ran.returncode == 0
    assert file.is_file()


def test_the_list_names_every_example_with_its_first_line() -> None:
    listed = re.findall(r"^\* .*$", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert listed == [f"* [{it.name}]({it.name}): {_docstring(it).splitlines()[0]}" for it in SCRIPTS]


def _docstring(script: Path) -> str:
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
