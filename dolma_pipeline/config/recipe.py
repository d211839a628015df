"""The recipe: what a run does, as frozen dataclasses. `config.loader` makes one from YAML and checks it.

Every field is a key of the YAML of the same name (`with_` is `with`), in the order in which `resolved_yaml`
writes them. Sizes are bytes, budgets are tokens, shares are 0..1. A field with a default may be left out of the
YAML. What a key is for stands in its `Key`, once, for help, docs and checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any, Literal

from dolma_pipeline.config.keys import Key
from dolma_pipeline.config.training import Auto
from dolma_pipeline.config.training import DpoConfig as DpoConfig
from dolma_pipeline.config.training import EvalConfig as EvalConfig
from dolma_pipeline.config.training import SftConfig as SftConfig
from dolma_pipeline.config.training import StageConfig as StageConfig
from dolma_pipeline.config.training import TemplateConfig as TemplateConfig
from dolma_pipeline.config.training import TrainConfig as TrainConfig
from dolma_pipeline.errors import ConfigError

STAGES = ("tag", "decontaminate", "dedupe", "tokenizer", "mix", "tokens", "train", "eval", "sft", "dpo")
"""The stages in the order in which they run; each is a section of the recipe of the same name."""

TARGETS = ("target_tokens", "target_bytes", "target_documents")
"""Keys of `mix` that set a budget; at most one of them is given."""

MOVED: Mapping[str, str] = {
    "tag.modules": "has moved: write `modules:` at the top of the recipe, where it serves taggers and mixers",
}
"""Keys of earlier versions, and what to write instead."""

SECRET = re.compile(r"(?i)key|secret|token|passw|credential|signature|^sas|^user|^pwd")
"""What keys of secrets are called: `storage` has none of them."""


def without_value(place: str) -> str:
    """A place of an error, without the value of an override, which may be a secret."""
    return re.sub(r"^override '([^=]*)=.*'", r"override '\1=…'", place, flags=re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One source of documents."""

    documents: Annotated[
        tuple[str, ...],
        Key(purpose="paths, URLs, globs of both, or @files.txt (one a line)", at_least=1, one_or_more=True),
    ]
    attributes: Annotated[
        tuple[str, ...], Key(purpose="folders of attributes made elsewhere: Parquet or Dolma's JSONL", one_or_more=True)
    ] = ()
    fields: Annotated[
        Mapping[str, str], Key(purpose="our column: the input's column or key, where the names differ")
    ] = field(default_factory=dict)
    gone: Annotated[
        tuple[str, ...],
        Key(purpose="files that this run has read and that are never opened again, there or not", one_or_more=True),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerConfig:
    """One use of a tagger. All other keys are its parameters; a plain string is a tagger without parameters."""

    tagger: Annotated[str, Key(purpose="a built-in tagger, one of `modules`, or of an installed package", at_least=1)]
    name: Annotated[str, Key(purpose="folder, column and name in `where`", derived="the tagger's")]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagConfig:
    """Taggers to run over all documents; nothing is dropped."""

    taggers: Annotated[tuple[TaggerConfig, ...], Key(purpose="what to run, in order", at_least=1, shorthand="tagger")]
    format: Annotated[Literal["parquet", "jsonl"], Key(purpose="of the attribute files; jsonl is Dolma's")] = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateConfig:
    """Marks documents in which items of evaluation sets stand; removes nothing."""

    benchmarks: Annotated[
        Mapping[str, tuple[str, ...]],
        Key(purpose="name: files of items (questions, or any documents), as paths, globs or URLs", at_least=1,
            one_or_more=True),
    ]  # fmt: skip
    ngram: Annotated[int, Key(purpose="words in the n-grams that are looked for", unit="words", at_least=5)] = 13
    min_run: Annotated[
        int, Key(purpose="words of an item in a row from which on it marks a document", unit="words", at_least=5)
    ] = 13
    min_coverage: Annotated[
        float, Key(purpose="share of an item's words from which on it marks a document", above=0, at_most=1)
    ] = 0.5
    weak_words: Annotated[
        int, Key(purpose="a whole item of fewer words, and no other sign of one, is weak", unit="words", at_least=5)
    ] = 8
    mark_weak: Annotated[bool, Key(purpose="weak items mark documents, too")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeStepConfig:
    """One way to find duplicates. `key` is of kind exact; `shingle` to `verify` are of kind minhash; `unit` and
    `min_unit_chars` of kinds paragraphs and against; `words` of kind substring; `texts` to `max_bytes` of kind against.
    All other keys are parameters of a kind that `modules` bring."""

    name: Annotated[str, Key(purpose="folder, column and name in `where` (NAME.keep)")]
    kind: Annotated[
        str,
        Key(
            purpose="exact, minhash (near copies), paragraphs, substring (repeats), against, one of `modules`",
            at_least=1,
        ),
    ]
    key: Annotated[str, Key(purpose="exact: what must be equal: text, folded (its words), or SQL", at_least=1)] = "text"
    shingle: Annotated[int, Key(purpose="minhash: words in a shingle", unit="words", at_least=1)] = 5
    bands: Annotated[int, Key(purpose="minhash: bands; one equal band makes a candidate", at_least=1)] = 14
    rows: Annotated[int, Key(purpose="minhash: minima in a band", at_least=1)] = 8
    signature_bytes: Annotated[
        int | None,
        Key(
            purpose="minhash: most of a signature; bands and rows are the best for threshold", unit="bytes", at_least=13
        ),
    ] = None
    threshold: Annotated[float, Key(purpose="minhash: likeness from which on one may go", above=0, at_most=1)] = 0.8
    verify: Annotated[
        Literal["jaccard", "containment"],
        Key(purpose="minhash: likeness: shared of all shingles, or share of those of the one that may go"),
    ] = "jaccard"
    unit: Annotated[
        Literal["paragraph", "line", "text", "ngram"],
        Key(purpose="paragraphs, against: what is compared; text and ngram are of against alone"),
    ] = "paragraph"
    min_unit_chars: Annotated[
        int,
        Key(purpose="paragraphs, against: shortest paragraph or line that counts", unit="characters", at_least=1),
    ] = 40
    words: Annotated[int, Key(purpose="substring: shortest run of words that may be a repeat", unit="words")] = 50
    texts: Annotated[
        tuple[str, ...],
        Key(purpose="against: documents that are looked for: paths, globs or URLs", one_or_more=True),
    ] = ()
    ngram: Annotated[
        int | None,
        Key(purpose="against: words in an n-gram", unit="words", at_least=1, derived="13 with unit ngram"),
    ] = None
    filter: Annotated[
        Literal["exact", "bloom"], Key(purpose="against: a table of hashes, or a Bloom filter, which takes less memory")
    ] = "exact"
    false_positive_rate: Annotated[
        float | None,
        Key(
            purpose="against: of the Bloom filter; its size follows", above=0, below=1, derived="0.000001 with a filter"
        ),
    ] = None
    max_bytes: Annotated[
        int | None, Key(purpose="against: most that the Bloom filter may take", unit="bytes", at_least=8)
    ] = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeConfig:
    """Marks duplicates; removes nothing. Each step sees what the earlier ones kept."""

    prefer: Annotated[
        tuple[str, ...],
        Key(purpose="SQL orders of who stays; then order of `sources`, then smallest origin", one_or_more=True),
    ] = ()
    keep: Annotated[
        Literal["elect", "old"],
        Key(purpose="files were added: elect anew among all, or let what is decided of earlier ones stand"),
    ] = "elect"
    steps: Annotated[tuple[DedupeStepConfig, ...], Key(purpose="ways to find duplicates, in order", at_least=1)]
    keep_work: Annotated[bool, Key(purpose="keep edges and what the election worked with")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """A tokenizer, trained (`train: bpe`) or loaded (`load`); exactly one of the two."""

    train: Annotated[Literal["bpe"] | None, Key(purpose="train one on text that passes `mix.where`")] = None
    load: Annotated[str | None, Key(purpose="path of a tokenizer.json", at_least=1)] = None
    vocab_size: Annotated[int, Key(purpose="train: entries, special and added tokens included", at_least=257)] = 4096
    sample_bytes: Annotated[int, Key(purpose="train: text to train on, drawn by key", unit="bytes", at_least=1)] = (
        20_000_000
    )
    special_tokens: Annotated[tuple[str, ...], Key(purpose="never read out of a text")] = ("<|endoftext|>",)
    added_tokens: Annotated[
        tuple[str, ...], Key(purpose="whole tokens that may stand in a text, such as PII masks")
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceConfig:
    """Put a text in the place of spans."""

    spans: Annotated[str, Key(purpose="ATTRIBUTE.FIELD, a span field")]
    with_: Annotated[str, Key(purpose="what stands there instead; hash: a pseudonym of each value, under `key`")]
    min_score: Annotated[float | None, Key(purpose="only spans of at least this score")] = None
    max_score: Annotated[float | None, Key(purpose="only spans of a smaller score than this")] = None
    key: Annotated[str | None, Key(purpose="hash: where its key is: env:NAME or file:PATH")] = None

    @property
    def bounds(self) -> dict[str, float]:
        """Which of `min_score` and `max_score` there are."""
        both = {"min_score": self.min_score, "max_score": self.max_score}
        return {name: bound for name, bound in both.items() if bound is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class MixSourceConfig:
    """What is particular to one source in the mix."""

    weight: Annotated[float | None, Key(purpose="relative share of the budget; none: by its size", at_least=0)] = None
    remove: Annotated[tuple[str, ...], Key(purpose="span fields (ATTRIBUTE.FIELD) whose text is cut out")] = ()
    replace: Annotated[tuple[ReplaceConfig, ...], Key(purpose="spans to put another text for, here only")] = ()
    min_chars: Annotated[int, Key(purpose="shortest edited text that is kept", unit="characters", at_least=0)] = 0
    skip_rules: Annotated[
        tuple[str, ...], Key(purpose="rules of `mix.where` and of presets, or whole presets, that do not hold here")
    ] = ()
    where: Annotated[Mapping[str, str], Key(purpose="rules of this source only", shorthand="where")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerConfig:
    """How weights share out the budget. All other keys are the mixer's parameters; a plain string is its name."""

    name: Annotated[str, Key(purpose="a registered mixer", at_least=1)] = "proportional"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutConfig:
    """Documents kept from training to measure on, near copies together."""

    share: Annotated[float, Key(purpose="of each source's documents; near copies stay together", above=0, below=1)] = (
        0.01
    )
    max_tokens: Annotated[
        int | None, Key(purpose="most of one source", unit="tokens", at_least=1, derived="1M with a tokenizer")
    ] = None
    max_bytes: Annotated[
        int | None, Key(purpose="most of one source", unit="bytes", at_least=1, derived="4MB without a tokenizer")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MixConfig:
    """What goes into training, and how much. Without a tokenizer it counts in bytes or documents."""

    presets: Annotated[
        tuple[str, ...], Key(purpose="published rules by name, or ./file.yaml of yours; `list presets` shows them")
    ] = ()
    skip_rules: Annotated[
        tuple[str, ...], Key(purpose="rules of these presets that hold nowhere, such as gopher.words")
    ] = ()
    where: Annotated[Mapping[str, str], Key(purpose="rule: SQL; all must be true", shorthand="where")] = field(
        default_factory=dict
    )
    replace: Annotated[tuple[ReplaceConfig, ...], Key(purpose="spans to put another text for")] = ()
    sources: Annotated[Mapping[str, MixSourceConfig], Key(purpose="what is particular to one source")] = field(
        default_factory=dict
    )
    mixer: Annotated[MixerConfig, Key(purpose="how weights share out the budget", shorthand="name")] = field(
        default_factory=MixerConfig
    )
    target_tokens: Annotated[
        int | None, Key(purpose="budget; none: everything that passes", unit="tokens", at_least=1)
    ] = None
    target_bytes: Annotated[
        int | None, Key(purpose="the budget in bytes of text as read", unit="bytes", at_least=1)
    ] = None
    target_documents: Annotated[int | None, Key(purpose="the budget in documents", unit="documents", at_least=1)] = None
    documents: Annotated[
        bool | None,
        Key(purpose="write the edited documents", derived="true without `tokens`, else false"),
    ] = None
    max_epochs: Annotated[float, Key(purpose="how often a document may be repeated to reach the budget", above=0)] = 1.0
    held_out: Annotated[HeldOutConfig | None, Key(purpose="documents to measure on; none: no such part")] = None
    keep_metadata: Annotated[tuple[str, ...], Key(purpose="metadata keys that are carried on")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensConfig:
    """Shards of token ids, as a trainer reads them."""

    max_shard_tokens: Annotated[int, Key(purpose="largest shard", unit="tokens", at_least=1)] = 512_000_000
    eos: Annotated[str, Key(purpose="special token after each document", at_least=1)] = "<|endoftext|>"
    keep_attributes: Annotated[
        tuple[str, ...], Key(purpose="ATTRIBUTE.FIELDs stored beside each document, for `trace`")
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamConfig:
    """Where the pipelines run. All other keys are the runner's options."""

    runner: Annotated[str, Key(purpose="local, or the name of a Beam runner", at_least=1)] = "local"
    shared_disk: Annotated[bool, Key(purpose="workers on other machines see this machine's paths")] = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """Where the object store of `output` and of inputs is. Never a secret: those are the environment's."""

    endpoint: Annotated[str | None, Key(purpose="http(s)://host:port of a store that is not the cloud's own")] = None
    region: Annotated[str | None, Key(purpose="s3: region of the bucket; else AWS_REGION")] = None
    account: Annotated[str | None, Key(purpose="az: storage account; else AZURE_STORAGE_ACCOUNT_NAME")] = None

    def settings(self) -> dict[str, str]:
        """What is given, by name."""
        given = {"endpoint": self.endpoint, "region": self.region, "account": self.account}
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole run. Relative paths start at the working directory.

    Not keys: `sections` are top-level sections that stages from outside declare (name -> their own dataclass);
    `origin` maps dotted keys to `file:line` (or to an override), see `place`.
    """

    name: Annotated[str, Key(purpose="in reports", at_least=1, derived="last part of output")]
    output: Annotated[str, Key(purpose="the run's folder: a path, or s3://, gs://, az://", at_least=1)]
    storage: Annotated[StorageConfig | None, Key(purpose="the store of `output` and inputs, without secrets")] = None
    seed: Annotated[int, Key(purpose="of everything that is drawn", at_least=0, at_most=2**63 - 1)] = 1
    workers: Annotated[
        int | Auto, Key(purpose="auto: 1 for small input, else one a core", unit="processes", at_least=1)
    ] = "auto"
    max_memory: Annotated[int, Key(purpose="of one process", unit="bytes", at_least=1_000_000)] = 4_000_000_000
    max_failed_share: Annotated[
        float, Key(purpose="of documents, exactly; above it: exit 3; 0 allows none", at_least=0, at_most=1)
    ] = 0.01
    max_failed_files: Annotated[
        int, Key(purpose="files that could not be read to their end; above it: exit 3", unit="files", at_least=0)
    ] = 0
    sources: Annotated[
        Mapping[str, SourceConfig],
        Key(purpose="what to read, by name; sft and dpo alone need none", at_least=1, derived="required"),
    ] = field(default_factory=dict)
    normalize: Annotated[
        tuple[Literal["nfc", "whitespace"], ...], Key(purpose="done to texts as they are read, in order")
    ] = ()
    split_bytes: Annotated[
        int,
        Key(
            purpose="larger plain files and Parquet are worked on in ranges; changed: of new files only",
            unit="bytes",
            at_least=10_000,
        ),
    ] = 256_000_000
    modules: Annotated[
        tuple[str, ...], Key(purpose="importable modules, or ./file.py, with taggers, mixers or stages of yours")
    ] = ()
    tag: Annotated[TagConfig | None, Key(purpose="numbers and spans for each document")] = None
    decontaminate: Annotated[DecontaminateConfig | None, Key(purpose="what of evaluation sets stands in documents")] = (
        None
    )
    dedupe: Annotated[DedupeConfig | None, Key(purpose="exact and near duplicates")] = None
    tokenizer: Annotated[TokenizerConfig | None, Key(purpose="text to ids; mix counts with it")] = None
    mix: Annotated[MixConfig | None, Key(purpose="filter, mask, sample to a budget")] = None
    tokens: Annotated[TokensConfig | None, Key(purpose="shards of token ids")] = None
    train: Annotated[TrainConfig | None, Key(purpose="a model on these shards")] = None
    eval: Annotated[EvalConfig | None, Key(purpose="scores of that model")] = None
    sft: Annotated[SftConfig | None, Key(purpose="that model, or another, taught to answer")] = None
    dpo: Annotated[DpoConfig | None, Key(purpose="and to prefer one answer to another")] = None
    beam: Annotated[BeamConfig, Key(purpose="where the pipelines run", shorthand="runner")] = field(
        default_factory=BeamConfig
    )
    sections: Mapping[str, object] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def input_settings(self) -> dict[str, str]:
        """What opens inputs on object stores: the settings of `storage`."""
        return self.storage.settings() if self.storage else {}

    def stages(self) -> tuple[str, ...]:
        """The stages that this recipe has, in the order in which they run; those of `modules` come last."""
        return (*(name for name in STAGES if getattr(self, name) is not None), *self.sections)

    def mixes(self) -> dict[str, MixConfig]:
        """Every mix by its name, which is its section's: `mix`, then those of `modules`."""
        own = {name: section for name, section in self.sections.items() if isinstance(section, MixConfig)}
        return own if self.mix is None else {"mix": self.mix, **own}

    def token_sections(self) -> dict[str, TokensConfig]:
        """Every section that makes token parts, by its name: `tokens`, then those of `modules`."""
        own = {name: section for name, section in self.sections.items() if isinstance(section, TokensConfig)}
        return own if self.tokens is None else {"tokens": self.tokens, **own}

    def allows_failures(self, failed: int, seen: int) -> bool:
        """Whether so many failed of the documents seen is within `max_failed_share`; exact, as the share is written."""
        return failed <= Fraction(repr(self.max_failed_share)) * seen

    def place(self, key: str) -> str:
        """Where a dotted key (`tag.taggers.0`) was written, as an error shows it: `quickstart.yaml:12: tag.taggers.0`.

        A key that was left out has the place of the nearest one above it; in a recipe that was not read from
        YAML there is no place, only the key.
        """
        above = key
        while above and above not in self.origin:
            above = above.rpartition(".")[0]
        where = self.origin.get(above, "")
        return f"{where}: {key}" if where else key


def fail(recipe: Recipe, key: str, message: str) -> ConfigError:
    """An error that names the key and the place where it was written."""
    return ConfigError(f"{recipe.place(key)}: {message}")
