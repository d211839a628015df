"""A finished folder of a million documents, made up, and what it costs to look at it.

    whatif.py make FOLDER            writes it: 10^6 documents in 1,000 shards, with four taggers and two dedupe steps
    whatif.py plan FOLDER            one `mix --plan` in this process; prints CPU and wall seconds, peak memory
    whatif.py one FOLDER             one `mix --what-if` of one rule
    whatif.py all FOLDER             of all 15 rules, so that none is known

Index, attributes and clusters are written in the product's formats; verdicts, elections and dropped documents by its
own phases. No text exists, and none is needed.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from run_once import usage

ROWS, SHARDS, IN_CLUSTERS = 1_000_000, 1_000, 0.25
SOURCES = {"code": 200, "web": 800}
"""Shards of each source."""

WHERE = {
    "english": "language_v1.en >= 0.2 OR source = 'code'",
    "words": "gopher_v1.word_count BETWEEN 50 AND 5000",
    "length": "gopher_v1.mean_word_length BETWEEN 0.2 AND 5",
    "median": "gopher_v1.median_word_length < 6",
    "symbols": "gopher_v1.symbol_ratio < 5",
    "bullets": "gopher_v1.bullet_line_share < 5",
    "ellipses": "gopher_v1.ellipsis_line_share < 6",
    "alpha": "gopher_v1.alpha_word_share > 0.01",
    "stop": "gopher_v1.stop_word_kinds >= 20",
    "pii": "len(pii_v1.email) + len(pii_v1.phone) + len(pii_v1.ip) <= 20",
    "curly": "NOT c4_v1.has_curly_bracket OR c4_v1.line_count > 100",
    "lines": "len(c4_v1.lines_without_end) < 12",
    "size": "chars BETWEEN 100 AND 100000",
    "exact": "exact.keep",
    "near": "minhash.keep OR exact.size > 4",
}

OTHER = {
    **WHERE,
    "english": "language_v1.en >= 0.3 OR source = 'code'",
    "words": "gopher_v1.word_count BETWEEN 60 AND 4500",
    "length": "gopher_v1.mean_word_length BETWEEN 0.3 AND 5",
    "median": "gopher_v1.median_word_length < 5.5",
    "symbols": "gopher_v1.symbol_ratio < 4.5",
    "bullets": "gopher_v1.bullet_line_share < 4.5",
    "ellipses": "gopher_v1.ellipsis_line_share < 5",
    "alpha": "gopher_v1.alpha_word_share > 0.02",
    "stop": "gopher_v1.stop_word_kinds >= 30",
    "pii": "len(pii_v1.email) + len(pii_v1.phone) + len(pii_v1.ip) <= 18",
    "curly": "NOT c4_v1.has_curly_bracket OR c4_v1.line_count > 200",
    "lines": "len(c4_v1.lines_without_end) < 11",
    "size": "chars BETWEEN 120 AND 90000",
    "near": "minhash.keep OR exact.size > 3",
}

CHANGES = {"one": ["words: gopher_v1.word_count BETWEEN 60 AND 4500"]} | {
    "all": [f"{name}: {sql}" for name, sql in OTHER.items()]
}
"""What is tried: one rule, or all of them."""

TOKENIZER = {
    "version": "1.0",
    "model": {"type": "WordLevel", "vocab": {"<|endoftext|>": 0, "a": 1}, "unk_token": "a"},
    "added_tokens": [],
}


def recipe(folder: Path) -> Any:
    """The recipe that the folder is of."""
    from dolma_pipeline.config.loader import recipe_from_text

    tree = {
        "output": str(folder / "run"),
        "sources": {name: {"documents": f"{folder}/in/{name}/*"} for name in SOURCES},
        "tag": {"taggers": ["language_v1", "gopher_v1", "c4_v1", "pii_v1"]},
        "dedupe": {"steps": [{"name": "exact", "kind": "exact"}, {"name": "minhash", "kind": "minhash"}]},
        "tokenizer": {"load": str(folder / "tokenizer.json"), "special_tokens": ["<|endoftext|>"]},
        "mix": {
            "where": WHERE,
            "sources": {"web": {"weight": 0.7}, "code": {"weight": 0.3}},
            "target_tokens": 20_000_000,
            "held_out": {"share": 0.01, "max_tokens": 1_000_000},
        },
    }
    return recipe_from_text(json.dumps(tree))


def make(folder: Path) -> dict[str, Any]:
    """Write the folder anew: one that is there may be of an earlier program."""
    import made_run

    shutil.rmtree(folder / "run", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    start = time.perf_counter()
    made_run.write(recipe(folder), SOURCES, rows=ROWS, in_clusters=IN_CLUSTERS)
    return {"made": True, "wall_s": time.perf_counter() - start}


def look(what: str, folder: Path) -> dict[str, Any]:
    """One command, from its imports to its text."""
    cpu, _ = usage()
    wall = time.perf_counter()
    from dolma_pipeline.look.text import plan_text, what_if_text

    one = recipe(folder)
    if what == "plan":
        from dolma_pipeline.look.plan import plan

        planned = plan(one)
        text, exact = plan_text(planned), planned.exact
    else:
        from dolma_pipeline.look.what_if import what_if

        tried = what_if(one, CHANGES[what])
        text, exact = what_if_text(tried), tried.exact
    wall = time.perf_counter() - wall
    print(text, file=sys.stderr)
    after, peak = usage()
    return {"cpu_s": after - cpu, "wall_s": wall, "peak_mb": peak, "exact": exact}


if __name__ == "__main__":
    action, place = sys.argv[1], Path(sys.argv[2]).absolute()
    print(json.dumps(make(place) if action == "make" else look(action, place)))
