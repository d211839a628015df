"""`make bench`: we and the tools that people use now, on the same text, in one run of a few minutes.

    python tests/benchmarks/bench.py                           everything; installs the peers first
    python tests/benchmarks/bench.py --rows minhash,tokenize   some rows
    python tests/benchmarks/bench.py --documents 'my/**/*.jsonl.gz'

Every measurement is a process of its own with one thread. Speeds are MB (10^6 bytes of UTF-8 text) per second of
CPU time; start-up, reading the sample and the first call are outside. Prints a table and writes results.json, a
list of its rows. Ends with 3 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import bench_run
import environments
import numpy as np
import samples
from rows import Row, compare, table

KERNEL_MB = 6.0  # what the slow peers take 10 to 25 s for
WARM_MB, UNSEEN_MB, CHECKED_MB = 4.0, 60.0, 8.0
READ_MB = 140.0


class Bench:
    """The comparisons; `work` holds samples and the collected corpus, `peers` the peers' environments."""

    def __init__(self, work: Path, peers: Path, patterns: Sequence[str]) -> None:
        self.work, self.peers = work, peers
        self.long = samples.collected(work / "corpus")
        self.sources = samples.given(patterns) if patterns else self.long
        self._sample: Path | None = None

    @property
    def sample(self) -> Path:
        """The text of the rows whose peers are slow."""
        if self._sample is None:
            drawn = samples.draw(samples.read(self.sources), KERNEL_MB)
            self._sample = samples.write(self.work / "sample.jsonl", drawn)
        return self._sample

    def peer(self, name: str, script: str) -> dict[str, float]:
        """What a script gives in the environment of peer `name`, on the sample."""
        python = environments.install(name, self.peers)
        return environments.measure(f"peers/{script}", self.sample, python=python)

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

    def run(self) -> list[Row]:
        """The whole pipeline without training."""
        return bench_run.measure(self.work, self.long)

    def look(self) -> list[Row]:
        """`--plan` and `--what-if` on a made-up run of 10^6 documents in 1,000 shards; making it takes a minute."""
        folder = self.work / "look"
        environments.measure("whatif.py", "make", folder)
        found = []
        for name, what, most in (
            ("plan_first", "plan", 6.0),
            ("plan", "plan", 3.0),
            ("what_if_first", "all", 6.0),
            ("what_if_15_rules", "all", 3.0),
            ("what_if_one_rule", "one", 3.0),
        ):
            if name.endswith("_first"):
                shutil.rmtree(folder / "run" / "cache" / "table", ignore_errors=True)
            cost = environments.measure("whatif.py", what, folder)
            unit = "seconds, 10^6 documents; first: with making the table"
            row = Row(name=name, text_mb=0, ours=cost["wall_s"], peer=None, peer_name="", unit=unit, at_most=most)
            row.more.update({key: cost[key] for key in ("cpu_s", "peak_mb")})
            found.append(row)
        return found


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write; 0 where every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", action="append", help="glob of Dolma documents instead of the collected ones")
    parser.add_argument("--rows", default="gopher,minhash,tokenize,read,run,look", help="comma-separated; default: all")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"), help="folder for samples and runs")
    parser.add_argument("--peers", type=Path, default=Path(".venv-bench"), help="folder for the peers' environments")
    parser.add_argument("--output", type=Path, default=Path("results.json"))
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.work, options.peers, options.documents or samples.development_data())
    measures: dict[str, Callable[[], list[Row]]] = {
        "gopher": bench.gopher,
        "minhash": bench.minhash,
        "tokenize": bench.tokenize,
        "read": bench.read,
        "run": bench.run,
        "look": bench.look,
    }
    found: list[Row] = []
    for name in options.rows.split(","):
        if name not in measures:
            parser.error(f"no row named '{name}'; there are {', '.join(measures)}")
        print(f"measuring {name}", file=sys.stderr)
        found += measures[name]()
        options.output.write_text(json.dumps([row.as_json() for row in found], indent=2) + "\n")
    print(table(found))
    return 0 if all(row.kept for row in found) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
