"""The mixes of CrystalCoder's second and third stage; `crystalcoder-7b.yaml` names this file, its first is `mix`."""

from __future__ import annotations

from dolma_pipeline.stages.mix.named import register_mix

register_mix("second", tokens="tokens_second")
register_mix("third", tokens="tokens_third")
