"""Beam's own job server in a process of its own: its jobs go on when their launcher is gone.

serve_jobs.py        prints host:port when it serves
"""

from __future__ import annotations

import signal

from apache_beam.runners.portability.local_job_service import LocalJobServicer

server = LocalJobServicer()
print(f"127.0.0.1:{server.start_grpc_server(0)}", flush=True)
signal.pause()
