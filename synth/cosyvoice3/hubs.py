"""The two hubs that carry the release, each through its own client.

Neither client is needed to speak; who pulls installs one. Knows nothing of what the files are.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import BadModel
from .release import RELEASE, Hub, Listed


class HuggingFace:
    """Hugging Face, by ``huggingface_hub``."""

    def __init__(self, release: str = RELEASE, revision: str | None = None) -> None:
        self._client = _client("huggingface_hub", "huggingface-hub")
        self._release, self._revision = release, revision

    def files(self) -> Sequence[Listed]:
        """What the revision holds."""
        info = self._client.HfApi().model_info(
            self._release, revision=self._revision, files_metadata=True
        )
        # Whatever happens on the hub meanwhile, what is fetched is what was listed.
        self._revision = info.sha
        return [Listed(f.rfilename, f.size, f.lfs.sha256 if f.lfs else "") for f in info.siblings]

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Resumes parts of files that lie in the folder."""
        if paths:
            self._client.snapshot_download(
                self._release,
                revision=self._revision,
                allow_patterns=list(paths),
                local_dir=str(folder),
            )


class ModelScope:
    """ModelScope, by ``modelscope``."""

    def __init__(self, release: str = RELEASE, revision: str | None = None) -> None:
        self._client = _client("modelscope", "modelscope")
        self._api = _client("modelscope.hub.api", "modelscope")
        self._release, self._revision = release, revision or "master"

    def files(self) -> Sequence[Listed]:
        """What the revision holds."""
        found = self._api.HubApi().get_model_files(
            self._release, revision=self._revision, recursive=True
        )
        return [Listed(f["Path"], f["Size"], f.get("Sha256") or "") for f in found]

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Resumes parts of files that lie in the folder."""
        if paths:
            self._client.snapshot_download(
                self._release,
                revision=self._revision,
                allow_patterns=list(paths),
                local_dir=str(folder),
            )


HUBS: dict[str, type[HuggingFace] | type[ModelScope]] = {
    "huggingface": HuggingFace,
    "modelscope": ModelScope,
}


def named(name: str, revision: str | None = None) -> Hub:
    """A hub by its name; BadModel for a name there is none of."""
    if name not in HUBS:
        raise BadModel(f"there is no hub {name}: {', '.join(HUBS)}")
    return HUBS[name](revision=revision)


def _client(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise BadModel(f"to fetch from this hub, install its client: {package}") from err
