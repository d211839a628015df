"""How well pii_v1 finds what is known to stand in texts: precision and recall by entity, and false alarms.

Run: `python tests/taggers/pii_scores.py FOLDER`, where FOLDER holds the files of `pii/` of the development data.
A true span is found if the tagger gives exactly its start and end (recall). A span of the tagger is right if it
overlaps a true one of its entity (precision): `touching` counts so, `exact` wants both ends.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dolma_pipeline.documents import Batch
from taggers.pii import ENTITIES, Pii

TYPES = {
    "email": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "ip": "IP_ADDRESS",
    "credit_card": "CREDIT_CARD",
    "iban": "IBAN_CODE",
    "us_ssn": "US_SSN",
    "crypto_wallet": "CRYPTO",
}
"""Field, and what the data call the entity."""

Rows = Sequence[dict[str, Any]]
Places = list[tuple[int, int]]


class Score(NamedTuple):
    """Spans there are, spans given, given exactly, given and touching a true one, true ones touched."""

    true: int
    given: int
    exact: int
    right: int
    touched: int

    @property
    def precision(self) -> float:
        """Share of given spans that touch a true one; 1.0 of none."""
        return self.right / self.given if self.given else 1.0

    @property
    def recall(self) -> float:
        """Share of true spans that are given exactly; 1.0 of none."""
        return self.exact / self.true if self.true else 1.0


def read(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, which may be gzipped."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def found(tagger: Pii, rows: Rows) -> dict[str, list[Places]]:
    """Field -> a list of spans a row."""
    columns = tagger.tag(Batch.of([row["text"] for row in rows]))
    return {
        field: [[(span["start"], span["end"]) for span in spans] for spans in column.to_pylist()]
        for field, column in columns.items()
    }


def score(places: Sequence[Places], rows: Rows, type_: str) -> Score:
    """How well the spans of one field hit the true ones of its type."""
    total = Score(0, 0, 0, 0, 0)
    for given, row in zip(places, rows, strict=True):
        true = [(span["start"], span["end"]) for span in row["spans"] if span["type"] == type_]
        right = sum(any(a < end and start < b for a, b in true) for start, end in given)
        touched = sum(any(a < end and start < b for a, b in given) for start, end in true)
        one = Score(len(true), len(given), len(set(true) & set(given)), right, touched)
        total = Score(*(a + b for a, b in zip(total, one, strict=True)))
    return total


def scores(tagger: Pii, rows: Rows) -> dict[str, Score]:
    """Field -> score, of the fields that the data have a name for."""
    places = found(tagger, rows)
    return {field: score(places[field], rows, type_) for field, type_ in TYPES.items() if field in places}


def false_alarms(tagger: Pii, rows: Rows) -> dict[str, list[str]]:
    """Kind of hard negative -> the texts in which anything is found."""
    places = found(tagger, rows)
    kinds: dict[str, list[str]] = {}
    for number, row in enumerate(rows):
        hits = [row["text"][a:b] for one in places.values() for a, b in one[number]]
        kinds.setdefault(row["kind"], []).extend([f"{row['text']}  <- {', '.join(hits)}"] if hits else [])
    return kinds


def everything() -> Pii:
    """The tagger with all entities, as it is scored."""
    tagger = Pii(entities=ENTITIES)
    tagger.setup()
    return tagger


def main(folder: Path) -> None:
    """Prints all scores."""
    tagger = everything()
    print(f"{'data':<24}{'entity':<16}{'spans':>6}{'found':>7}{'precision':>11}{'recall':>8}{'touched':>9}")
    for name in ("injected.jsonl.gz", "natural_context.jsonl", "presidio_cases.jsonl", "presidio_research_synth.jsonl"):
        rows = read(folder / name)
        for field, one in scores(tagger, rows).items():
            if name.startswith("presidio_cases"):  # a case has the spans of one entity alone
                mine = [row for row in rows if row["entity"] == TYPES[field]]
                one = score(found(tagger, mine)[field], mine, TYPES[field])
            if one.true:
                touched = one.touched / one.true
                print(
                    f"{name.split('.')[0]:<24}{field:<16}{one.true:>6}{one.given:>7}{one.precision:>11.4f}"
                    f"{one.recall:>8.4f}{touched:>9.4f}"
                )
    rows = read(folder / "hard_negatives.jsonl")
    for difficulty in ("format", "context"):
        mine = [row for row in rows if row["difficulty"] == difficulty]
        alarms = false_alarms(tagger, mine)
        fired = sum(map(len, alarms.values()))
        print(f"hard negatives, {difficulty}: {fired} of {len(mine)} ({fired / len(mine):.2%})")
        for kind, texts in sorted(alarms.items()):
            for text in texts:
                print(f"    {kind}: {text[:150]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
