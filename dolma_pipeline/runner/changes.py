"""What differs between the settings that an artifact was made with and those of now, in the recipe's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dolma_pipeline.run.artifact import Artifact

ORDER = "mix.where: order"


def changes(artifact: Artifact, before: Mapping[str, Any] | None) -> Iterator[str]:
    """`key: old -> new` for each key of the recipe, and what else differs.

    Args:
        before: a manifest, or the settings with which work was begun.
    """
    before = before or {}
    now = artifact.settings()
    if artifact.forgets(before):
        yield "dedupe.keep: 'old' -> 'elect'"
    yield from _lines(before.get("config", {}), now["config"])
    old, new = before.get("source_config", {}), now["source_config"]
    known = before.get("source_digests", {})
    for source in sorted({*old, *new}):
        if source in known:  # else it is a new source, which changes nothing of what was made
            yield from _lines(old.get(source, {}), new.get(source, {}))
    for name in sorted({*before.get("files", {}), *now["files"]}):
        was, is_now = before.get("files", {}).get(name), now["files"].get(name)
        if was != is_now:
            yield _file(name, was, is_now, artifact.name)


def _lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        was, is_now = old.get(key), new.get(key)
        if was == is_now or (key == ORDER and sorted(was or ()) != sorted(is_now or ())):
            continue  # where the rules are others, their own lines say it
        if key.startswith("modules: "):
            yield _file(key, was, is_now, "")
        elif key.endswith(".attributes"):
            yield f"{key}: other files"
        else:
            yield f"{key}: {_shown(was)} -> {_shown(is_now)}"


def _file(name: str, was: Any, is_now: Any, artifact: str) -> str:
    if name == "signatures":
        return (
            f"{artifact}: its signatures were made by another version of this program ({was or 'format 1'} -> {is_now})"
        )
    if name == "tokenizer.load" and (was is None or is_now is None):
        return f"{name}: {'is new' if was is None else 'is gone'}"
    return f"{name}: {'other content' if was and is_now else 'is new' if is_now else 'is gone'}"


def _shown(value: Any) -> str:
    if value is None:
        return "(nothing)"
    return str(value).lower() if isinstance(value, bool) else repr(value)
