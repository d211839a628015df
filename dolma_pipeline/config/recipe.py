"""The recipe: what a run does, as frozen dataclasses. `config.loader` makes one from YAML and checks it.

Every field is a key of the YAML of the same name (`with_` is `with`). Sizes are bytes, budgets are tokens,
shares are 0..1. A field with a default may be left out of the YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Auto = Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One source of documents.

    documents: globs, paths, URLs, or `@files.txt` (one path a line).
    attributes: folders of attributes made elsewhere (Parquet or Dolma's JSONL).
    fields: our column -> the input's column or key, where the names differ.
    """

    documents: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerConfig:
    """One use of a tagger: `name` (default: the tagger's) is its folder, its column and its name in `where`."""

    tagger: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagConfig:
    """Taggers to run. modules: importable modules or `./file.py`. format: of the attribute files."""

    taggers: tuple[TaggerConfig, ...]
    modules: tuple[str, ...] = ()
    format: Literal["parquet", "jsonl"] = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeStepConfig:
    """One way to find duplicates. `shingle` (words), `bands` and `rows` are minhash's."""

    name: str
    kind: Literal["exact", "minhash"]
    key: Literal["text"] = "text"
    shingle: int = 5
    bands: int = 14
    rows: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeConfig:
    """Steps in order, each sees what the earlier ones kept. prefer: SQL order; the first of a cluster stays."""

    steps: tuple[DedupeStepConfig, ...]
    prefer: str = "length(text) DESC"
    keep_work: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """A tokenizer, loaded (`load`: path of a tokenizer.json) or trained (`train: bpe`); exactly one of the two.

    sample_bytes: text to train on, drawn by key. special_tokens: never read out of a text.
    added_tokens: whole tokens that may stand in a text, such as PII masks.
    """

    train: Literal["bpe"] | None = None
    load: str | None = None
    vocab_size: int = 4096
    sample_bytes: int = 20_000_000
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)
    added_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceConfig:
    """Put `with_` in the place of each span of `spans` (`attribute.field`)."""

    spans: str
    with_: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MixSourceConfig:
    """What is particular to one source in the mix.

    weight: relative share of the token budget; None: by its size.
    remove: span fields whose text is cut out. min_chars: of the edited text. skip_rules: names in `where`.
    where: rules of this source only.
    """

    weight: float | None = None
    remove: tuple[str, ...] = ()
    min_chars: int = 0
    skip_rules: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixerConfig:
    """How weights become tokens: a registered mixer and its parameters."""

    name: str = "proportional"
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutConfig:
    """Documents kept from training to measure on: a share of each source's clusters, at most `max_tokens`."""

    share: float = 0.01
    max_tokens: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MixConfig:
    """What goes into training, and how much. where: rule -> SQL, all must be true."""

    where: Mapping[str, str] = field(default_factory=dict)
    replace: tuple[ReplaceConfig, ...] = ()
    sources: Mapping[str, MixSourceConfig] = field(default_factory=dict)
    mixer: MixerConfig = field(default_factory=MixerConfig)
    target_tokens: int | None = None
    max_epochs: float = 1.0
    held_out: HeldOutConfig | None = None
    keep_metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensConfig:
    """Shards of token ids. keep_attributes: `attribute.field`s stored beside each document."""

    max_shard_tokens: int = 512_000_000
    eos: str = "<|endoftext|>"
    keep_attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A model to train on the shards. batch_tokens and max_tokens count tokens; processes: of torchrun."""

    model: str = "tiny"
    sequence_length: int = 256
    batch_tokens: int = 4096
    max_tokens: int = 1_000_000
    lr: float = 3e-3
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    warmup_steps: int = 30
    schedule: Literal["linear", "constant"] = "linear"
    processes: int | Auto = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    save_every_steps: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What a trained model is scored on. tasks: JSONL files of {"id", "context", "choices", "gold"}."""

    held_out: bool = True
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamConfig:
    """The runner: `local`, or a Beam runner's name with its options."""

    runner: str = "local"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole run. Relative paths start at the working directory."""

    name: str
    output: str
    sources: Mapping[str, SourceConfig]
    seed: int = 1
    workers: int | Auto = "auto"
    max_memory: int = 4_000_000_000
    max_failed_share: float = 0.001
    normalize: tuple[Literal["nfc", "whitespace"], ...] = ()
    split_bytes: int = 256_000_000
    tag: TagConfig | None = None
    dedupe: DedupeConfig | None = None
    tokenizer: TokenizerConfig | None = None
    mix: MixConfig | None = None
    tokens: TokensConfig | None = None
    train: TrainConfig | None = None
    eval: EvalConfig | None = None
    beam: BeamConfig = field(default_factory=BeamConfig)

    def stages(self) -> tuple[str, ...]:
        """The stages that this recipe has, in the order in which they run."""
        every = ("tag", "dedupe", "tokenizer", "mix", "tokens", "train", "eval")
        return tuple(name for name in every if getattr(self, name) is not None)
