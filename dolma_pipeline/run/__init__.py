"""What a run is: a value that travels, its artifacts, and the phases that make them. No Beam, and no stage.

run        `Run`, a recipe in a folder                 process    `Process`, what one worker process keeps
layout     every name in a run's folder                artifact   `Artifact`, what is made or redone as a whole
shards     the run's list of shards, streamed          manifests  finished artifacts: a list of records, a manifest
phase      `Phase`, `Task`, `Work`                     records    done records: what is done of unfinished work
consumer   `Consumer`, what wants text                 reading    one reading of a shard for all who want its text
stage      `Stage` and the registry                    planner    from what is left to phases in order
perform    a task done, a phase begun and ended        log        segments of logs
columns    what there is beside the text               fetch      `Fetch`, rows of documents by their origins
"""
