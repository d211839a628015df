"""`fit --positive FILES --negative FILES --out MODEL`: trains a classifier of text, and says what it is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from dolma_pipeline.config.recipe import Recipe
    from dolma_pipeline.fit.fit import SampleSettings
    from dolma_pipeline.fit.sets import DocumentSet


TRAINING = ("--dim", "--epoch", "--lr", "--word-ngrams", "--buckets", "--min-count", "--max-chars")
"""Options of a classifier alone."""
OF_NGRAMS = ("--order", "--max-ngrams")
"""Options of a model of n-grams alone."""
FEWEST_NGRAMS = 66_000
"""All n-grams of one and two bytes are in a model: 65,792."""
NGRAM_BYTES = 64_000_000
"""Text that a model of n-grams is made of, unless --max-bytes says."""
MOST = 2**31 - 1
"""fastText's settings are numbers of 32 bits."""
NEGATIVE = ("--negative", "--negative-source")


def main(arguments: Arguments) -> Reply:
    """Train a model.

    Raises:
        UsageError: sets or settings with which nothing can be trained; nothing was written.
        DataError: documents that cannot be read.
    """
    from dolma_pipeline.fit import card

    (out, *_) = arguments.values.get("--out", ("",))
    if not out:
        raise UsageError("'fit' needs the name of the model to write: --out quality.bin")
    (kind, *_) = arguments.values.get("--kind", ("fasttext",))
    for option in OF_NGRAMS if kind == "fasttext" else (*TRAINING, *NEGATIVE):
        if option in arguments.values:
            other = "ngram" if kind == "fasttext" else "fasttext"
            raise UsageError(f"{option} is for --kind {other}, and this is --kind {kind}: it would change nothing.")
    place = card.place_for(out, replace="--replace" in arguments.flags)
    record, text = (_classifier if kind == "fasttext" else _ngrams)(arguments, out, place)
    return Reply(json.dumps(record, indent=2, ensure_ascii=False) + "\n" if arguments.format == "json" else text)


def _classifier(arguments: Arguments, out: str, place: Path) -> tuple[dict[str, Any], str]:
    """Train a classifier: its card, and what is said of it."""
    from dolma_pipeline.fit import card
    from dolma_pipeline.fit.classifier import ClassifierSettings
    from dolma_pipeline.fit.fit import fit_classifier
    from dolma_pipeline.fit.fit_text import fit_text, notes_on
    from dolma_pipeline.storage.scratch import Scratch

    training = ClassifierSettings(
        dim=_given(arguments, "--dim", _count, ClassifierSettings.dim),
        epoch=_given(arguments, "--epoch", _count, ClassifierSettings.epoch),
        lr=_given(arguments, "--lr", _rate, ClassifierSettings.lr),
        word_ngrams=_given(arguments, "--word-ngrams", _count, ClassifierSettings.word_ngrams),
        buckets=_given(arguments, "--buckets", _count, ClassifierSettings.buckets),
        min_count=_given(arguments, "--min-count", _count, ClassifierSettings.min_count),
        max_chars=_given(arguments, "--max-chars", _whole, ClassifierSettings.max_chars),
    )
    settings = _sample_settings(arguments, max_bytes=None)
    with _sets(arguments, "positive", "negative") as (positive, negative), closing(Scratch()) as scratch:
        fitted = fit_classifier(positive, negative, scratch, settings=settings, training=training)
        notes = notes_on(fitted.measured, fitted.taken, fitted.parts)
        told = fitted.record() | {"notes": notes}
        record = card.write(place, fitted.model, told, libraries=("fasttext-community", "numpy"))
    return record, fit_text(out, record["num_bytes"], fitted.taken, fitted.parts, fitted.measured, notes)


def _ngrams(arguments: Arguments, out: str, place: Path) -> tuple[dict[str, Any], str]:
    """Make a model of byte n-grams: its card, and what is said of it."""
    from dolma_pipeline.fit import card
    from dolma_pipeline.fit.fit_ngrams import NgramSettings, fit_ngrams
    from dolma_pipeline.fit.fit_text import ngrams_text
    from dolma_pipeline.storage.scratch import Scratch

    training = NgramSettings(
        order=_given(arguments, "--order", _order, NgramSettings.order),
        max_ngrams=_given(arguments, "--max-ngrams", _num_ngrams, NgramSettings.max_ngrams),
    )
    settings = _sample_settings(arguments, max_bytes=NGRAM_BYTES)
    with _sets(arguments, "positive") as (positive,), closing(Scratch()) as scratch:
        fitted = fit_ngrams(positive, scratch, settings=settings, training=training)
        record = card.write(place, fitted.model, fitted.record(), libraries=("numpy",))
    return record, ngrams_text(out, record["num_bytes"], fitted)


def _sample_settings(arguments: Arguments, *, max_bytes: int | None) -> SampleSettings:
    from dolma_pipeline.fit.fit import SampleSettings

    return SampleSettings(
        max_documents=_given(arguments, "--max-documents", _count, SampleSettings.max_documents),
        max_bytes=_given(arguments, "--max-bytes", _size, max_bytes),
        held_out=_given(arguments, "--held-out", _share, SampleSettings.held_out),
        seed=_given(arguments, "--seed", _whole, SampleSettings.seed),
    )


@contextmanager
def _sets(arguments: Arguments, *labels: str) -> Iterator[list[list[DocumentSet]]]:
    """The sets of each label; the recipe's run is let go of afterwards."""
    from dolma_pipeline.fit.sets import FileSet

    recipe = _recipe(arguments)
    try:
        found = []
        for label in labels:
            settings, normalize = (recipe.input_settings(), recipe.normalize) if recipe else ({}, ())
            own: list[DocumentSet] = [
                FileSet(pattern, settings, normalize) for pattern in arguments.values.get(f"--{label}", ())
            ]
            if recipe is not None:
                own += _run_sets(recipe, f"--{label}-source", arguments.values.get(f"--{label}-source", ()))
            if not own:
                both = " of both sets" if len(labels) > 1 else ""
                raise UsageError(
                    f"'fit' needs documents{both}, and there is no {label} one: give --{label} FILES, or of a recipe "
                    f"--{label}-source."
                )
            found.append(own)
        yield found
    finally:
        if recipe is not None:
            from dolma_pipeline.run.process import Process

            Process.leave()  # the next look may find other files behind the same names


def _recipe(arguments: Arguments) -> Recipe | None:
    """The recipe whose run sets are of; None where all are files.

    Raises:
        UsageError: sources without a recipe, or a recipe without sources.
    """
    asked = [name for name in ("--positive-source", "--negative-source") if name in arguments.values]
    if not arguments.words:
        if asked:
            raise UsageError(f"{asked[0]} names a source of a recipe, and none is given: dolma-pipeline fit RECIPE …")
        if arguments.overrides:
            raise UsageError(f"found '{arguments.overrides[0]}', a setting of a recipe, and no recipe.")
        return None
    if len(arguments.words) > 1 or not asked:
        raise UsageError(
            f"'fit' takes its documents by --positive and --negative, or of the run of one RECIPE by --positive-source "
            f"and --negative-source; found '{arguments.words[-1]}'."
        )
    from dolma_pipeline.runner.modules import open_recipe

    return open_recipe(arguments.words[0], *arguments.overrides)


def _run_sets(recipe: Recipe, option: str, given: Sequence[str]) -> list[DocumentSet]:
    """The sets that `SOURCE` and `SOURCE: SQL` name; `*` stands for all sources."""
    from dolma_pipeline.fit.run_set import RunSet
    from dolma_pipeline.look.folder import begun

    if not given:
        return []
    found = begun(recipe)
    sets: list[DocumentSet] = []
    for one in given:
        source, colon, where = (part.strip() for part in one.partition(":"))
        if colon and not where:
            raise UsageError(f"{option} '{one}': nothing follows the colon. Give 'SOURCE: SQL', or SOURCE alone.")
        for name in recipe.sources if source == "*" else (source,):
            sets.append(RunSet(found, name, where, option=f"{option} '{one}'"))
    return sets


def _given(arguments: Arguments, name: str, read: Callable[[str], Any], default: Any) -> Any:
    """The value of an option.

    Raises:
        UsageError: it is not what the option takes.
    """
    if name not in arguments.values:
        return default
    given = arguments.values[name][-1]
    try:
        return read(given)
    except ValueError as error:
        raise UsageError(f"{name} takes {error}, found '{given}'") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > MOST:
        raise ValueError(f"a whole number from 0 to {MOST:,}")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST:
        raise ValueError(f"a whole number from 1 to {MOST:,}")
    return int(text)


def _size(text: str) -> int:
    from dolma_pipeline.config.sizes import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise ValueError(f"a size such as 500M ({error})") from None


def _order(text: str) -> int:
    if text not in ("2", "3", "4", "5", "6", "7"):
        raise ValueError("a number of bytes from 2 to 7")
    return int(text)


def _num_ngrams(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < FEWEST_NGRAMS:
        raise ValueError(f"a whole number from {FEWEST_NGRAMS:,} on")
    return int(text)


def _share(text: str) -> float:
    value = _float(text)
    if not 0 < value < 1:
        raise ValueError("a share between 0 and 1")
    return value


def _rate(text: str) -> float:
    value = _float(text)
    if not 0 < value < float("inf"):
        raise ValueError("a number above 0")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
