"""Shared fixtures. `data` is the folder of real data with known answers; tests that use it skip where it is absent."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import orjson
import pytest
import zstandard

from dolma_pipeline import assets
from dolma_pipeline.kernels.compiled import Compiled

os.environ.update(
    # No test asks a cloud, nor a machine's metadata address: whoever looks for credentials finds these.
    AWS_ACCESS_KEY_ID="dummy-key-id",
    AWS_SECRET_ACCESS_KEY="dummy-secret-that-no-file-may-hold",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_METADATA_ENDPOINT="http://127.0.0.1:9",
    GOOGLE_SERVICE_ACCOUNT_KEY=json.dumps(
        {
            "gcs_base_url": "http://127.0.0.1:9",
            "disable_oauth": True,
            "client_email": "",
            "private_key": "dummy-secret-that-no-file-may-hold",
            "private_key_id": "",
        }
    ),
    GCE_METADATA_HOST="127.0.0.1:9",
    NO_GCE_CHECK="true",
    AZURE_STORAGE_ACCOUNT_NAME="account",
    AZURE_STORAGE_ACCOUNT_KEY="ZHVtbXktc2VjcmV0LXRoYXQtbm8tZmlsZS1tYXktaG9sZA==",
)

# No test is of timing: on a busy machine the first example may take seconds.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_compiled = Compiled()
with _compiled.locked(wait=lambda: None):
    _compiled.remove_stale()  # else a kernel would be tested with functions of other files as they once were


@pytest.fixture(scope="session")
def data() -> Path:
    """The development data: $DOLMA_PIPELINE_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("DOLMA_PIPELINE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "README.md").exists():
        pytest.skip("the development data is not here; set DOLMA_PIPELINE_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def all_texts(data: Path) -> list[str]:
    """Every text of the data's documents/ and quality/."""
    texts = []
    for path in [*sorted((data / "documents").glob("*/*")), data / "quality" / "quality.jsonl.gz"]:
        raw = path.read_bytes()
        zst = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        plain = gzip.decompress(raw) if path.suffix == ".gz" else zst.read()
        texts += [orjson.loads(line)["text"] for line in plain.splitlines()]
    assert len(texts) == 9_981 + 612
    return texts


@pytest.fixture(autouse=True)
def _own_assets() -> Iterator[None]:
    """Steps that run in a test's process read models from their run's folder; no other test does."""
    with assets.folder_restored():
        yield
