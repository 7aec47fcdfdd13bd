"""The command line: whatever is typed, a sentence and a documented exit code; nothing that a terminal obeys."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import click
from click.testing import CliRunner

from outlast import Engine
from outlast.cli import main
from tests.fuzz.nasty import TEXTS, json_text, mutated, text
from tests.fuzz.oracle import Finding, brief
from tests.fuzz.rows import furnish

EXIT_CODES: Final = (0, 1, 2, 3, 4)
_ENDLESS: Final = ("worker", "demo")
"""Commands that run until they are stopped."""
_URLS: Final = (
    "sqlite:///nowhere.db", "sqlite://", "mysql://x", "sqlite:///\x00", "postgresql://a:b@[", "", "\x1b[31m",
    "sqlite:///pyproject.toml",
)  # fmt: skip
_APPS: Final = ("app", "app:nothing", "nosuch", "app.py", "app:", ":", "\x1b[31m", "a b", "broken", "app:errand")
_SAFE: Final = {"url": _URLS, "app": _APPS, "out": ("out.txt", "nosuch/out.txt", "."), "wait": ("0", "0.01", "x")}
_KNOWN: Final = ("asker", "robot", "hourly", "model.Counter", "x", "boss")
_NOT: Final = ("help", "follow", "watch", "version")
_WHOLES: Final = ("0", "1", "-1", "50", "1000", "1001", "9" * 30, "9" * 5_000, "1.5", "x", "٣", "")
_MOMENTS: Final = ("2h", "2h ago", "2030-01-31T18:00:00+01:00", "0001-01-01", "9999-12-31T23:59:59", "now", "1e9d")
_PAIRS: Final = ("a=1", "plan=[]", 'plan=["ok"]', "=", "a", "amount=1", "a=[" * 3)
_APP: Final = "from tests.model.programs import *\n"


class Shell:
    """The real command in this process, in a folder with a database in which everything was made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "app.py").write_text(_APP)
        (folder / "broken.py").write_text("raise ValueError('\\x1b[31mred')\n")
        (folder / "pyproject.toml").write_text('[tool.outlast]\nurl = "sqlite:///app.db"\napp = "app"\n')
        asyncio.run(furnish(f"sqlite:///{folder / 'app.db'}"))
        self._ids = asyncio.run(self._known(f"sqlite:///{folder / 'app.db'}"))
        self._commands = list(_commands(main, []))

    async def _known(self, url: str) -> list[str]:
        async with Engine(url, queues={}) as engine:
            return [each.id for each in await engine.list(limit=1_000)]

    @contextmanager
    def inside(self) -> Iterator[Shell]:
        """Makes the folder the current one."""
        before, path = Path.cwd(), list(sys.path)
        os.chdir(self._folder)
        try:
            yield self
        finally:
            os.chdir(before)
            sys.path[:] = path
            for name in ("app", "broken"):  # others have modules of these names, too.
                sys.modules.pop(name, None)

    def case(self, dice: Random) -> None:
        """One command."""
        argv = self._argv(dice)
        given = json_text(dice).encode(errors="surrogatepass") if dice.random() < 0.5 else b"\xff\xfe\x00"
        result = CliRunner().invoke(main, argv, input=given, prog_name="outlast")
        told = result.stdout + result.stderr
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise Finding(f"{brief(argv)} raised", "raised") from result.exception
        if result.exit_code not in EXIT_CODES:
            raise Finding(f"{brief(argv)} ended with {result.exit_code}", "exit code")
        if "Traceback" in result.stderr and "--debug" not in argv:
            raise Finding(f"{brief(argv)} showed a traceback", "traceback")
        if "fault of outlast's own" in told:
            raise Finding(f"{brief(argv)}: {brief(result.stderr)}", f"fault {argv[0]} {result.stderr[:60]}")
        if odd := {char for char in told if not char.isprintable() and char != "\n"}:
            raise Finding(f"{brief(argv)} wrote {sorted(odd)!r} to the terminal: {brief(told)}", f"terminal {argv[0]}")
        if result.exit_code == 2 and not result.stderr.strip():
            raise Finding(f"{brief(argv)} was refused without a word", "silent")

    def _argv(self, dice: Random) -> list[str]:
        path, command = dice.choice(self._commands)
        argv = list(path)
        for param in command.params:
            if isinstance(param, click.Argument):
                if param.required or dice.random() < 0.8:
                    argv += [self._word(dice, param) for _ in range(1 if param.nargs == 1 else dice.choice((1, 2)))]
            elif param.name not in _NOT and dice.random() < (0.5 if param.required else dice.choice((0.1, 0.4))):
                argv += self._option(dice, param)
        if dice.random() < 0.05:
            argv.insert(dice.randrange(len(argv) + 1), dice.choice(TEXTS)[:500])
        # As a shell hands them over: no NUL, and a byte that is no text as half of a surrogate.
        return [word.replace("\x00", "") for word in argv]

    def _option(self, dice: Random, param: click.Parameter) -> list[str]:
        name = dice.choice([*param.opts, *param.secondary_opts])
        if getattr(param, "is_flag", False):
            return [name]
        return [f"{name}={self._word(dice, param)}"] if dice.random() < 0.5 else [name, self._word(dice, param)]

    def _word(self, dice: Random, param: click.Parameter) -> str:
        if param.name in _SAFE:
            return dice.choice(_SAFE[param.name])
        shown = f"{param.name} {getattr(param, 'metavar', '')} {type(param.type).__name__}".lower()
        good: tuple[str, ...] = (*dice.choices(self._ids, k=2), *_KNOWN)
        if isinstance(param.type, click.Choice):
            good = tuple(map(str, param.type.choices))
        elif "int" in shown:
            good = _WHOLES
        elif "moment" in shown or "duration" in shown:
            good = _MOMENTS
        elif "pair" in shown or "tag" in shown:
            good = _PAIRS
        elif "json" in shown or "payload" in shown:
            return json_text(dice, ('{"plan": ["ok"]}', '{"amount": 1}'))[:100_000]
        elif "job" in shown or "what" in shown:
            good = ("errand", "app:errand", "flow", "model.robot", "Robot", "nosuch")
        if dice.random() < 0.4:
            return dice.choice(good)
        return mutated(dice, dice.choice(good))[:20_000] if dice.random() < 0.5 else text(dice)[:20_000]


def _commands(group: Any, path: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    for name, command in group.commands.items():
        if name in _ENDLESS:
            continue
        if isinstance(command, click.Group):
            yield from _commands(command, [*path, name])
        yield [*path, name], command
