"""The user's module: where its jobs are, and its engine if it has one."""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from outlast.config import Config, Options, option_names
from outlast.engine import Engine
from outlast.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class App:
    """A module of the user's, imported.

    Attributes:
        spec: How the user named it.
        module: The module.
        engine: Its engine, or None when it has none.
    """

    spec: str
    module: ModuleType
    engine: Engine | None


class AppError(ConfigError):
    """The user's module cannot be used. The cause, if any, is the error that importing it raised."""


def load_app(spec: str) -> App:
    """Imports `module` or `module:attribute`, with the current folder first on the path.

    Raises: AppError.
    """
    name, _, attribute = spec.partition(":")
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise AppError(f"APP must look like package.module or package.module:engine, not {spec!r}{_module_of(name)}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _imported(name)
    return App(spec, module, _named(module, attribute) if attribute else _only_engine(module))


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the user's own code misses is that code's fault, and told as such.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            near = [path.stem for path in Path.cwd().glob("*.py")]
            raise AppError(
                f"there is no module {error.name!r} in {Path.cwd()} or among the installed packages"
                f"{did_you_mean(error.name, near) if near else ''}"
            ) from None
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> AppError:
    frames = traceback.extract_tb(error.__traceback__)
    where = f", in {frames[-1].filename} line {frames[-1].lineno}" if frames else ""
    return AppError(f"importing {name!r} raised {type(error).__name__}: {error}{where} (--debug shows all of it)")


def _module_of(name: str) -> str:
    """A hint for who gave a file's name."""
    if not name.endswith(".py"):
        return ""
    return f"; did you mean {name.removesuffix('.py').removeprefix('./').replace('/', '.')!r}?"


def _named(module: ModuleType, attribute: str) -> Engine:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [name for name, value in vars(module).items() if _is_engine(value)]
            raise AppError(f"module {module.__name__!r} has no attribute {attribute!r}{did_you_mean(attribute, known)}")
        found = getattr(found, part)
    if not _is_engine(found):
        raise AppError(f"{module.__name__}:{attribute} must be an Engine, not {type(found).__name__}")
    return _as_engine(found)


def _only_engine(module: ModuleType) -> Engine | None:
    engines = {name: value for name, value in vars(module).items() if _is_engine(value)}
    if "engine" in engines:
        return _as_engine(engines["engine"])
    if len({id(value) for value in engines.values()}) > 1:
        names = ", ".join(f"{module.__name__}:{name}" for name in engines)
        raise AppError(f"module {module.__name__!r} holds several engines; name one of them: {names}")
    return next((_as_engine(value) for value in engines.values()), None)


def _is_engine(value: object) -> bool:
    # Also the one of `outlast.sync`, a neighbour that the command line does not know.
    try:
        return not isinstance(value, type) and isinstance(value.config, Config)  # type: ignore[attr-defined]
    except Exception:  # whatever else a module holds may answer as it likes.
        return False


def _as_engine(value: Any) -> Engine:
    if isinstance(value, Engine):
        return value
    options: Options = {name: getattr(value.config, name) for name in option_names() if name != "url"}  # type: ignore[assignment]
    return Engine(value.config.url, **options)
