"""Runners by name: where their workers are, what they must be told, and what we tell them unless a recipe does.

Nothing here asks a service; what only a service knows (permissions, quotas, machine types) it says itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dolma_pipeline.errors import UsageError

DATAFLOW = "DataflowRunner"
HERE = ("DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner", "TestDirectRunner", "FnApiRunner")
"""Runners whose workers are in this process, or are started by it."""
HERE_TOO = ("PrismRunner", "InteractiveRunner")
"""Runners of this machine that are programs of their own."""

NEEDED_BY_DATAFLOW = {
    "project": "the project that pays",
    "region": "where workers are; the bucket of `output` should be there, too",
    "temp_location": "gs://…, for the service's own files",
    "sdk_container_image": "the workers' image, made by pipelines/Dockerfile",
}
SET_FOR_DATAFLOW = {
    "experiments": "use_runner_v2",  # the only one that runs images with other programs in them
    "sdk_location": "container",  # Beam is in the image: nothing is installed when a worker starts
    "number_of_worker_harness_threads": "1",  # processes give the parallelism: one a core stays
}
BASE_BYTES = 1_000_000_000
"""What a process holds before it sees a text, and some room: `max_memory` is what its work may take."""


def class_name(runner: str) -> str:
    """A runner's class, as Beam finds it by a name in any case, with or without `Runner`, or by module and class."""
    last = runner.rpartition(".")[2]
    from apache_beam.options.pipeline_options import StandardOptions

    names = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    return names.get(last.lower()) or names.get(f"{last.lower()}runner") or last


def given_options(options: Sequence[str]) -> dict[str, str]:
    """Option -> its value, of what was written as on a command line; "" for those without."""
    found: dict[str, str] = {}
    name = ""
    for one in options:
        if one.startswith("--"):
            name, _, value = one[2:].partition("=")
            found[name] = value
        elif name:
            found[name] = one
    return found


def is_here(runner: str, options: Sequence[str]) -> bool:
    """Whether the workers of a runner see this machine's disk for certain: they are processes of it."""
    if runner == "local" or class_name(runner) in (*HERE, *HERE_TOO):
        return True
    return given_options(options).get("environment_type", "").upper() == "LOOPBACK"


def check_needed(runner: str, options: Sequence[str]) -> None:
    """Refuse to start what a service would refuse minutes later.

    Raises:
        UsageError: an option is missing that Dataflow cannot do without, or its client is not installed.
    """
    if class_name(runner) != DATAFLOW:
        return
    given = given_options(options)
    missing = [name for name in NEEDED_BY_DATAFLOW if not given.get(name)]
    if missing:
        lines = "".join(f"\n  {name}: {NEEDED_BY_DATAFLOW[name]}" for name in missing)
        raise UsageError(f"{DATAFLOW} needs {', '.join(missing)}. Add to `beam` (or as --name=value):{lines}")
    if not given["temp_location"].startswith("gs://"):
        raise UsageError(f"temp_location is {given['temp_location']}; {DATAFLOW} needs a folder in a bucket: gs://…")


def completed(runner: str, options: Sequence[str]) -> list[str]:
    """Options as given, and those that a runner needs to work as it should, where they were not given."""
    if class_name(runner) != DATAFLOW:
        return list(options)
    given = given_options(options)
    more = [f"--{name}={value}" for name, value in SET_FOR_DATAFLOW.items() if name not in given]
    if not given.keys() & {"save_main_session", "no_save_main_session"}:
        more.append("--no_save_main_session")  # nothing of the launcher's main module is needed
    if "use_runner_v2" not in given.get("experiments", "use_runner_v2"):
        more.append("--experiments=use_runner_v2")  # beside those that were given: the option adds up
    return [*options, *more]


def hints_for(runner: str, *, max_memory: int) -> Mapping[str, str]:
    """Resource hints of Beam's for steps that work: what one process needs, where the service chooses machines.

    max_memory: bytes, of the recipe.
    """
    return {"min_ram": f"{max_memory + BASE_BYTES}B"} if class_name(runner) == DATAFLOW else {}


def advice(runner: str, options: Sequence[str]) -> list[str]:
    """What a run may lack though it would start; a sentence each."""
    given = given_options(options)
    if is_here(runner, options) or class_name(runner) == DATAFLOW or given.get("job_endpoint") == "embed":
        return []
    if "sdk_worker_parallelism" in given:
        return []
    return [
        f"sdk_worker_parallelism is not set, so {class_name(runner)} starts one worker process a node, which works on "
        "one task at a time. Set it to the number of task slots (cores) of a node."
    ]
