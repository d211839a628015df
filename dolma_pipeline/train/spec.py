"""What the trainer and the evals need to know of an architecture, and the table of those that there are.

An architecture is one `ModelSpec`: the dataclass of its shapes, shapes that have names, how a model is built of one,
what part each parameter plays, and which modules FSDP shards by themselves. Nobody else knows its classes. Ours,
`decoder`, stands in `presets.py`, `shape.py` and `model.py`; others come from a module that a recipe names. Plain data;
does not load torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from dolma_pipeline.config.keys import fields_of
from dolma_pipeline.config.typed import build_value
from dolma_pipeline.config.yaml import Located
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.registry import YOUR_OWN, keep_registry, running_file

if TYPE_CHECKING:
    from torch import nn

    from dolma_pipeline.train.language_model import LanguageModel

USUAL_VOCABULARY = 50_280
"""Sizes are told at this many entries, OLMo's vocabulary, unless a preset has one of its own."""

Kind = Literal["matrices", "embedding", "norms", "biases"]
"""What a parameter is, as `train.weight_decay_on` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What part a parameter plays in training.

    Args:
        kind: decides whether it is decayed (`train.weight_decay_on`). An embedding that is the output too is one.
        mean: of its first values.
        std: of its first values, which are drawn from a normal distribution; 0: all are `mean`.
        cut: first values lie within this many `std` of `mean`; None: wherever.
        rate_scale: its learning rate is this share of the schedule's.
    """

    kind: Kind
    std: float
    mean: float = 0.0
    cut: float | None = None
    rate_scale: float = 1.0


class Shape(Protocol):
    """A shape of an architecture: a frozen dataclass.

    `vocab_size` and `sequence_length` come from the data; every other field is annotated with a `Key`, and is a key of
    `train.shape`. What does not fit together is a `UsageError` of its `__post_init__`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def vocab_size(self) -> int:
        """Ids of the tokenizer, so logits of a position."""

    @property
    def sequence_length(self) -> int:
        """Positions that the model is trained on."""

    @property
    def num_parameters(self) -> int:
        """All parameters, by arithmetic; what is built must have as many."""

    @property
    def flops_per_token(self) -> float:
        """Of a training step, forward and backward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """An architecture.

    Args:
        name: of the architecture, as `train/config.json` keeps it.
        config: the dataclass of its shapes (`Shape`).
        presets: name, as `train.model` gives it -> the fields that do not come from the data.
        vocabularies: name of a preset -> vocabulary at which its size is told; `USUAL_VOCABULARY` where it has none.
        build: a model of a shape, on torch's default device; its first values do not matter.
        role: of the parameter of this name, in a model of this shape.
        blocks: modules of a model that are gathered one at a time when it is sharded, in the order in which they run.
        declared_in: the module that registers it; filled in.
    """

    name: str
    config: Callable[..., Shape]
    presets: Mapping[str, Mapping[str, Any]]
    build: Callable[[Any], LanguageModel]
    role: Callable[[str, Any], Role]
    blocks: Callable[[Any], Iterable[nn.Module]]
    vocabularies: Mapping[str, int] = field(default_factory=dict)
    declared_in: str = field(default_factory=running_file)


MODELS: dict[str, ModelSpec] = {}
"""Every architecture of this process, by name."""
keep_registry(MODELS)


def register_model(spec: ModelSpec) -> ModelSpec:
    """Make an architecture known.

    Raises:
        UsageError: its name, its class of shapes or the name of one of its presets is another one's.
    """
    for other in MODELS.values():
        clashes = {
            f"architecture '{spec.name}'": other.name == spec.name,
            f"{spec.config!r}, the shapes of '{spec.name}',": other.config is spec.config,
            **{f"model '{preset}'": True for preset in sorted(other.presets.keys() & spec.presets.keys())},
        }
        if what := next((what for what, clash in clashes.items() if clash), None):
            raise UsageError(f"{what} is registered twice: by '{other.name}' already. Rename yours.")
    MODELS[spec.name] = spec
    return spec


def spec_named(name: str) -> ModelSpec:
    """The architecture of this name.

    Raises:
        UnknownNameError: no such architecture is registered.
    """
    if name not in MODELS:
        raise UnknownNameError("architecture", name, MODELS, hint=f"Your own: {YOUR_OWN}.")
    return MODELS[name]


def spec_of(config: Shape) -> ModelSpec:
    """The architecture that a shape is one of."""
    return next(spec for spec in MODELS.values() if spec.config is type(config))


def spec_for(model: str) -> ModelSpec:
    """The architecture that has a preset of this name, as `train.model` gives it.

    Raises:
        UnknownNameError: no such preset; it says which exist.
    """
    known = {preset: spec for spec in MODELS.values() for preset in spec.presets}
    if model not in known:
        raise UnknownNameError("model", model, known, hint="It is set by train.model.")
    return known[model]


def model_config(name: str, *, vocab_size: int, sequence_length: int, shape: Mapping[str, Any] | None = None) -> Shape:
    """The shape that `train.model` and `train.shape` stand for, over a vocabulary and a window.

    Args:
        name: of a preset. shape: fields that differ from it.

    Raises:
        UnknownNameError: no preset, or no field, of that name; it says which exist.
        ConfigError: a field's value of the wrong type, or out of bounds.
        UsageError: fields that do not fit each other.
    """
    spec = spec_for(name)
    keys = [one.yaml_name for one in fields_of(spec.config)]  # type: ignore[arg-type]
    given = dict(spec.presets[name])
    for key, value in (shape or {}).items():
        if key not in keys:
            hint = "It comes from the data." if key in ("vocab_size", "sequence_length") else ""
            raise UnknownNameError(f"field of '{name}' in train.shape", key, keys, hint=hint)
        given[key] = build_value(spec.config, key, _located(value))  # type: ignore[arg-type]
    return spec.config(vocab_size=vocab_size, sequence_length=sequence_length, **given)


def _located(value: Any) -> Located:
    """As if it stood in a recipe; for messages."""
    return Located(value, "train.shape", text=str(value).lower() if isinstance(value, bool) else str(value))
