"""The whole pipeline without training, on at least 200 MB: speed, Beam's share of it, two workers, memory.

Every run is a process of its own that starts with compiled kernels, and pays for its imports and models. CPU time
is that of the process and its workers. The recipe is `RECIPE`: the built-in taggers (language on the first 2,000
characters, phone numbers of the US), exact and near duplicates, a tokenizer that is given, mix, tokens.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import environments
import samples
from rows import Row

RECIPE = """\
name: bench
output: {output}
sources:
{sources}
tag:
  taggers:
    - language_v1
    - gopher_v1
    - c4_v1
    - {{tagger: pii_v1, phone_regions: [US]}}
    - length_v1
dedupe:
  steps:
    - {{name: exact, kind: exact}}
    - {{name: minhash, kind: minhash}}
tokenizer: {{load: {tokenizer}}}
mix:
  where:
    english: language_v1.en >= 0.5 OR source = 'code'
    words: gopher_v1.word_count BETWEEN 50 AND 100000
    pii: len(pii_v1.email) + len(pii_v1.phone) + len(pii_v1.ip) <= 5
    unique: exact.keep AND minhash.keep
  replace:
    - {{spans: pii_v1.email, with: " |||EMAIL_ADDRESS||| "}}
    - {{spans: pii_v1.phone, with: " |||PHONE_NUMBER||| "}}
    - {{spans: pii_v1.ip, with: " |||IP_ADDRESS||| "}}
  held_out: {{share: 0.01, max_tokens: 100k}}
tokens: {{}}
"""

TRAINED_MB = 10  # of text, for the tokenizer where none is given
SHARDS, TIMES = 4, 8  # memory is compared between so many shards and so many times as many


def recipe(folder: Path, name: str, sources: Mapping[str, Sequence[str]]) -> Path:
    """The recipe `folder/name.yaml`, whose run goes to `folder/name`."""
    lines = [f"  {source}: {{documents: {[str(Path(p).resolve()) for p in sources[source]]}}}" for source in sources]
    path = folder / f"{name}.yaml"
    given = (folder / "tokenizer.json").resolve()
    path.write_text(RECIPE.format(output=folder / name, sources="\n".join(lines), tokenizer=given))
    return path


def run(folder: Path, name: str, sources: Mapping[str, Sequence[str]], *, how: str, workers: int = 1) -> dict[str, Any]:
    """One run from nothing: `cpu_s`, `wall_s`, `peak_mb` (the largest process), `kept_mb`, `tokens`."""
    made = recipe(folder, name, sources)
    shutil.rmtree(folder / name, ignore_errors=True)
    found = environments.measure("run_once.py", how, made, workers)
    shutil.rmtree(folder / name)
    return found


def measure(work: Path, sources: Mapping[str, Sequence[str]]) -> list[Row]:
    """The rows of whole runs."""
    folder = work / "whole_run"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = samples.tokenizer(folder / "made.json", samples.draw(samples.read(sources), TRAINED_MB))
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    environments.measure("run_once.py", "warm")
    mb = sum(len(text.text.encode()) for text in samples.read(sources)) / 1e6
    beam = run(folder, "beam", sources, how="beam")
    plain = run(folder, "plain", sources, how="plain")
    two = run(folder, "two", sources, how="beam", workers=2)
    few, many = ({"code": sources["code"][: SHARDS * times]} for times in (1, TIMES))
    small, large = (run(folder, "memory", some, how="beam") for some in (few, many))
    idle, copy = (environments.measure("run_once.py", how, recipe(folder, "idle", few)) for how in ("idle", "copy"))
    peaks = {"1x_shards": len(few["code"]), "8x_shards": len(many["code"])}
    return [
        _speed(mb, beam, plain),
        _beam_share(mb, beam, plain),
        Row(
            name="two_workers",
            text_mb=mb,
            ours=mb / two["wall_s"],
            peer=mb / beam["wall_s"],
            peer_name="one worker, in memory",
            unit="MB of text per second",
            at_least=1.6,
            more={"cpu_s": two["cpu_s"], "peak_mb": two["peak_mb"]},
        ),
        Row(
            name="memory_8x_shards",
            text_mb=large["text_mb"],
            ours=large["peak_mb"],
            peer=small["peak_mb"],
            peer_name="an eighth of the shards",
            unit="MB of memory at most",
            at_most=1.25,
            more=peaks,
        ),
        Row(
            name="worker_before_text",
            text_mb=0,
            ours=copy["own_mb"],
            peer=idle["peak_mb"],
            peer_name="the only worker",
            unit="MB of memory of its own, one of several",
            more={"with_its_share_of_what_is_common": copy["share_mb"]},
        ),
    ]


def _speed(mb: float, beam: Mapping[str, Any], plain: Mapping[str, Any]) -> Row:
    more = {name: beam[name] for name in ("cpu_s", "wall_s", "peak_mb", "kept_mb", "tokens")}
    return Row(
        name="whole_run",
        text_mb=mb,
        ours=mb / beam["cpu_s"],
        peer=None,
        peer_name="",
        unit="MB of text per core-second",
        at_least=8,
        more={**more, "plain": mb / plain["cpu_s"], "cpu_s_by_step": beam["cpu_s_by_step"]},
    )


def _beam_share(mb: float, beam: Mapping[str, Any], plain: Mapping[str, Any]) -> Row:
    share = 1 - plain["cpu_s"] / beam["cpu_s"]
    return Row(
        name="beam_share",
        text_mb=mb,
        ours=100 * share,
        peer=None,
        peer_name="",
        unit="% of CPU time over the same functions called plainly",
        at_most=5,
        more={"beam_cpu_s": beam["cpu_s"], "plain_cpu_s": plain["cpu_s"]},
    )
