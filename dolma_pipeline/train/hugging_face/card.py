"""README.md of an exported model, from what the run's folder knows. Does not load torch.

Nothing in it is judged or rounded up, and nothing differs between equal runs. A licence is not among what a run knows,
so none is given, and the card says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from dolma_pipeline.config.keys import fields_of
from dolma_pipeline.io.manifest import made_by
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.hugging_face.shape import CLASSES, OWN, Form, num_parameters_there
from dolma_pipeline.train.hugging_face.tokenizer import Ends

_OWN_NAMES = f"""\
The tensors have the names of dolma_pipeline, and no class of transformers is named: `config.json` says
`model_type: {OWN}`, with the architecture and its shape. `train.init_from` and
`dolma_pipeline.train.hugging_face.read.read_hf` read it; `AutoModel` does not.
"""


def card(
    folder: RunFolder, settings: Settings, *, step: int, content: Mapping[str, Any], ends: Ends, inside: str = ""
) -> str:
    """The card's text.

    Args:
        folder: of the run. settings: that it was trained with. step: that is exported. content: of `config.json`.
        ends: of the tokenizer. inside: `sft/` or `dpo/`, the folder of a stage that went on with a model; else "".
    """
    model_type = content["model_type"]
    commit = orjson.loads(folder.read(f"{inside}train/step-{step:06d}/commit.json"))
    form: Form = "safetensors" if model_type == OWN else "hf"
    num_parameters = num_parameters_there(settings.model, form=form)
    lines = [
        "---",
        *(["library_name: transformers", "pipeline_tag: text-generation"] if model_type != OWN else []),
        "tags: [dolma-pipeline]",
        "---",
        "",
        f"# {folder.url.rstrip('/').rpartition('/')[2]}, {inside.replace('/', ', ')}step {step:,}",
        "",
        f"{_model(settings, num_parameters, commit['tokens'])} "
        f"The weights are {content['torch_dtype']}, exported by dolma-pipeline {made_by()['dolma_pipeline']}.",
        "",
        *_use(model_type, ends, content),
        "## Licence",
        "",
        "None is given: neither the recipe nor the run names one. Who publishes this model has to, and the licences of "
        "the sources below bear on it.",
        "",
        "## Data",
        "",
        *(_examples(folder, inside) if inside else _data(settings, _read(folder, "tokens/manifest.json"))),
        "## Training",
        "",
        *_table(("setting", "value"), [(f"`{key}`", f"`{value}`") for key, value in _told(settings)]),
    ]
    if scores := _scores(_read(folder, f"{inside}eval/step-{step:06d}.json")):
        lines += ["## Scores", "", *scores]
    if (recipe := _text(folder, "recipe.yaml")) is not None:
        lines += ["## Recipe", "", "```yaml", recipe.rstrip("\n"), "```", ""]
    return "\n".join(lines)


def _model(settings: Settings, num_parameters: int, num_tokens: int) -> str:
    """What it is, and what it started from, if it went on with a model."""
    config, init = settings.train, settings.init
    if init is None or config.model:
        return f"A decoder of shape `{config.model}`, {num_parameters:,} parameters, trained on {num_tokens:,} tokens."
    start = f"`{config.init_from}`" if init.inside is None else f"`{init.inside or 'train'}` of the same run"
    learned = {"sft": "dialogues (SFT)", "dpo": "pairs of answers (DPO)"}[config.objective]
    return (
        f"A decoder, {num_parameters:,} parameters. It went on from step {init.step:,} of {start} with {learned}, "
        f"{num_tokens:,} tokens."
    )


def _examples(folder: RunFolder, inside: str) -> Iterator[str]:
    """What a stage that went on with a model trained on."""
    found = _read(folder, f"{inside}data/examples.json")
    if found is None:
        yield from ("The run's folder no longer holds the examples, so nothing is known of them.", "")
        return
    yield from (f"Digest of the examples: `{found['dataset']}`. Digests (sha256) of their files:", "")
    yield from (*(f"- `{sha256}`" for sha256 in found["data"]), "")
    yield from _table(("of them", "number"), [(name, f"{number:,}") for name, number in found["counts"].items()])


def _use(model_type: str, ends: Ends, content: Mapping[str, Any]) -> Iterator[str]:
    """How it is loaded, and what that does not tell."""
    if model_type == OWN:
        yield from (_OWN_NAMES, "")
    else:
        yield f"It is `{CLASSES[model_type]}` of transformers; `AutoModelForCausalLM` and `AutoTokenizer` load it."
    yield f"Documents end with `{ends.eos}` (id {content['eos_token_id']}); in training it stood before the next, too."
    if ends.adds:
        yield (
            f"The tokenizer puts {', '.join(f'`{token}`' for token in ends.adds)} around a text; in training it did "
            "not. Give `add_special_tokens=False`."
        )
    yield ""


def _data(settings: Settings, tokens: Mapping[str, Any] | None) -> Iterator[str]:
    yield f"Digest of the token parts: `{settings.dataset}`."
    if tokens is None or tokens.get("dataset") != settings.dataset:
        yield "The run's folder no longer holds these parts, so their sources are not known."
        yield ""
        return
    yield f"Digest of the tokenizer: `{tokens['tokenizer']}`, {tokens['vocab_size']:,} tokens."
    yield ""
    counts = tokens["counts"]["train"]
    total = counts["tokens"]
    rows = [
        (source, f"{counts['documents_by_source'][source]:,}", f"{number:,}", f"{number / total:.2%}")
        for source, number in counts["tokens_by_source"].items()
    ]
    yield from _table(("source", "documents", "tokens", "share"), rows)


def _told(settings: Settings) -> list[tuple[str, Any]]:
    content, config = settings.as_dict(), settings.train
    section = "train" if config.objective == "next_token" else config.objective
    known = {field.yaml_name for field in fields_of(type(config))}
    return [
        *((f"{section}.{key}", value) for key, value in content["train"].items() if key in known),
        ("seed", settings.seed),
        *((f"model.{key}", value) for key, value in content["model"].items()),
    ]


def _scores(found: Mapping[str, Any] | None) -> list[str]:
    """Tables of what was scored; empty where nothing was."""
    if found is None:
        return []
    held_out = [
        (source, f"{row['bits_per_byte']:.4f}", f"{row['num_documents']:,}")
        for source, row in found.get("held_out", {}).items()
    ]
    tasks = [
        (task, metric, f"{value:.4f}")
        for task, row in found.get("tasks", {}).items()
        for metric, value in row.items()
        if isinstance(value, float)
    ]
    return [
        *(_table(("held-out documents of", "bits per byte", "documents"), held_out) if held_out else []),
        *(_table(("task", "metric", "value"), tasks) if tasks else []),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _text(folder: RunFolder, name: str) -> str | None:
    return None if folder.stat(name) is None else folder.read(name).decode()


def _read(folder: RunFolder, name: str) -> dict[str, Any] | None:
    text = _text(folder, name)
    return None if text is None else orjson.loads(text)
