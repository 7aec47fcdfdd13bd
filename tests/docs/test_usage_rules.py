"""The rules for coding agents name nothing that does not exist."""

import re
from pathlib import Path

import outlast
from outlast import testing

RULES = (Path(__file__).parent.parent.parent / "usage-rules.md").read_text(encoding="utf-8")


def test_every_name_that_the_rules_import_or_mention_exists() -> None:
    imported = {
        (module, name.strip())
        for module, names in re.findall(r"from (outlast[\w.]*) import ([\w, ]+)", RULES)
        for name in names.split(",")
        if name.strip() not in ("", "...")
    }
    decorators = set(re.findall(r"(?<![\w.])@(\w+)", RULES))
    operations = set(re.findall(r"engine\.(\w+)\(", RULES))
    outcomes = set(re.findall(r"`(Next Retry[\w ]+)`", RULES).pop().split())

    assert imported
    assert [name for module, name in imported if not hasattr(testing if "testing" in module else outlast, name)] == []
    assert [name for name in decorators if not hasattr(outlast, name)] == []
    assert [name for name in operations if not hasattr(outlast.Engine, name)] == []
    assert [name for name in outcomes if not hasattr(outlast, name)] == []


def test_every_block_is_python() -> None:
    for block in re.findall(r"```python\n(.*?)```", RULES, re.DOTALL):
        body = "\n".join(f"    {line}" for line in block.splitlines())
        compile(f"async def shown():\n{body}", "usage-rules.md", "exec")
