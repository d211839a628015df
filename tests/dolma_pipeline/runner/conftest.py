"""The tiny corpus and a finished run over it."""

from tests.pipeline.tiny import copied as copied
from tests.pipeline.tiny import corpus as corpus
from tests.pipeline.tiny import finished as finished
from tests.pipeline.tiny import here as here
from tests.pipeline.tiny import plain as plain
