"""docs/cli.md, made from the verbs themselves: `python -m distributor.cli.reference > docs/cli.md`."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typer.models import ArgumentInfo, OptionInfo

from distributor.cli.main import PANELS, VERBS
from distributor.cli.verb import AsJson, Config, Verb, outcome_of

_INTRODUCTION = """\
# The command line

<!-- Made by `python -m distributor.cli.reference`: change the verbs, not this page. -->

Every verb takes `--config FILE` (else `DISTRIBUTOR_CONFIG`, else `./distributor.toml`) and `--json`.

With `--json` there is exactly one JSON object on stdout; progress and logs are on stderr. Times are ISO 8601 in UTC.
New fields may be added to an object; those below stay.

A verb that fails says one sentence on stderr; with `--json` it writes this object to stdout instead:

| field | type | meaning |
|---|---|---|
| `error` | string | the kind of failure: `ConfigError`, `UnreachableError`, … |
| `what` | string | what went wrong, in a sentence |
| `where` | string | the part that it concerns: a file and line, a table, a member |
| `mend` | string | what to do about it |
| `retryable` | boolean | whether trying again can help |
| `exit_code` | integer | the exit code of the process |

`DISTRIBUTOR_DEBUG=1` adds the traceback, on stderr.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong usage, or a config that cannot be used |
| 10 | differences present. `plan --exit-code`: a deploy would change something. `verify`: rows are not as the release \
has them, and were not mended. `capture verify`: triggers have missed changes. `audit --verify`: the audit is not as \
it was sealed |
| 11 | refused by a gate; `deploy --plan`: the plan is stale |
| 12 | not converged in time, or called off before the decision: nothing flipped. After `--timeout`: nothing has \
flipped yet, and the rollout goes on. `verify`: a member did not answer in time |
| 13 | the environment is held or busy; or the rollout was superseded while it was queued. `verify`: a member changed \
over again and again while it was audited |
| 14 | flipped back |
| 130 | interrupted |
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_verbs()])


def _verbs() -> Iterator[str]:
    for panel in PANELS:
        yield f"## {panel}\n"
        for words, (shown_in, verb) in VERBS.items():
            if shown_in == panel:
                yield from _verb(words, verb)


def _verb(words: str, verb: Verb) -> Iterator[str]:
    rows = list(_options(verb))
    usage = " ".join(name for name, _, positional in rows if positional)
    yield f"### `distributor {words}{' ' + usage if usage else ''}`\n"
    yield inspect.getdoc(verb) or ""
    yield ""
    if rows:
        yield "| argument or option | meaning |\n|---|---|"
        for name, text, _ in rows:
            yield f"| `{name}` | {_cell(text)} |"
        yield ""
    yield from _object("The object of `--json`", outcome_of(verb))


def _options(verb: Verb) -> Iterator[tuple[str, str, bool]]:
    """Each argument and option: how it is written, what it means, whether it is an argument."""
    for name, hint in get_type_hints(verb, include_extras=True).items():
        if get_origin(hint) is not Annotated or hint in (Config, AsJson):
            continue
        for info in get_args(hint)[1:]:
            if isinstance(info, ArgumentInfo):
                yield info.metavar or name.upper(), info.help or "", True
            elif isinstance(info, OptionInfo) and not info.hidden:
                flag = info.default if isinstance(info.default, str) else f"--{name.replace('_', '-')}"
                yield f"{flag} {info.metavar}" if info.metavar else flag, info.help or "", False


def _object(title: str, model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema(mode="serialization")
    definitions: dict[str, Any] = schema.get("$defs", {})
    yield f"{title}:\n"
    yield from _fields(schema)
    for name, definition in sorted(definitions.items()):
        if "properties" in definition:
            yield f"`{name}`:\n"
            yield from _fields(definition)


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield "| field | type | meaning |\n|---|---|---|"
    for name, field in schema["properties"].items():
        yield f"| `{name}` | {_cell(_type(field))} | {_cell(field.get('description', ''))} |"
    yield ""


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if "anyOf" in field:
        return " or ".join(map(_type, field["anyOf"]))
    if "enum" in field or "const" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    match field.get("type"):
        case "array":
            return f"list of {_type(field.get('items', {}))}"
        case "object" if isinstance(field.get("additionalProperties"), dict):
            return f"object of {_type(field['additionalProperties'])}"
        case "string" if "format" in field:
            return str(field["format"])
        case str(kind):
            return kind
    return "anything"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    sys.stdout.write(page())
