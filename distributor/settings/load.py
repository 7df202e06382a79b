"""Reads `distributor.toml`. Every complaint names the file, the line, the key and the nearest known one."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from distributor.errors import ConfigError
from distributor.settings.models import Settings

DEFAULT_FILE = "distributor.toml"
_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")


def find_config(given: Path | None, environ: Mapping[str, str]) -> Path:
    """`--config`, else DISTRIBUTOR_CONFIG, else distributor.toml here. Raises ConfigError when it is not there."""
    path = given or Path(environ.get("DISTRIBUTOR_CONFIG", DEFAULT_FILE))
    if not path.is_file():
        raise ConfigError("there is no such file", where=str(path), mend="`distributor init` writes one.")
    return path


def load_settings(given: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises ConfigError for everything that is wrong with the file."""
    environ = os.environ if environ is None else environ  # noqa: TID251
    path = find_config(given, environ)
    text = path.read_text(encoding="utf-8")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is not TOML: {error}", where=str(path), mend="Mend that line.") from error
    filled = _fill(raw, environ, path, ())
    filled["directory"] = path.resolve().parent
    try:
        return Settings.model_validate(filled)
    except ValidationError as error:
        raise ConfigError("\n".join(_complaints(error, path, text)), mend="Nothing was started.") from error


def _fill(value: Any, environ: Mapping[str, str], path: Path, at: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, environ, path, (*at, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, environ, path, at) for item in value]
    if not isinstance(value, str):
        return value
    for name in _ENV.findall(value):
        if name not in environ:
            raise ConfigError(
                f"{'.'.join(at)} needs the environment variable {name}, which is not set",
                where=str(path),
                mend=f"Set {name}.",
            )
    return _ENV.sub(lambda found: environ[found[1]], value)


def _complaints(error: ValidationError, path: Path, text: str) -> Iterator[str]:
    for problem in error.errors():
        keys = tuple(str(part) for part in problem["loc"] if not isinstance(part, int) and part != "[key]")
        where = f"{path}:{_line(text, keys)}"
        name = ".".join(keys)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(keys[-1], _known(keys[:-1]), 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(_known(keys[:-1]))}"
            yield f"{where}: unknown key {name!r}{hint}"
        elif problem["type"] == "missing":
            inside = _known(keys)
            add = f"; add [{name}] with {inside[0]} = …" if inside and "." not in name else ""
            yield f"{where}: {name!r} is missing{add}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{where}: {name + ': ' if name else ''}{message}"


def _known(keys: tuple[str, ...]) -> list[str]:
    """The keys that a section may have, by walking the models; names of a user's own are stepped over."""
    model: Any = Settings
    for key in keys:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = next((f for n, f in model.model_fields.items() if key in (n, f.alias)), None)
            model = field.annotation if field else None
        elif args := get_args(model):
            model = args[-1]
        if args := get_args(model):
            inner = [arg for arg in args if isinstance(arg, type) and issubclass(arg, BaseModel)]
            model = (
                model
                if model and dict in getattr(model, "__mro__", (getattr(model, "__origin__", None),))
                else (inner[0] if inner else model)
            )
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [f.alias or n for n, f in model.model_fields.items() if n != "directory"]
    return []


def _line(text: str, keys: tuple[str, ...]) -> int:
    """The line of a key: the deepest header that is a prefix of it, then the key below it; 1 when nothing matches."""
    best, best_depth = 1, -1
    header: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if found := _HEADER.match(line):
            header = tuple(part.strip().strip("\"'") for part in found[1].split("."))
            depth = len(header) if header == keys[: len(header)] else -1
        else:
            name = line.split("=", 1)[0].strip().strip("\"'") if "=" in line else ""
            full = (*header, *(part.strip() for part in name.split("."))) if name else header
            depth = len(full) if name and full == keys[: len(full)] else -1
        if depth > best_depth:
            best, best_depth = number, depth
    return best
