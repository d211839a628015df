"""What runs phases: in this process, on workers of this machine, on any Beam runner.

    engine    `Engine`, what all of them are          here   a plain loop; repeats things where tests ask for it
    local     Beam's embedded runner: in memory, or on forked workers under the watchdog
    beam      any other runner by name                chain  the Beam pipeline over phases
    elsewhere what runners need and are told          handshake, bringing  workers that see nothing of the launcher's
    progress  what people see; estimate: time left    reports, logs        what went wrong, and what was noted
    control   the folder by which launcher and workers of one machine talk; its queue of tasks, its logs

An engine asks nothing but `run.perform`: begin a phase, work on a task, end the phase. It never looks into files.
Beam is loaded when an engine that needs it has something to run.
"""

from dolma_pipeline.engines.engine import Engine, Say
from dolma_pipeline.engines.here import Here

__all__ = ["Engine", "Here", "Say"]
