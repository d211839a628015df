"""A small example for Dolma's mixer, and what the mixer makes of it: run this where `dolma` 1.2.1 is installed.

    python tests/golden/dolma_mixer.py        writes dolma_mixer.json beside this file: stream -> id -> text

Dolma looks for a model of nltk when it is imported: an empty folder `tokenizers/punkt` in $NLTK_DATA is enough.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def row(id_: str, text: str, metadata: dict[str, Any], quality: dict[str, Any], dups: dict[str, Any]) -> dict[str, Any]:
    """A document with its attributes: a number is a span over the whole text."""
    spans = {key: [[0, len(text), value]] if not isinstance(value, list) else value for key, value in quality.items()}
    return {"id": id_, "text": text, "metadata": metadata, "quality": spans, "dups": dups}


WEB = [
    row("plain", "A plain page of some words.", {"length": 30}, {"ft__en": 0.9, "gopher__words": 6}, {}),
    row("german", "Eine Seite auf Deutsch, ganz.", {"length": 30}, {"ft__en": 0.2, "gopher__words": 5}, {}),
    row("edge", "Just at the bound of it.", {"length": 10}, {"ft__en": 0.5, "gopher__words": 3}, {}),
    row("trusted", "Vertraut, aber deutsch.", {"length": 30, "trust": "yes"}, {"ft__en": 0.1, "gopher__words": 3}, {}),
    row("few", "Two words", {"length": 30}, {"ft__en": 0.9, "gopher__words": 2}, {}),
    row("short", "Metadata says it is short.", {"length": 9}, {"ft__en": 0.9, "gopher__words": 5}, {}),
    row("unknown", "Nobody has looked at this one.", {}, {}, {}),
    row("new", "Nobody counted, but it is English.", {}, {"ft__en": 0.97}, {}),
    row(
        "mails", "Größe: ann@b.org, then bob@c.org!", {"length": 30},
        {"ft__en": 0.8, "gopher__words": 4, "pii__EMAIL_ADDRESS": [[7, 16, 1.0], [23, 32, 0.4]], "pii__doc_count": 2},
        {},
    ),
    row(
        "more_mails", "a@b.cc b@b.cc c@b.cc or none", {"length": 30},
        {"ft__en": 0.8, "pii__EMAIL_ADDRESS": [[0, 6, 1], [7, 13, 1], [14, 20, 1]], "pii__doc_count": 3},
        {},
    ),
    row("copy", "Seen before, word by word.", {"length": 30}, {"ft__en": 0.9}, {"copies": [[0, 26, 1]]}),
    row(
        "parts", "First part.\nSecond part.\nThird part.\n", {"length": 30}, {"ft__en": 0.9, "gopher__words": 6},
        {"parts": [[0, 12, 0.3], [12, 25, 0.8], [25, 37, 0.79]]},
    ),
]  # fmt: skip
FORUM = [
    row("good", "A good answer.", {"votes": 3, "site": "x.org"}, {"ft__en": 0.9, "pii__EMAIL_ADDRESS": []}, {}),
    row("bad", "A bad answer.", {"votes": -1, "site": "x.org"}, {"ft__en": 0.9, "pii__EMAIL_ADDRESS": []}, {}),
    row("other", "Eine Antwort.", {"votes": 5, "site": "y.org"}, {"ft__en": 0.3, "pii__EMAIL_ADDRESS": []}, {}),
    row(
        "mails", "Ask ann@b.org now.", {"votes": 2, "site": "x.org"},
        {"ft__en": 0.7, "pii__EMAIL_ADDRESS": [[4, 13, 1]]}, {},
    ),
]  # fmt: skip
CONFIG = """\
streams:
  - name: web
    documents: [ROOT/documents/web/*.jsonl.gz]
    attributes: [quality, dups]
    output: {path: ROOT/out/web, max_size_in_bytes: 1000000, discard_fields: [attributes], min_text_length: 10}
    filter:
      include:
        - "$.attributes[?(@.quality__ft__en && @.quality__ft__en[0] && @.quality__ft__en[0][2] >= 0.5)]"
        - "$.metadata[?(@.trust == 'yes')]"
      exclude:
        - "$.attributes[?(@.quality__gopher__words && @.quality__gopher__words[0][2] < 3)]"
        - "$@.attributes[?(@.quality__pii__doc_count[0][2] > 2)]"
        - "$.metadata[?(@.length < 10)]"
        - "$.attributes[?(@.copies && @.copies[0] && @.copies[0][2] >= 1)]"
    span_replacement:
      - {span: "$.attributes.quality__pii__EMAIL_ADDRESS", min_score: 0.5, replacement: "|||EMAIL_ADDRESS|||"}
      - {span: "$.attributes.parts", min_score: 0.3, max_score: 0.8, replacement: ""}
  - name: forum
    documents: [ROOT/documents/forum/a.jsonl.gz]
    attributes: [quality]
    output: {path: ROOT/out/forum, discard_fields: [attributes, metadata]}
    filter:
      syntax: jq
      include: [".attributes.quality__ft__en[0][2] >= 0.5 and .metadata.site == \\"x.org\\""]
      exclude: [".metadata.votes < 0"]
    span_replacement:
      - {span: ".attributes.quality__pii__EMAIL_ADDRESS", syntax: jq, min_score: 0.5, replacement: "|||MAIL|||"}
"""


def write_example(folder: Path) -> Path:
    """Documents, attributes and the config `mixer.yaml` in a folder; the path of the config."""
    for source, name, rows in (("web", "pages", WEB), ("forum", "a", FORUM)):
        for kind in ("documents", "quality", "dups"):
            lines = []
            for one in rows:
                if kind == "documents":
                    line = {"id": one["id"], "text": one["text"], "source": source, "metadata": one["metadata"]}
                elif kind == "quality":
                    line = {"id": one["id"], "attributes": {f"quality__{k}": v for k, v in one["quality"].items()}}
                else:
                    line = {"id": one["id"], "attributes": one["dups"]}
                lines.append(json.dumps(line) + "\n")
            place = folder / (kind if kind == "documents" else f"attributes/{kind}") / source / f"{name}.jsonl.gz"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    (folder / "mixer.yaml").write_text(CONFIG.replace("ROOT", str(folder)))
    return folder / "mixer.yaml"


def main() -> None:
    """See this file's first lines."""
    with tempfile.TemporaryDirectory() as place:
        config = write_example(Path(place))
        subprocess.run([str(Path(sys.executable).parent / "dolma"), "-c", str(config), "mix"], check=True)
        kept: dict[str, dict[str, str]] = {}
        for stream in ("web", "forum"):
            files = sorted((Path(place) / "out" / stream).rglob("*.gz"))
            lines = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
            kept[stream] = {line["id"]: line["text"] for line in lines}
    (HERE / "dolma_mixer.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
