"""Templates of prompts: a text in which `{key}` stands for what an item has under that key.

`{key|words}` writes its underscores as blanks (`abstract_algebra`: "abstract algebra"); `{{` and `}}` are braces. There
is nothing else: what needs more is written into the items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dolma_pipeline.errors import DataError, UsageError

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<key>[A-Za-z_]\w*)(?P<words>\|words)?\}|[{}]")


class Template:
    """A template that was checked.

    Attributes:
        keys: the names in it.
    """

    def __init__(self, text: str, *, key: str) -> None:
        """Take a template apart.

        Args:
            key: of the task file that it stands under; errors begin with it.

        Raises:
            UsageError: a brace that belongs to nothing.
        """
        self._text = text
        for piece in _PIECE.finditer(text):
            if piece[0] in "{}":
                raise UsageError(
                    f"{key}: {text!r} has a '{piece[0]}' that belongs to nothing, at character {piece.start()}. A key "
                    "of the items is written {question} or {subject|words}; a brace itself is written twice."
                )
        self.keys = tuple(dict.fromkeys(piece["key"] for piece in _PIECE.finditer(text) if piece["key"]))

    def fill(self, values: Mapping[str, Any], *, place: str) -> str:
        """The text for an item.

        Args:
            values: of the item. place: of the item, for errors.

        Raises:
            DataError: the item lacks a key, or has something other than a text or a number there.
        """

        def filled(piece: re.Match[str]) -> str:
            if not piece["key"]:
                return piece[0][0]
            value = values.get(piece["key"])
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                shown = f"it is {value!r}"[:80] if piece["key"] in values else f"the item has: {', '.join(values)}"
                raise DataError(f'{place}: the prompt asks for "{piece["key"]}", a text; {shown}.')
            return str(value).replace("_", " ") if piece["words"] else str(value)

        return _PIECE.sub(filled, self._text)
