"""What the artifacts, stages and readings of a mix are called, of which a recipe may have several.

A mix is known by its name: its section of the recipe, its stage, its folder. The built-in one is just the mix that is
called `mix`. What does not lie in a mix's folder, or is not called like its stage, has the mix's name at its end.
"""

from __future__ import annotations

MIX = "mix"
"""The mix that the election of duplicates and the tokenizer follow, and that is trained on, scored and looked at."""

JUDGED = "judged"
"""The early rules of the mix `mix`."""

VERDICTS = "mix/verdicts"
"""The verdicts of the mix `mix`."""

HIDDEN = ("judge", "judged", "asked", "verdicts")
"""With what the names begin that other mixes give to stages and caches that have no section."""


def verdicts_of(mix: str) -> str:
    """The artifact of all verdicts of a mix."""
    return f"{mix}/verdicts"


def judged_of(mix: str) -> str:
    """The artifact of a mix's early rules."""
    return _named(JUDGED, mix)


def asked_of(when: str, mix: str = MIX) -> str:
    """The artifact of a mix's rules that read the text; when: they are asked, `early` or `late`."""
    return _named(f"asked_{when}", mix)


def hidden_stage(name: str, mix: str) -> str:
    """A stage of a mix that has no section: `judge` or `verdicts`."""
    return _named(name, mix)


def mix_of_cache(kind: str) -> str | None:
    """The mix whose rules a kind of cache (`judged_of`, `asked_of`) holds; None of all other caches."""
    for begin in (JUDGED, asked_of("early"), asked_of("late")):
        if kind == begin:
            return MIX
        if kind.startswith(f"{begin}_"):
            return kind.removeprefix(f"{begin}_")
    return None


def reading_of(reading: str, mix: str) -> str:
    """What a reading of a mix is called, and the mark that it leaves: `encode`, of others `<mix>/encode`, so that its
    time stands in the row of its own mix."""
    return reading if mix == MIX else f"{mix}/{reading}"


def _named(name: str, mix: str) -> str:
    return name if mix == MIX else f"{name}_{mix}"
