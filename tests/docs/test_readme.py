"""What the README shows works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from outlast.cli import main

README = Path(__file__).parent.parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_program_runs(tmp_path: Path) -> None:
    program = tmp_path / "first.py"
    program.write_text(BLOCKS[0], encoding="utf-8")

    ran = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ran.stderr == ""
    assert ran.stdout == "{'sent': 'hi'}\n"
    assert (tmp_path / "app.db").is_file()


def test_every_other_program_is_python() -> None:
    for block in BLOCKS[1:]:
        body = "\n".join(f"    {line}" for line in block.splitlines())
        compile(f"async def shown():\n{body}", str(README), "exec")


def test_every_command_exists() -> None:
    shown = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"^\$ outlast (\w+)", shown, re.MULTILINE)) | {"config", "migrate"}

    for command in sorted(commands):
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0, command
