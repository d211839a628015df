"""Dialogues as rows of JSON lines, and as token ids with a mark on what the model is to learn. Does not load torch.

A row has `messages`, a list of {"role", "content"} with the roles system, user and assistant, or `prompt` and
`response`, which is one of each. A row of preferences has `chosen` and `rejected`: two dialogues that differ in their
last answer, or two answers to `prompt` (a text, or messages).
A template puts each message into text. What it writes itself is text too, but for special tokens of the tokenizer's,
which become theirs; in a message they stay text, so nobody ends a turn by writing how turns end. A role's marker that
is no special token can be written by a user: give the tokenizer such tokens where that matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import TemplateConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.streams import Overlong, Source, decompressed, line_blocks
from dolma_pipeline.storage.inputs import open_stream
from dolma_pipeline.tokens.encode import Encoder

ROLES = ("system", "user", "assistant")
CONTENT = "{content}"


class Message(NamedTuple):
    """role: one of `ROLES`. content: its text."""

    role: str
    content: str


class Pair(NamedTuple):
    """Two dialogues that are equal but for the answer at their end."""

    chosen: list[Message]
    rejected: list[Message]


class Encoded(NamedTuple):
    """ids: uint32 [N]. scored: bool [N], true for tokens of answers and the EOS behind each."""

    ids: NDArray[np.uint32]
    scored: NDArray[np.bool_]


def rows_of(files: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of JSON-lines files, plain, gzip or zstd, with its place, `file:line`; empty lines are none.

    Raises:
        DataError: a line that is not an object, or a damaged file.
    """
    for name in files:
        with open_stream(name) as file:
            lines = (line for block in line_blocks(decompressed(Source(file))) for line in _split(block, name))
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{name}:{number}", _row(line, f"{name}:{number}")


def dialogue_of(row: dict[str, Any], *, place: str) -> list[Message]:
    """The messages of a row.

    Raises:
        DataError: neither `messages` nor `prompt` and `response`, or what is no message; it names the place.
    """
    if "messages" in row:
        return _messages(row["messages"], "messages", place)
    if "prompt" in row and "response" in row:
        return [Message("user", _text(row, "prompt", place)), Message("assistant", _text(row, "response", place))]
    raise DataError(f"{place}: has {_keys(row)}; expected messages, or prompt and response.")


def pair_of(row: dict[str, Any], *, place: str) -> Pair:
    """The two dialogues of a row of preferences.

    Raises:
        DataError: not such a row, or dialogues that differ before their last answer; it names the place.
    """
    if "chosen" not in row or "rejected" not in row:
        raise DataError(f"{place}: has {_keys(row)}; expected chosen and rejected, and prompt if these are answers.")
    chosen, rejected = (_whole(row, key, place) for key in ("chosen", "rejected"))
    for key, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1].role != "assistant":
            raise DataError(f"{place}: {key} ends with a message of {messages[-1].role}, expected one of assistant.")
    if chosen[:-1] != rejected[:-1]:
        raise DataError(f"{place}: chosen and rejected differ before their last answer; they must share the prompt.")
    return Pair(chosen, rejected)


@dataclass(frozen=True)
class Template:
    """How messages become ids: the text around each role's and its own, EOS before all and after answers.

    config: the text around. encoder: of the tokenizer. eos_id: ends answers; a dialogue follows one, as documents do.
    """

    config: TemplateConfig
    encoder: Encoder
    eos_id: int

    def encode(self, dialogues: Sequence[Sequence[Message]], *, last_only: bool = False) -> list[Encoded]:
        """The ids of dialogues.

        Args:
            last_only: only the last answer of a dialogue is scored; else every one.
        """
        pieces: list[list[tuple[str | int, bool]]] = []
        for messages in dialogues:
            found: list[tuple[str | int, bool]] = [(self.eos_id, False)]
            for number, message in enumerate(messages):
                is_answer = message.role == "assistant"
                scored = is_answer and (not last_only or number == len(messages) - 1)
                before, after = self._around[message.role]
                found += [(piece, False) for piece in before]
                found.append((message.content, scored))
                found += [(self.eos_id, scored)] * is_answer
                found += [(piece, False) for piece in after]
            pieces.append(found)
        texts = {piece: None for found in pieces for piece, _ in found if isinstance(piece, str)}
        encoded = self.encoder.encode(pa.array([*texts], pa.string()))
        known = {text: encoded[number].values.to_numpy() for number, text in enumerate(texts)}
        return [self._joined(found, known) for found in pieces]

    @property
    def _around(self) -> dict[str, tuple[list[str | int], list[str | int]]]:
        found = {}
        for role in ROLES:
            before, _, after = getattr(self.config, role).partition(CONTENT)
            found[role] = (self._parts(before), self._parts(after))
        return found

    def _parts(self, text: str) -> list[str | int]:
        """A template's own text: special tokens as their ids, what is between them as text."""
        special = self.encoder.info.special_ids
        if not special:
            return [text] if text else []
        pattern = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))
        return [special.get(part, part) for part in re.split(f"({pattern})", text) if part]

    @staticmethod
    def _joined(found: Sequence[tuple[str | int, bool]], known: dict[str, Any]) -> Encoded:
        ids = [known[piece] if isinstance(piece, str) else np.array([piece], np.uint32) for piece, _ in found]
        lengths = [len(one) for one in ids]
        scored = np.repeat(np.array([one for _, one in found], np.bool_), lengths)
        return Encoded(np.concatenate(ids).astype(np.uint32), scored)


def _split(block: bytes | Overlong, name: str) -> list[bytes]:
    if isinstance(block, Overlong):
        raise DataError(f"{name}: a line of {block.num_bytes:,} bytes; no dialogue is so long.")
    return block.removesuffix(b"\n").split(b"\n")


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: found {type(row).__name__}, expected an object.")
    return row


def _whole(row: dict[str, Any], key: str, place: str) -> list[Message]:
    """The dialogue that `chosen` or `rejected` stands for: itself, or `prompt` and it."""
    value = row[key]
    answer = [Message("assistant", value)] if isinstance(value, str) else _messages(value, key, place)
    if len(answer) > 1:  # the prompt is in it
        return answer
    if "prompt" not in row:
        raise DataError(f"{place}: {key} is an answer, but there is no prompt.")
    prompt = row["prompt"]
    before = [Message("user", prompt)] if isinstance(prompt, str) else _messages(prompt, "prompt", place)
    return [*before, *answer]


def _messages(value: Any, key: str, place: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise DataError(f'{place}: {key} is not a list of {{"role", "content"}}.')
    found = []
    for number, one in enumerate(value):
        role, content = (one.get("role"), one.get("content")) if isinstance(one, dict) else (None, None)
        if role not in ROLES or not isinstance(content, str):
            shown = json.dumps(one, ensure_ascii=False)[:60]
            raise DataError(
                f"{place}: {key}[{number}] is {shown}; expected a role of {', '.join(ROLES)} and content, a text."
            )
        found.append(Message(role, content))
    return found


def _text(row: dict[str, Any], key: str, place: str) -> str:
    if not isinstance(row[key], str):
        raise DataError(f"{place}: {key} is not a text.")
    return str(row[key])


def _keys(row: dict[str, Any]) -> str:
    return f"the keys {', '.join(row)}" if row else "no keys"
