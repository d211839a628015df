"""`check_tagger`: the contract of taggers as a test. Ours run it, and yours should: `check_tagger("shouting_v1")`.

It runs the tagger over about seventy awkward documents, whole, in slices, in reverse and one by one, and compares.
Needs no test framework; costs well under a second for a tagger without a model.
"""

from __future__ import annotations

import re

import orjson
import pyarrow as pa

from dolma_pipeline.documents import Batch, Document
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.tagging import LoadedTagger
from dolma_pipeline.tagging.columns import short

SCRIPTS = (
    "The quick brown fox jumps over the lazy dog.", "Zwölf Boxkämpfer jagen Eva quer über den Sylter Deich.",
    "Съешь ещё этих мягких французских булок.", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.", "视野无限广，窗外有蓝天。",
    "いろはにほへと ちりぬるを", "키스의 고유조건은 입술끼리 만나야 하고", "نص حكيم له سر قاطع", "דג סקרן שט בים",
    "ऋषियों को सताने वाले", "เป็นมนุษย์สุดประเสริฐ", "ዐፄ የኢትዮጵያ", "Պայծառ", "ხელოვნება", "ᚠᛇᚻ᛫ᛒᛦᚦ", "𐌰𐌱𐌲", "𝕳𝖊𝖑𝖑𝖔 𝔴𝔬𝔯𝔩𝔡",
)  # fmt: skip
"""A line in each of many scripts, two of them outside the Basic Multilingual Plane."""

BLANKS = (
    "", " ", "\n", "\r\n", "\t", "\n\n\n", " \n \n ", "\u00a0\u2003\u3000", "\u200b\ufeff",
    "\u2028\u2029\u0085\x0b\x0c", "\n" * 5_000,
)  # fmt: skip
"""Texts without a word."""

CHARACTERS = (
    "a", "A", "1", ".", "…", "-", "é", "e\u0301", "a\u0301\u0302\u0303" * 40, "\u0301", "\ufb01 \ufb03",
    "\u1e9e\u00df \u0130\u0131 \u01c4", "\U0001f600", "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\U0001f937\U0001f3ff\u200d\u2640\ufe0f" * 50, "a\x00b\x00\x00", "\x00", "\x01\x02\x7f\x80\x9f",
    "\U0010ffff\ufffd\ufffe", "\ue000",
)  # fmt: skip
"""Odd characters: combining marks, ligatures, letters whose case changes their number, joined emoji, NUL."""

TEXTS = (
    *BLANKS, *SCRIPTS, " ".join(SCRIPTS), "\n".join(SCRIPTS), "\n\n".join(SCRIPTS), *CHARACTERS,
    "x" * 100_000, "word " * 20_000, ("na " * 7 + "\n") * 300, "- bullet\n* bullet\n• bullet…\nand so on...",
    "line\r\nwith\rreturns\n\rmixed", "no newline at end\nlast", "\nfirst is empty", "ends with newline\n",
    "mail me at someone@example.com or call +1 212 555 0100 from 192.0.2.7",
    "https://www.example.com/a?b=c#d e.g. {lorem ipsum}", "def f(x):\n    return {x: [1, 2.5e-3, '\\n']}\n",
    "<html><body>&amp;</body></html>", "0" * 400, "9" * 400 + "." + "9" * 400, "1e400 nan inf -inf NULL None",
    "CAPITALS ONLY HERE", "“quotes” ‘and’ — dashes – and … dots", SCRIPTS[0],
)  # fmt: skip
"""Texts that taggers stumble over, the last of them for the second time."""


def check_tagger(name: str, /, **parameters: object) -> None:
    """Put a tagger to the test; returns if it keeps all its promises.

    Args:
        name: of a built-in tagger, or of one that is declared in this process.
        **parameters: of the tagger.

    Raises:
        TaggerError: the first promise that it breaks, with the text on which it does.
        UnknownNameError: no such tagger or parameter.
    """
    first = load_tagger(name, **parameters)
    if not re.search(r"_v[0-9]+$", name):
        raise TaggerError(
            f"tagger '{name}': a name ends in a version, e.g. '{name}_v1': what it says may change one day"
        )
    try:
        orjson.dumps(dict(first.parameters))
    except TypeError as error:
        raise TaggerError(
            f"tagger '{name}': a recipe cannot say its parameters {dict(first.parameters)}: {error}"
        ) from error
    first.setup()
    documents = awkward_documents()
    batch = Batch.of(documents)
    whole = _column(first, batch, "")
    check_same(first, whole, _column(first, batch, ""), documents, "gave another answer the second time")
    fresh = load_tagger(name, **parameters)
    check_same(first, whole, _column(fresh, batch, ""), documents, "gave another answer when loaded again")
    empty = _column(first, Batch(batch.table.slice(0, 0)), "an empty batch: ")
    if empty.type != first.type or len(empty) != 0:
        raise TaggerError(
            f"tagger '{name}': an empty batch gave {len(empty)} rows of {empty.type}, not 0 of {first.type}"
        )
    order = list(range(len(documents)))[::-1]
    back = _column(first, Batch(batch.table.take(pa.array(order))), "in reverse: ")
    check_same(first, whole, back.take(pa.array(order)), documents, "depends on the order of documents")
    for start, count in ((1, 5), (len(documents) // 2, len(documents))):
        part = _column(first, Batch(batch.table.slice(start, count)), f"a slice from row {start}: ")
        check_same(
            first, whole.slice(start, count), part, documents[start:], "gave another answer in a slice of the batch"
        )
    for row, document in enumerate(documents):
        alone = _column(first, Batch.of([document]), "a batch of one: ")
        check_same(first, whole.slice(row, 1), alone, documents[row:], "gave another answer in a batch of one")


def awkward_documents() -> list[Document]:
    """Documents with `TEXTS`, with and without metadata and ids."""
    metadata: tuple[dict[str, object], ...] = (
        {},
        {"url": "https://www.example.com/a?b=c"},
        {"stars": 3, "nested": {"key": [1, None]}},
    )
    return [
        Document(text, id=f"id-{row}" if row % 4 else "", source="check", metadata=metadata[row % 3])
        for row, text in enumerate(TEXTS)
    ]


def _column(tagger: LoadedTagger, batch: Batch, when: str) -> pa.StructArray:
    try:
        column, failures = tagger.attributes(batch)
    except TaggerError as error:
        raise _with_text(tagger, batch, error) from error
    if failures:
        row, reason = failures[0]
        raise TaggerError(
            f"tagger '{tagger.spec.name}': {when}raised {reason} on the text {_shown(batch.strings[row])}"
        )
    return column


def _with_text(tagger: LoadedTagger, batch: Batch, error: TaggerError) -> TaggerError:
    """A broken contract, with the first text on which the tagger breaks it; as it is where no text alone does."""
    for row, text in enumerate(batch.strings):
        try:
            tagger.attributes(Batch(batch.table.slice(row, 1)))
        except TaggerError as alone:
            return TaggerError(f"{alone}, on the text {_shown(text)}")
    return error


def check_same(tagger: LoadedTagger, one: pa.Array, other: pa.Array, documents: list[Document], what: str) -> None:
    """Two columns of a tagger for the same documents must be equal.

    Args:
        one, other: what `LoadedTagger.attributes` gave. what: for the message, as "gave another answer in a slice".

    Raises:
        TaggerError: they are not; names the first field and text where they differ.
    """
    if one.equals(other):
        return
    for row, (before, after) in enumerate(zip(one.to_pylist(), other.to_pylist(), strict=True)):
        for field in before:
            if before[field] != after[field]:
                raise TaggerError(
                    f"tagger '{tagger.spec.name}': {what}: field '{field}' was {short(before[field])}, then "
                    f"{short(after[field])}, on the text {_shown(documents[row].text)}"
                )
    raise TaggerError(f"tagger '{tagger.spec.name}': {what}")


def _shown(text: str) -> str:
    return ascii(text) if len(text) <= 60 else f"{text[:60]!a} and {len(text) - 60:,} more characters"
