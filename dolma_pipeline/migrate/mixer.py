"""A config of Dolma's mixer as a recipe: each stream a source, its filters rules in SQL, its replacements edits.

Attributes that Dolma made are read as they are (`sources.NAME.attributes`). What has no counterpart here and decides
nothing about the documents that stay is said in `notes`; what would decide is an error that names the key.
Source: allenai/dolma 1.2.1 (Apache-2.0), `dolma mix --help` and docs/mixer.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dolma_pipeline.config import recipe_from_text
from dolma_pipeline.config.write import as_yaml
from dolma_pipeline.config.yaml import Located, describe, plain
from dolma_pipeline.errors import ConfigError, unknown_name
from dolma_pipeline.migrate import sql
from dolma_pipeline.migrate.jq import jq_spans, jq_sql
from dolma_pipeline.migrate.jsonpath import jsonpath_spans, jsonpath_sql
from dolma_pipeline.migrate.sql import Untranslatable

TOP = ("streams", "processes", "work_dir", "shuffle", "dryrun")
STREAM = ("name", "documents", "attributes", "output", "filter", "span_replacement", "compression")
OUTPUT = ("path", "max_size_in_bytes", "discard_fields", "min_text_length")
FILTER = ("include", "exclude", "syntax")
REPLACEMENT = ("span", "min_score", "max_score", "replacement", "syntax")
NEVER_WRITTEN = ("attributes", "metadata", "version")
"""Keys of documents that a mix of ours leaves out of its lines anyway."""

_Translate = Callable[[str], str]
_CONDITIONS: Mapping[str, _Translate] = {"jsonpath": jsonpath_sql, "jq": jq_sql}
_SPANS: Mapping[str, _Translate] = {"jsonpath": jsonpath_spans, "jq": jq_spans}
_GLOB = re.compile(r"[*?\[]")


class Converted(NamedTuple):
    """A recipe as YAML, and what of the config has no counterpart in it."""

    recipe: str
    notes: tuple[str, ...]


def recipe_of(config: Located, *, output: str) -> Converted:
    """The recipe of a mixer config.

    Args:
        config: as `config.yaml.read_yaml` gives it. output: folder of the run.

    Raises:
        ConfigError: a key that Dolma does not have, or an expression or key that cannot be translated; names its line.
    """
    top = _mapping(config, "a mixer config", TOP)
    streams = _list(top.get("streams"), "streams", config)
    sources: dict[str, Any] = {}
    mixes: dict[str, Any] = {}
    notes: dict[str, None] = {}
    for key in ("work_dir", "processes", "shuffle"):
        if key in top:
            notes[f"{key}: runs have their own folder, workers and order"] = None
    for located in streams:
        stream = _mapping(located, "a stream", STREAM)
        name = _text(stream.get("name"), "name", located)
        if name in sources:
            raise ConfigError(f"{located.place}: two streams are called '{name}'")
        sources[name] = _source(stream, located)
        mixes[name] = _mix_source(stream, located, notes)
    tree = {"output": output, "sources": sources, "mix": {"sources": mixes, "documents": True}}
    text = as_yaml(tree)
    recipe_from_text(text, name="the converted recipe")
    return Converted(text, tuple(notes))


def _source(stream: Mapping[str, Located], at: Located) -> dict[str, Any]:
    documents = [_text(one, "documents", at) for one in _list(stream.get("documents"), "documents", at)]
    source: dict[str, Any] = {"documents": documents}
    names = [_text(one, "attributes", at) for one in _list(stream.get("attributes"), "attributes", at, needed=False)]
    folders = [_attributes_of(pattern, name, stream["documents"]) for name in names for pattern in documents]
    return source | ({"attributes": [*dict.fromkeys(folders)]} if folders else {})


def _attributes_of(pattern: str, name: str, at: Located) -> str:
    """The folder of attributes beside documents, where Dolma looks: `documents` in a path is `attributes/NAME`."""
    parts = pattern.split("/")
    whole = next((number for number, part in enumerate(parts) if _GLOB.search(part)), len(parts) - 1)
    folder = parts[:whole]
    if "documents" not in folder:
        raise ConfigError(
            f"{at.place}: '{pattern}' has no folder 'documents' before its first wildcard, so it is not known where "
            f"its attributes '{name}' lie"
        )
    return "/".join(f"attributes/{name}" if part == "documents" else part for part in folder)


def _mix_source(stream: Mapping[str, Located], at: Located, notes: dict[str, None]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if "filter" not in stream and "span_replacement" not in stream:
        raise ConfigError(f"{at.place}: a stream has `filter` or `span_replacement`, and this one has neither")
    if "filter" in stream:
        own["where"] = _rules(stream["filter"])
    edits = [_edit(one) for one in _list(stream.get("span_replacement"), "span_replacement", at, needed=False)]
    if edits:
        own["replace"] = edits
    if "compression" in stream:
        notes["compression: inputs are known by their first bytes, documents are written as .jsonl.zst"] = None
    if "output" in stream:
        own |= _output(_mapping(stream["output"], "`output`", OUTPUT), notes)
    return own


def _output(output: Mapping[str, Located], notes: dict[str, None]) -> dict[str, Any]:
    if "path" in output:
        notes[f"output.path {plain(output['path'])}: documents are written to mix/documents/ in the run's folder"] = (
            None
        )
    if "max_size_in_bytes" in output:
        notes["output.max_size_in_bytes: a file of documents is as long as what stays of its input"] = None
    discarded = output.get("discard_fields")
    for one in _list(discarded, "discard_fields", discarded, needed=False) if discarded else ():
        field = _text(one, "discard_fields", one)
        if field not in NEVER_WRITTEN:
            raise ConfigError(
                f"{one.place}: discard_fields: '{field}' cannot be left out; the lines of a mix have id, text, source, "
                f"added and created, and never {', '.join(NEVER_WRITTEN)}"
            )
    if "metadata" not in {plain(one) for one in (discarded.value if discarded else ()) or ()}:  # type: ignore[arg-type,union-attr]
        notes["metadata: name the keys that are to stay in mix.keep_metadata; Dolma keeps them all"] = None
    least = output.get("min_text_length")
    if least is None or not least.value:
        return {}
    if isinstance(least.value, bool) or not isinstance(least.value, int) or least.value < 0:
        raise ConfigError(f"{least.place}: min_text_length is a number of bytes; found {describe(least)}")
    notes[
        "output.min_text_length: min_chars counts characters, blanks at the ends too; Dolma counts bytes without them"
    ] = None
    return {"min_chars": least.value}


def _rules(located: Located) -> dict[str, str]:
    config = _mapping(located, "`filter`", FILTER)
    translate = _CONDITIONS[_syntax(config)]
    include = _list(config.get("include"), "include", located, needed=False)
    exclude = _list(config.get("exclude"), "exclude", located, needed=False)
    if not include and not exclude:
        raise ConfigError(f"{located.place}: a filter has `include` or `exclude`, and this one has neither")
    rules: dict[str, str] = {}
    if include:
        rules["include"] = sql.any_of([_translated(translate, one, "include") for one in include])
    for one in exclude:
        asked = _translated(translate, one, "exclude")
        rules[_named(asked, rules)] = sql.none_of(asked)
    return rules


def _named(asked: str, rules: Mapping[str, str]) -> str:
    """A name for a rule, from the field that it asks first: `quality.gopher__words` makes `words`."""
    found = re.search(r"\w+\.\"?(\w+)|\$\.(?:\w+\.)*(\w+)", asked)
    word = next((one for one in found.groups() if one), "") if found else ""
    name = re.sub(r"\W|^_+", "", word.rpartition("__")[2]) or "excluded"
    number = 2
    unique = name
    while unique in rules:
        unique, number = f"{name}_{number}", number + 1
    return unique


def _edit(located: Located) -> dict[str, Any]:
    config = _mapping(located, "a span_replacement", REPLACEMENT)
    if "span" not in config:
        raise ConfigError(f"{located.place}: a span_replacement needs `span`")
    edit: dict[str, Any] = {"spans": _translated(_SPANS[_syntax(config)], config["span"], "span")}
    replacement = config.get("replacement")
    text = "" if replacement is None or replacement.value is None else replacement.text or str(replacement.value)
    if "{}" in text or text.startswith("$"):
        raise ConfigError(
            f"{located.place}: the replacement '{text}' is worked out for each span in Dolma ({{}} is the text of the "
            "span, what begins with $ a question in jq); here it is a text"
        )
    edit["with"] = text
    if config.keys().isdisjoint({"min_score", "max_score"}):
        raise ConfigError(
            f"{located.place}: a span_replacement has min_score or max_score in Dolma; this one has neither"
        )
    for key in ("min_score", "max_score"):
        bound = config.get(key)
        if bound is None or bound.value is None:
            continue
        if isinstance(bound.value, bool) or not isinstance(bound.value, int | float):
            raise ConfigError(f"{bound.place}: {key} is a number; found {describe(bound)}")
        edit[key] = float(bound.value)
    return edit


def _syntax(config: Mapping[str, Located]) -> str:
    located = config.get("syntax")
    syntax = "jsonpath" if located is None else plain(located)
    if syntax not in _CONDITIONS:
        place = located.place if located else ""
        raise ConfigError(f"{place}: syntax is jsonpath or jq; found '{syntax}'")
    return str(syntax)


def _translated(translate: _Translate, located: Located, key: str) -> str:
    expression = _text(located, key, located)
    try:
        return translate(expression)
    except Untranslatable as error:
        raise ConfigError(f"{located.place}: {key}: '{expression}' cannot be said in SQL: {error}") from error


def _mapping(located: Located, what: str, known: tuple[str, ...]) -> dict[str, Located]:
    if not isinstance(located.value, dict):
        raise ConfigError(f"{located.place}: {what} is a mapping; found {describe(located)}")
    for key, value in located.value.items():
        if key not in known:
            raise ConfigError(f"{value.at}: {unknown_name(f'key of {what} in Dolma', key, known)}")
    return located.value


def _list(located: Located | None, key: str, at: Located | None, *, needed: bool = True) -> list[Located]:
    if located is None or located.value is None:
        if needed:
            raise ConfigError(f"{at.place if at else ''}: `{key}` is missing")
        return []
    if not isinstance(located.value, list):
        raise ConfigError(f"{located.place}: `{key}` is a list; found {describe(located)}")
    return located.value


def _text(located: Located | None, key: str, at: Located) -> str:
    if located is None:
        raise ConfigError(f"{at.place}: `{key}` is missing")
    if not isinstance(located.value, str):
        raise ConfigError(f"{located.place}: `{key}` is text; found {describe(located)}")
    if "${" in located.value:
        raise ConfigError(f"{located.place}: `{key}`: {located.value} is worked out by Dolma; write what it stands for")
    return located.value
