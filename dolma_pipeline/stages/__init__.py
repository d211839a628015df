"""The stages as plain functions of shards: read, process, write, leave a done record.

No Beam here: `transforms` wires these steps, tests and small work call them as they are (`step.run_here`).
"""
