"""Names in a run's folder: relative, parts separated by "/", none that leaves the folder."""

from __future__ import annotations

import re

from dolma_pipeline.errors import UsageError

TEMPORARY = ".tmp"
"""First part that no name may have: where forms of a folder keep files that are not whole yet."""
_UNUSABLE = re.compile(rf"(?:\A|/)\.{{0,2}}(?:/|\Z)|\0|\A{re.escape(TEMPORARY)}(?:/|\Z)")


def checked(name: str) -> str:
    """A name that may be used.

    Raises:
        UsageError: it is empty or absolute, a part of it is empty, "." or "..", or it begins with `.tmp`.
    """
    if _UNUSABLE.search(name):
        raise UsageError(
            f"{name!r} cannot be the name of a file in a run's folder: names are relative, have no part that is "
            f"empty, '.' or '..', and do not begin with {TEMPORARY}/."
        )
    return name


def prefix_of(under: str) -> str:
    """What the names below `under` begin with: "" for all, else `under` + "/"."""
    return f"{checked(under)}/" if under else ""
