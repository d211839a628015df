"""Keyed pseudonyms: what `with: hash` puts in the place of a span.

A pseudonym is `<EMAIL_4f0c2a9e1b7d3358>`: the field's name, and the first 64 bits of HMAC-SHA256 of the span's text
under a key (RFC 2104). Equal texts have equal pseudonyms wherever they stand, in every run with the same key; without
the key nobody can compute one from a guess. Two of n different texts share one with a chance of n² / 2⁶⁵.

The key comes from the environment or a file of each machine, never from the recipe: a run holds its place, and a mark
by which another key is told (the HMAC of a fixed text), from which the key cannot be had.

Cost: 1 us a span; documents that have spans are decoded.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import Recipe, ReplaceConfig
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run.process import Process
from dolma_pipeline.storage.inputs import location, read_whole

WITH_HASH = "hash"
"""The value of `with` that asks for pseudonyms."""
ENV, FILE = "env:", "file:"
MIN_KEY_BYTES = 16
HEX_DIGITS = 16
_MARKED = b"dolma-pipeline: which key is this?"

IntArray = NDArray[np.int64]


class Key:
    """A secret key; it is not shown, and does not leave its process.

    Args:
        secret: at least 16 bytes.

    Attributes:
        mark: 16 hex digits by which the key is told from others.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.mark = self._digest(_MARKED)

    def __reduce__(self) -> str:
        raise TypeError("a key of pseudonyms is not sent anywhere")

    def _digest(self, text: bytes) -> str:
        return hmac.digest(self._secret, text, "sha256").hex()[:HEX_DIGITS]

    def pseudonym(self, field: str, text: str) -> bytes:
        """What stands in the place of a span of a field."""
        return f"<{field.upper()}_{self._digest(text.encode())}>".encode()


def blank_pseudonym(field: str) -> bytes:
    """A text as long as every pseudonym of a field: by it, lengths are known without texts."""
    return f"<{field.upper()}_{'0' * HEX_DIGITS}>".encode()


def pseudonyms(
    key: Key, field: str, texts: pa.StringArray
) -> Callable[[IntArray, IntArray, IntArray], Sequence[bytes]]:
    """What `kernels.edit.Edits.of` takes to replace each span of a field by its pseudonym.

    Args:
        texts: n texts, that the spans count in.
    """

    def made(rows: IntArray, starts: IntArray, ends: IntArray) -> list[bytes]:
        found, row, text = [], -1, ""
        for at, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if at != row:
                row, text = at, texts[at].as_py() or ""
            found.append(key.pseudonym(field, text[start:end]))
        return found

    return made


def key_of(process: Process, one: ReplaceConfig, name: str) -> Key | None:
    """The key of an edit, read once a process; None where it is no `with: hash`.

    Args:
        name: of the edit in the recipe, such as `mix.replace.0`.

    Raises:
        ConfigError: the key is not there, too short, or another one than where the run was started.
    """
    recipe = process.run.recipe
    if one.with_ != WITH_HASH:
        return None
    assert one.key is not None  # config.checks
    place, given = recipe.place(f"{name}.key"), one.key
    key = process.kept(("pseudonym key", given), lambda: _read_key(recipe, given, place))
    expected = dict(process.run.key_marks).get(given, key.mark)
    if key.mark != expected:
        raise ConfigError(
            f"{place}: {given} holds another key here than where the run was started (its mark is {key.mark}, not "
            f"{expected}). Give every machine the same key."
        )
    return key


def key_marks(process: Process) -> tuple[tuple[str, str], ...]:
    """Each place of a key in the recipe, and the mark of the key that is there; sorted."""
    found = {}
    for mix, config in process.run.recipe.mixes().items():
        places = {f"{mix}.replace": config.replace}
        places |= {f"{mix}.sources.{name}.replace": own.replace for name, own in config.sources.items()}
        for place, edits in places.items():
            for number, one in enumerate(edits):
                key = key_of(process, one, f"{place}.{number}")
                if key is not None and one.key is not None:
                    found[one.key] = key.mark
    return tuple(sorted(found.items()))


def _read_key(recipe: Recipe, given: str, place: str) -> Key:
    if given.startswith(ENV):
        name = given.removeprefix(ENV)
        secret = os.environ.get(name, "").strip().encode()
        if not secret:
            raise ConfigError(
                f"{place}: the environment variable {name} is not set here. `with: hash` needs its key on every "
                f"machine that works on the run or looks at it; one is made by `openssl rand -hex 32`."
            )
    else:
        path = given.removeprefix(FILE)
        try:
            secret = read_whole(location(expanded(path), recipe.input_settings())).strip()
        except (FileNotFoundError, IsADirectoryError):
            raise ConfigError(
                f"{place}: there is no file {path} here. `with: hash` needs its key on every machine that works on "
                f"the run or looks at it; one is made by `openssl rand -hex 32 > {path}`."
            ) from None
    if len(secret) < MIN_KEY_BYTES:
        raise ConfigError(
            f"{place}: the key is {len(secret)} bytes long, expected at least {MIN_KEY_BYTES}: a short one is "
            "guessed. One is made by `openssl rand -hex 32`."
        )
    return Key(secret)
