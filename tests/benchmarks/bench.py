"""`make bench`: this program, the one before it and the tools that people use, on the same text, in one run.

    make bench                              everything; installs the peers first
    make bench ROWS=run,threshold           some rows
    make bench ROWS=run SCALE=0.1           smaller corpora, to try; no promise is meant for them
    python tests/benchmarks/bench.py --documents 'my/**/*.jsonl.gz'

Rows: gopher minhash tokenize read near documents repeats builtin fineweb rules dolma fasttext evals (against peers),
run beam workers memory worker files (whole runs), threshold budget seed (changes of a finished run), compile fixed
(start-up), whatif, verified (near-duplicates, part by part), tasks pool (runners), store listing (object stores), train
processes (the trainer; needs torch, and `processes` idle cores). Each takes minutes at most.

Every measurement is a process of its own with one thread. Speeds are MB (10^6 bytes of UTF-8 text) per second of CPU
time; against peers, start-up, reading the sample and the first call are outside. Each row is printed when it is done;
results.json has all of them. Ends with 3 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import before
import bench_again
import bench_dedupe
import bench_elsewhere
import bench_evals
import bench_run
import bench_scale
import bench_start
import bench_taggers
import bench_train
import bench_verified
import bench_whatif
import environments
import numpy as np
import samples
from bench_run import Runs
from rows import HEADER, Row, compare, details, line

KERNEL_MB = 6.0  # what the slow peers take 10 to 25 s for
WARM_MB, UNSEEN_MB, CHECKED_MB = 4.0, 60.0, 8.0
READ_MB = 140.0


class Bench:
    """The comparisons; `work` holds samples and corpora, `peers` the peers' environments."""

    def __init__(self, work: Path, peers: Path, patterns: Sequence[str], *, scale: float = 1.0, times: int = 1) -> None:
        self.work, self.peers, self.scale, self.times = work, peers, scale, times
        self.patterns = patterns
        self._sample: Path | None = None
        self._runs: Runs | None = None

    @cached_property
    def long(self) -> Mapping[str, Sequence[str]]:
        """The collected corpus."""
        return samples.collected(self.work / "whole_run" / "corpus")

    @cached_property
    def sources(self) -> Mapping[str, Sequence[str]]:
        """What the kernels' rows read."""
        return samples.given(self.patterns) if self.patterns else self.long

    @property
    def sample(self) -> Path:
        """The text of the rows whose peers are slow."""
        if self._sample is None:
            drawn = samples.draw(samples.read(self.sources), KERNEL_MB)
            self._sample = samples.write(self.work / "sample.jsonl", drawn)
        return self._sample

    @cached_property
    def large(self) -> Path:
        """The text of rows that measure whole runs of a stage."""
        drawn = samples.draw(samples.read({**self.long, **self.sources}), UNSEEN_MB)
        return samples.write(self.work / "large.jsonl", drawn)

    def peer(self, name: str, script: str, *arguments: object) -> dict[str, float]:
        """What a script gives in the environment of peer `name`, on the sample if it is not told."""
        python = environments.install(name, self.peers)
        return environments.measure(f"peers/{script}", *(arguments or [self.sample]), python=python)

    def near(self) -> list[Row]:
        """Near-duplicates, text to keep flags."""
        return bench_dedupe.near(self.sample, self.large, self.peer)

    def documents(self) -> list[Row]:
        """Equal documents."""
        return bench_dedupe.documents(self.large, self.peer)

    def repeats(self) -> list[Row]:
        """Repeated text."""
        return bench_dedupe.repeats(self.large, self.peer)

    def builtin(self) -> Iterable[Row]:
        """The first taggers together, source by source."""
        return bench_taggers.built_in(self.sources, self.work, before.before(self.peers / "before"))

    def fineweb(self) -> Iterable[Row]:
        """FineWeb's chain of filters."""
        return bench_taggers.fineweb(self.sample, self.peer)

    def rules(self) -> Iterable[Row]:
        """All rule taggers."""
        return bench_taggers.rules(self.sample)

    def dolma(self) -> Iterable[Row]:
        """C4 and PII beside Dolma's."""
        return bench_taggers.dolma(self.sample, self.peer)

    def fasttext(self) -> Iterable[Row]:
        """Language and a classifier beside fastText."""
        drawn = samples.draw(samples.read(self.sources), KERNEL_MB)
        return bench_taggers.fasttext(drawn, self.work)

    def evals(self) -> Iterable[Row]:
        """Rank classification beside lm-eval's."""
        drawn = samples.draw(samples.read(self.sources), KERNEL_MB)
        return bench_evals.choices(self.work, drawn, self.peers)

    def gopher(self) -> list[Row]:
        """gopher_v1 against Dolma's tagger and datatrove's two filters."""
        ours = environments.measure("ours.py", "gopher", self.sample)
        dolma, datatrove = self.peer("dolma", "dolma_gopher.py"), self.peer("datatrove", "datatrove_gopher.py")
        filters = "datatrove 0.10.1 GopherQuality + GopherRepetition"
        return [
            compare("gopher_tagger", "dolma 1.2.1 gopher_v2", ours, dolma, at_least=40),
            compare("gopher_tagger", filters, ours, datatrove, at_least=100),
        ]

    def minhash(self) -> list[Row]:
        """Signatures against the first stage of datatrove's MinHash."""
        ours = environments.measure("ours.py", "minhash", self.sample)
        peer = self.peer("datatrove", "datatrove_minhash.py")
        return [compare("minhash_signatures", "datatrove 0.10.1 MinHash stage 1", ours, peer, at_least=100)]

    def tokenize(self) -> list[Row]:
        """One warm encoder on text that it has not seen, against `tokenizers` on the first part of that text."""
        drawn = samples.draw(samples.read({**self.long, **self.sources}), WARM_MB + UNSEEN_MB)
        cut = samples.position(drawn, WARM_MB)
        warm, unseen = drawn[:cut], drawn[cut:]
        checked = samples.position(unseen, CHECKED_MB)
        files = {
            name: samples.write(self.work / f"tokenize-{name}.jsonl", texts)
            for name, texts in (("warm", warm), ("unseen", unseen), ("checked", unseen[:checked]))
        }
        tokenizer = samples.tokenizer(self.work / "tokenizer.json", warm)
        ids = [self.work / f"ids-{name}.npy" for name in ("ours", "peer")]
        ours = environments.measure("ours.py", "tokenize", files["unseen"], files["warm"], tokenizer, ids[0], checked)
        peer = environments.measure("peers/tokenizers_encode.py", files["checked"], tokenizer, ids[1])
        equal = bool(np.array_equal(*(np.load(path) for path in ids)))
        more = {"ids_identical": equal, "checked_tokens": peer["tokens"], "engine": ours["engine"]}
        name = f"tokenizers {version('tokenizers')}"
        return [compare("tokenize", name, ours, peer, at_least=20, holds=equal, more=more)]

    def read(self) -> list[Row]:
        """Compressed JSON lines into batches, against Python's gzip and orjson into dicts."""
        files = [path for paths in {**self.sources, **self.long}.values() for path in paths if path.endswith(".gz")]
        files = files[: int(READ_MB / 4)]
        ours = environments.measure("ours.py", "read_jsonl_gz", *files)
        peer = environments.measure("peers/gzip_orjson.py", *files)
        if ours["rows"] != peer["rows"]:
            raise SystemExit(f"ours read {ours['rows']} documents, gzip and orjson {peer['rows']}")
        more = {"num_files": len(files)}
        return [compare("read_jsonl_gz", f"gzip + orjson {version('orjson')}", ours, peer, at_least=2, more=more)]

    def runs(self) -> Runs:
        """Whole runs, of this program and of the one before where it can be had."""
        if self._runs is None:
            folder = self.work / "whole_run"
            folder.mkdir(parents=True, exist_ok=True)
            self._runs = Runs(folder, before.before(self.peers / "before"), scale=self.scale, times=self.times)
        return self._runs


WHOLE_RUNS: dict[str, Callable[[Runs], Iterable[Row]]] = {
    "run": bench_run.whole,
    "beam": bench_run.beam_share,
    "workers": bench_scale.workers,
    "memory": bench_scale.memory,
    "worker": bench_scale.worker_memory,
    "files": bench_scale.files,
    "threshold": bench_again.threshold,
    "budget": bench_again.budget,
    "seed": bench_again.seed,
    "compile": bench_start.compiling,
    "fixed": bench_start.fixed,
    "whatif": bench_whatif.whatif,
    "verified": bench_verified.verified,
    "tasks": bench_elsewhere.tasks,
    "pool": bench_elsewhere.pool,
    "store": bench_elsewhere.store,
    "listing": bench_elsewhere.listing,
    "train": bench_train.speed,
    "processes": bench_train.processes,
}


def measures(bench: Bench) -> dict[str, Callable[[], Iterable[Row]]]:
    """Every name of `--rows`, and what gives its rows."""
    peers: dict[str, Callable[[], Iterable[Row]]] = {
        "gopher": bench.gopher,
        "minhash": bench.minhash,
        "tokenize": bench.tokenize,
        "read": bench.read,
        "near": bench.near,
        "documents": bench.documents,
        "repeats": bench.repeats,
        "builtin": bench.builtin,
        "fineweb": bench.fineweb,
        "rules": bench.rules,
        "dolma": bench.dolma,
        "fasttext": bench.fasttext,
        "evals": bench.evals,
    }
    whole = {name: lambda measure=measure: measure(bench.runs()) for name, measure in WHOLE_RUNS.items()}
    return {**peers, **whole}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write; 0 where every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", action="append", help="glob of Dolma documents instead of the collected ones")
    parser.add_argument("--rows", default="", help="comma-separated; default: all")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the corpora of whole runs; default: 1, as promised"
    )
    parser.add_argument("--times", type=int, default=1, help="so often each run, of which the cheapest counts")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"), help="folder for samples and runs")
    parser.add_argument("--peers", type=Path, default=Path(".venv-bench"), help="folder for the peers' environments")
    parser.add_argument("--output", type=Path, default=Path("results.json"))
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    patterns = options.documents or samples.development_data()
    bench = Bench(options.work, options.peers, patterns, scale=options.scale, times=options.times)
    known, found = measures(bench), list[Row]()
    names = options.rows.split(",") if options.rows else [*known]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no row named '{unknown[0]}'; there are {', '.join(known)}")
    print(HEADER, flush=True)
    for name in names:
        for row in known[name]():
            print("\n".join([line(row), *details(row)]), flush=True)
            found.append(row)
            options.output.write_text(json.dumps([row.as_json() for row in found], indent=2) + "\n")
    return 0 if all(row.kept for row in found) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
