"""Every name in a run's folder: the one place that knows where things are. docs/data-formats.md shows the tree."""

from __future__ import annotations

INDEX = "index"
RECIPE = "recipe.yaml"
SHARDS = "shards.jsonl"
LOCK = "lock.json"
LOG = "log"
VERSIONS = "log/versions.jsonl"
CACHE = "cache"
DONE = ".done"
FAILED = "failed"
ASSETS = "assets"
TOKENIZER = "tokenizer/tokenizer.json"
UNPROMISED = (LOG, CACHE, DONE, RECIPE, LOCK)
"""What may differ between equal runs; everything else is the same bytes."""


def manifest(folder: str) -> str:
    """The manifest of an artifact's folder."""
    return f"{folder}/manifest.json"


def lines(folder: str) -> str:
    """The records of a finished artifact's shards (or parts), one a line."""
    return f"{folder}/shards.jsonl"


def done(phase: str, digest: str) -> str:
    """The folder of a phase's done records; digest: of the phase."""
    return f"{DONE}/{phase.replace('/', '.')}-{short(digest)}"


EARLIER = f"{DONE}/earlier"


def earlier(folder: str) -> str:
    """The settings, then the records, one a line, of an artifact that was finished and is opened again.

    Not under its digest: what it was made with is to be seen when the settings are others by now.
    """
    return f"{EARLIER}/{folder.replace('/', '.')}.jsonl"


def short(digest: str) -> str:
    """The first 12 hex digits of a `sha256:…` digest: enough to tell the settings of one run's work apart."""
    return digest.removeprefix("sha256:")[:12]


def failed(artifact: str, shard: str) -> str:
    """Documents of a shard that an artifact could not take, one a line."""
    return f"{FAILED}/{artifact}/{shard}.jsonl"


def index(shard: str) -> str:
    """The index of a shard's documents."""
    return f"index/{shard}.parquet"


def attributes(label: str, shard: str, format_: str = "parquet") -> str:
    """An attribute of a shard's documents; format_: parquet or jsonl."""
    return f"attributes/{label}/{shard}{'.parquet' if format_ == 'parquet' else '.jsonl.gz'}"


def signatures(step: str, shard: str) -> str:
    """The signatures of a shard's documents."""
    return f"dedupe/{step}/signatures/{shard}.parquet"


def members(step: str) -> str:
    """Documents that have a key in common with another one: with the label of their cluster, or, where copies are
    verified, with the first document of the same words."""
    return f"dedupe/{step}/clusters/members.parquet"


def buckets(step: str) -> str:
    """Documents by bucket: those of one have a key in common."""
    return f"dedupe/{step}/clusters/buckets.parquet"


def sets(step: str, shard: str) -> str:
    """The sets of shingles of a shard's documents that are in buckets."""
    return f"dedupe/{step}/sets/{shard}.parquet"


def unit_sizes(step: str, shard: str) -> str:
    """How large each document of a shard is, in what a step measures repeats by."""
    return f"dedupe/{step}/sizes/{shard}.parquet"


def anchors(step: str, shard: str) -> str:
    """The hashes in a shard's documents by which a step finds where to look for repeats."""
    return f"dedupe/{step}/anchors/{shard}.parquet"


def units(artifact: str, shard: str) -> str:
    """The stretches of a shard's documents that may be repeats, in order; artifact: whose they are."""
    return f"{artifact}/units/{shard}.parquet"


def unit_keys(artifact: str, shard: str) -> str:
    """The hashes of these stretches, ascending a few at a time."""
    return f"{artifact}/keys/{shard}.parquet"


def fixed_set(step: str) -> str:
    """The hashes of what a step looks for, or a Bloom filter of them."""
    return f"dedupe/{step}/set.parquet"


ITEMS = "decontaminate/items/items.parquet"
VIEWS = "decontaminate/items/views.parquet"
FOUND = "decontaminate/found.jsonl"
"""The items of benchmarks; the words by which they are looked for; those that stand in documents, and in which."""


def matches(shard: str) -> str:
    """The items of benchmarks of which something stands in a shard's documents."""
    return f"decontaminate/matches/{shard}.parquet"


def plan(mix: str = "mix") -> str:
    """How much of each source a mix takes; mix: its name, which is its folder's."""
    return f"{mix}/plan.json"


def verdicts(shard: str, mix: str = "mix") -> str:
    """What each rule of a mix says of each document of a shard."""
    return f"{mix}/verdicts/{shard}.parquet"


def dropped(shard: str, mix: str = "mix") -> str:
    """The documents of a shard that some rule of a mix drops, and why."""
    return f"{mix}/dropped/{shard}.parquet"


def selected(shard: str, mix: str = "mix") -> str:
    """The documents of a shard that pass the rules of a mix: keys, sizes, copies."""
    return f"{mix}/selected/{shard}.parquet"


def documents(shard: str, mix: str = "mix") -> str:
    """The edited documents of a shard that a mix trains on."""
    return f"{mix}/documents/{shard}.jsonl.zst"


def held_out(shard: str, mix: str = "mix") -> str:
    """The edited documents of a shard that a mix keeps from training."""
    return f"{mix}/held_out/{shard}.jsonl.zst"


def part(split: str, number: int, tokens: str = "tokens") -> str:
    """A part of tokens, without an ending. split: `train` or `held_out/<source>`; tokens: the stage, and its folder."""
    return f"{tokens}/{split}/part-{number:05d}"


def of_model(stage: str, name: str) -> str:
    """A file or folder of the model of a stage: `sft` and `dpo` have a folder of their own, laid out as a run's."""
    return name if stage == "train" else f"{stage}/{name}"


def cache(kind: str, digest: str, name: str = "") -> str:
    """A derived file that may be removed: `cache/<kind>/<12 hex of the digest>/<name>`."""
    return f"{CACHE}/{kind}/{short(digest)}" + (f"/{name}" if name else "")
