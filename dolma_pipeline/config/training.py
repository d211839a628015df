"""The sections of a recipe that make a model and score it: `train`, `sft`, `dpo` and `eval`; see `config.recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from dolma_pipeline.config.keys import Key

Auto = Literal["auto"]
Schedule = Literal["linear", "cosine", "wsd", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """A stretch of training on parts of its own; what it leaves out is as `train` has it."""

    name: Annotated[str, Key(purpose="in metrics.jsonl and order.json", at_least=1)]
    tokens: Annotated[str, Key(purpose="section whose parts it reads", at_least=1)] = "tokens"
    max_tokens: Annotated[int, Key(purpose="when it ends, counted from its start", unit="tokens", at_least=2)]
    horizon_tokens: Annotated[
        int | None, Key(purpose="that its schedule is for; may be more", unit="tokens", derived="max_tokens")
    ] = None
    lr: Annotated[float | None, Key(purpose="peak learning rate", above=0, derived="train.lr")] = None
    warmup_steps: Annotated[
        int | None, Key(purpose="from its start", unit="steps", at_least=0, derived="train.warmup_steps")
    ] = None
    schedule: Annotated[Schedule | None, Key(purpose="of the learning rate", derived="train.schedule")] = None
    final_lr_share: Annotated[
        float | None, Key(purpose="of the peak, at the horizon", at_least=0, at_most=1, derived="train.final_lr_share")
    ] = None
    decay_share: Annotated[
        float | None, Key(purpose="wsd: of the horizon, the last", above=0, at_most=1, derived="train.decay_share")
    ] = None
    reset_optimizer: Annotated[bool, Key(purpose="begin with moments of zero")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A model to train on the shards."""

    objective: ClassVar[str] = "next_token"
    model: Annotated[str, Key(purpose="a named size; `list models` shows them", at_least=1)] = "tiny"
    shape: Annotated[Mapping[str, Any], Key(purpose="fields of that model's shape with other values")] = field(
        default_factory=dict
    )
    sequence_length: Annotated[int, Key(purpose="of one sequence", unit="tokens", at_least=2)] = 256
    batch_tokens: Annotated[int, Key(purpose="in one step, over all processes", unit="tokens", at_least=2)] = 4096
    max_tokens: Annotated[int, Key(purpose="when to stop; with stages their sum", unit="tokens", at_least=1)] = (
        1_000_000
    )
    order: Annotated[
        Literal["hashed", "olmo-core"], Key(purpose="of the sequences; olmo-core: as OLMo-core draws it from the seed")
    ] = "hashed"
    lr: Annotated[float, Key(purpose="peak learning rate", above=0)] = 3e-3
    weight_decay: Annotated[float, Key(purpose="of AdamW", at_least=0)] = 0.1
    weight_decay_on: Annotated[
        tuple[Literal["matrices", "embedding", "norms", "biases"], ...], Key(purpose="which parameters are decayed")
    ] = ("matrices",)
    beta1: Annotated[float, Key(purpose="of AdamW", at_least=0, below=1)] = 0.9
    beta2: Annotated[float, Key(purpose="of AdamW", at_least=0, below=1)] = 0.95
    eps: Annotated[float, Key(purpose="of AdamW", above=0)] = 1e-8
    max_grad_norm: Annotated[float, Key(purpose="gradients are scaled down to this norm", above=0)] = 1.0
    max_skipped_steps: Annotated[
        int, Key(purpose="in a row, with no finite gradient, end training", unit="steps", at_least=1)
    ] = 20
    grad_clip_warmup_steps: Annotated[
        int, Key(purpose="first steps, of which the norm may be larger", unit="steps", at_least=0)
    ] = 0
    grad_clip_warmup_factor: Annotated[
        float | None, Key(purpose="so many times max_grad_norm over these steps", above=0, derived="10")
    ] = None
    warmup_steps: Annotated[int, Key(purpose="until the peak learning rate", unit="steps", at_least=0)] = 30
    schedule: Annotated[Schedule, Key(purpose="of the learning rate after warmup")] = "linear"
    final_lr_share: Annotated[
        float | None,
        Key(purpose="of the peak, at the last step; not for constant", at_least=0, at_most=1, derived="0.1"),
    ] = None
    decay_share: Annotated[
        float | None,
        Key(purpose="wsd: of all steps, the last, in which the rate goes down", above=0, at_most=1, derived="0.1"),
    ] = None
    processes: Annotated[
        int | Auto, Key(purpose="of torchrun; auto: one a GPU, or one a core up to 2", unit="processes", at_least=1)
    ] = "auto"
    keep_last: Annotated[
        int | None, Key(purpose="so many checkpoints stay; null: all", unit="checkpoints", at_least=1)
    ] = None
    keep_every_steps: Annotated[
        int | None, Key(purpose="with `keep_last`: checkpoints of its multiples stay too", unit="steps", at_least=1)
    ] = None
    allow_older_checkpoint: Annotated[bool, Key(purpose="where the newest is damaged, go on from the one before")] = (
        False
    )
    precision: Annotated[Literal["fp32", "bf16"], Key(purpose="of the arithmetic; weights stay fp32")] = "fp32"
    loss_by_source: Annotated[
        bool, Key(purpose="metrics tell the loss of each source; takes 10 bytes of memory a document")
    ] = True
    eval_every_steps: Annotated[
        int | None, Key(purpose="save and score as `eval` says, while training", unit="steps", at_least=1)
    ] = None
    save_every_steps: Annotated[int, Key(purpose="between checkpoints", unit="steps", at_least=1)] = 100
    micro_batch_tokens: Annotated[
        int | Auto, Key(purpose="that a process computes at once; auto: by how many logits", unit="tokens", at_least=2)
    ] = "auto"
    activation_checkpointing: Annotated[
        Literal["none", "block"], Key(purpose="block: keep the input of each block and compute the rest again")
    ] = "none"
    compile: Annotated[bool, Key(purpose="blocks by torch.compile; minutes at the start, and a C++ compiler")] = False
    shard_over: Annotated[
        Literal["all", "node"], Key(purpose="processes that share one copy of the model; node: each node has a copy")
    ] = "all"
    checkpoints: Annotated[
        int | None, Key(purpose="one after each of so many equal pieces, not every save_every_steps", at_least=1)
    ] = None
    stages: Annotated[tuple[StageConfig, ...], Key(purpose="parts and schedules that follow each other")] = ()
    init_from: Annotated[
        str | None, Key(purpose="start from these weights: RUN@STEP, RUN, a Hugging Face folder", at_least=1)
    ] = None
    extend: Annotated[
        bool, Key(purpose="go on with the optimizer and the steps of `init_from`, as if that run had been longer")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateConfig:
    """How messages become text. EOS stands before a dialogue, and right behind the text of each answer."""

    system: Annotated[str, Key(purpose="around a system message")] = "<|system|>\n{content}\n"
    user: Annotated[str, Key(purpose="around a user's")] = "<|user|>\n{content}\n"
    assistant: Annotated[str, Key(purpose="around an answer, which alone is learned")] = "<|assistant|>\n{content}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig(TrainConfig):
    """Go on with a model on dialogues. Its shape is that of `init_from`; its length follows from the data."""

    objective: ClassVar[str] = "sft"
    # No keys of this section:
    model: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 1
    warmup_steps: int = 0
    stages: tuple[StageConfig, ...] = ()
    extend: bool = False
    loss_by_source: bool = False

    data: Annotated[
        tuple[str, ...], Key(purpose="JSONL of messages, or prompt and response; may be patterns", one_or_more=True)
    ]
    template: Annotated[TemplateConfig, Key(purpose="how messages become text", derived="as below")] = field(
        default_factory=TemplateConfig
    )
    epochs: Annotated[int, Key(purpose="how often each sequence is seen", at_least=1)] = 3
    sequence_length: Annotated[int, Key(purpose="longer dialogues are cut, shorter ones share one", at_least=2)] = 2048
    batch_tokens: Annotated[int, Key(purpose="in one step, over all processes", unit="tokens", at_least=2)] = 65_536
    lr: Annotated[float, Key(purpose="peak learning rate", above=0)] = 2e-5
    weight_decay: Annotated[float, Key(purpose="of AdamW", at_least=0)] = 0.0
    warmup_share: Annotated[float, Key(purpose="of all steps, until the peak rate", at_least=0, below=1)] = 0.03
    init_from: Annotated[
        str | None,
        Key(purpose="RUN@STEP, RUN or a Hugging Face folder", at_least=1, derived="the last step of `train`"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoConfig(SftConfig):
    """Go on with a model on pairs of answers, of which one is better (direct preference optimization)."""

    objective: ClassVar[str] = "dpo"
    data: Annotated[
        tuple[str, ...], Key(purpose="JSONL of prompt, chosen and rejected; may be patterns", one_or_more=True)
    ]
    epochs: Annotated[int, Key(purpose="how often each pair is seen", at_least=1)] = 1
    sequence_length: Annotated[int, Key(purpose="of one of the two; longer ones are cut", at_least=2)] = 2048
    lr: Annotated[float, Key(purpose="peak learning rate", above=0)] = 5e-7
    warmup_share: Annotated[float, Key(purpose="of all steps, until the peak rate", at_least=0, below=1)] = 0.1
    beta: Annotated[float, Key(purpose="how dear it is to leave the model that it starts from", above=0)] = 0.1
    label_smoothing: Annotated[
        float, Key(purpose="share of pairs that may be the wrong way round", at_least=0, below=0.5)
    ] = 0.0
    init_from: Annotated[
        str | None,
        Key(
            purpose="RUN@STEP, RUN or a Hugging Face folder", at_least=1, derived="the last step of `sft`, else `train`"
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What a trained model is scored on."""

    stages: Annotated[
        tuple[Literal["train", "sft", "dpo"], ...], Key(purpose="whose models: before and after each of these stages")
    ] = ("train",)
    held_out: Annotated[bool, Key(purpose="bits per byte of each source's held-out part, before and after")] = True
    tasks: Annotated[tuple[str, ...], Key(purpose="task files (YAML), or JSONL files of items")] = ()
    documents: Annotated[
        Mapping[str, tuple[str, ...]],
        Key(purpose="domain: JSONL files with `text`, for bits per byte by domain", one_or_more=True),
    ] = field(default_factory=dict)
    precision: Annotated[Literal["fp32", "bf16"], Key(purpose="of the arithmetic")] = "fp32"
