"""Where files are: run folders, a worker's own disk, inputs. The only package that opens files.

inputs    the one way in for what a run reads; schemes: object_inputs, web (and web_requests), hub, other_schemes
copies    inputs in scratch, without a name          aws_profiles   credentials of ~/.aws
folder    `RunFolder`, what a run's folder can do; `run_folder(url)` opens one
local     a folder of this machine          memory   a folder in this process, for tests and notebooks
objects   a folder on s3, gs or az; its parts are object_bucket, _client, _faults, _files, _names
committed a file while it is written: hashed on the way, seen by nobody before it is whole
names     which names there can be               faults    what a disk refuses, in one sentence
scratch   this process's own disk space              mapped    a file in memory, not kept open
shared    files that all processes of a machine fetch once
"""
