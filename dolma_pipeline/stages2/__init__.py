"""What each stage does: phases and consumers over the types of `run`, without Beam. Importing this registers all."""

from dolma_pipeline.run.stage import register
from dolma_pipeline.stages2.dedupe.stage import DedupeStage
from dolma_pipeline.stages2.index import IndexStage
from dolma_pipeline.stages2.judged import JudgeStage
from dolma_pipeline.stages2.mix.stage import MixStage, VerdictStage
from dolma_pipeline.stages2.model import EvalStage, TrainStage
from dolma_pipeline.stages2.tag import TagStage
from dolma_pipeline.stages2.tokenizer import TokenizerStage
from dolma_pipeline.stages2.tokens.stage import TokensStage

for _stage in (
    IndexStage(),
    TagStage(),
    JudgeStage(),
    DedupeStage(),
    VerdictStage(),
    TokenizerStage(),
    MixStage(),
    TokensStage(),
    TrainStage(),
    EvalStage(),
):
    register(_stage)
