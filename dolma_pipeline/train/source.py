"""A model to start from: what `init_from` names, what it must have in common with what is trained. Does not load torch.

`RUN@STEP` is a checkpoint of a run, `RUN` its last one; RUN is the folder that holds `train`. A folder with config.json
and safetensors is a model in the files of Hugging Face. Weights count by their digest, never by their path: a run
that was copied elsewhere is the same model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import digest, pretty
from dolma_pipeline.io.paths import expanded, sha256_file
from dolma_pipeline.storage.inputs import is_url
from dolma_pipeline.train.commit import file_record, read_commit
from dolma_pipeline.train.files import Settings, committed_steps, read_settings, step_folder
from dolma_pipeline.train.hugging_face.shape_read import differing, shape_of
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import Shape, spec_of

_AT = re.compile(r"(.+)@(\d+)")
SPECIAL = "special_tokens.json"
"""Beside a tokenizer that has no manifest; see `kept_special_tokens`."""
_FREE = ("vocab_size", "sequence_length")
"""Fields of a shape that are no shape: the vocabulary has a message of its own; positions have no weights."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model to start from.

    folder: of the run, or of a model in the files of Hugging Face. step: of the checkpoint; there 0. model: its shape.
    eos_id: the id that ends documents. settings: that it was trained with; None for one of Hugging Face.
    """

    folder: Path
    step: int
    model: Shape
    eos_id: int
    settings: Settings | None = None

    @property
    def weights(self) -> str:
        """Digest of the checkpoint's files, the optimizer's state with them; or of all safetensors, which are read."""
        if self.settings is None:
            return digest({path.name: sha256_file(path) for path in sorted(self.folder.glob("*.safetensors"))})
        return checkpoint_digest(step_folder(self.folder, self.step))

    @property
    def tokenizer(self) -> Path:
        """Where its tokenizer is, if it has one."""
        return self.folder / ("tokenizer.json" if self.settings is None else "tokenizer/tokenizer.json")

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Tokens that its recipe names as special ones, beside those that its tokenizer.json marks."""
        path = self.tokenizer.parent / "manifest.json"
        if self.settings is None:
            return ()
        if not path.is_file():
            return kept_special_tokens(self.folder)
        return tuple(json.loads(path.read_bytes())["config"]["tokenizer.special_tokens"])


def keep_special_tokens(run_dir: Path, tokens: Sequence[str]) -> None:
    """Write what `kept_special_tokens` reads."""
    paths.write_bytes(run_dir / "tokenizer" / SPECIAL, pretty([*tokens]))


def kept_special_tokens(run_dir: Path) -> tuple[str, ...]:
    """In the folder of a stage that goes on with a model: the tokens that the first recipe named as special ones.

    Beside a tokenizer of a run its manifest tells; here there is none, as the tokenizer is the model's.
    """
    path = run_dir / "tokenizer" / SPECIAL
    return tuple(json.loads(path.read_bytes())) if path.is_file() else ()


def find_source(named: str) -> Source:
    """What `init_from` names.

    Raises:
        UsageError: no such folder, or it has no such checkpoint; says which there are.
        DataError: a config.json of a model that cannot be read.
    """
    if is_url(named):
        raise UsageError(
            f"{named}: a model to start from is read from this machine's disk. Copy its folder here (of a run: "
            "train/config.json, train/step-… and tokenizer), and name the copy."
        )
    match = _AT.fullmatch(named)
    folder, wanted = Path(expanded(match[1] if match else named)), int(match[2]) if match else None
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder. Write the folder of a run, or RUN@STEP.")
    if wanted is None and (folder / "config.json").is_file():
        return _of_hugging_face(folder)
    steps = committed_steps(folder)
    if not steps:
        raise UsageError(f"{folder}: has no checkpoint (train/step-*/commit.json). Write the folder of a trained run.")
    if wanted is not None and wanted not in steps:
        raise UsageError(f"{folder}: no checkpoint of step {wanted}. There are: {', '.join(map(str, steps))}.")
    try:
        settings = read_settings(folder)
    except RunError as error:
        raise UsageError(str(error)) from error
    step = steps[-1] if wanted is None else wanted
    return Source(folder, step, settings.model, settings.eos_id, settings)


def _of_hugging_face(folder: Path) -> Source:
    place = folder / "config.json"
    content = json.loads(place.read_bytes())
    model, eos_id = shape_of(content, str(place)), content.get("eos_token_id")
    if not isinstance(eos_id, int):
        raise UsageError(f"{place}: eos_token_id is {eos_id!r}, expected the id that ends documents.")
    return Source(folder, 0, model, eos_id)


def checkpoint_digest(folder: Path) -> str:
    """A digest over the files of a checkpoint, as its commit tells of them; of an earlier version's they are read."""
    files = read_commit(folder).files
    if files is None:
        names = sorted(path for path in (folder / "model_and_optim").rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): file_record(path) for path in names}
    return digest({name: record["sha256"] for name, record in files.items()})


def check_fit(source: Source, model: Shape, *, named: str) -> None:
    """Raises UsageError if a model's weights do not fit a shape; it names what differs.

    Those of Hugging Face may have more ids, above those of their tokenizer.

    Args:
        named: what the model is called, such as `runs/base@200`.
    """
    if source.settings is not None:
        check_shape(source.model, model, named=named)
    elif differences := differing(source.model, model):
        raise UsageError(f"the weights of {named} are of another shape: {'; '.join(differences)}.")
    elif source.model.vocab_size < model.vocab_size:
        raise UsageError(f"{named} has {source.model.vocab_size} ids, here there are {model.vocab_size}.")


def check_shape(source: Shape, model: Shape, *, named: str) -> None:
    """The same of two shapes of ours, whose rows must be as many, too."""
    if source.vocab_size != model.vocab_size:
        raise UsageError(
            f"{named} was trained with a vocabulary of {source.vocab_size} ids, here there are {model.vocab_size}. "
            "Load its tokenizer (tokenizer.load)."
        )
    ours, theirs = _fields(model), _fields(source)
    names = [name for name in {**theirs, **ours} if name not in _FREE and ours.get(name) != theirs.get(name)]
    if names:
        found = "; ".join(f"{name} {theirs.get(name)} there, {ours.get(name)} here" for name in names)
        raise UsageError(f"the weights of {named} are of another shape: {found}. Choose the same model.")


def _fields(model: Shape) -> dict[str, Any]:
    """All that decides which weights there are, and what they do; the padding of the vocabulary as its size."""
    found = {"architecture": spec_of(model).name, **asdict(model)}
    if isinstance(model, ModelConfig):
        found["padding_rows"] = model.num_rows - model.vocab_size
        del found["rows_multiple"]
    return found


def check_tokenizer(source: Path, own: str, *, named: str) -> None:
    """Raises UsageError if a model's tokenizer.json is another one: an id must mean what it meant.

    Args:
        source: of the model that is started from; where there is no such file, nothing is compared.
        own: hex sha256 of the run's own. named: what the model is called.
    """
    if source.is_file() and (theirs := sha256_file(source)) != own:
        raise UsageError(
            f"{named} was trained with another tokenizer: sha256 {theirs[:12]} there, {own[:12]} here. "
            f"Write tokenizer.load: {source}"
        )
