"""The two hubs that carry the release, each through its own client.

Neither client is needed to speak; who pulls installs one. Knows nothing of what the files are.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        with _asked("Hugging Face"):
            info = self._client.HfApi().model_info(
                self._release, revision=self._revision, files_metadata=True
            )
        # Whatever happens on the hub meanwhile, what is fetched is what was listed.
        self._revision = info.sha
        return [Listed(f.rfilename, f.size, f.lfs.sha256 if f.lfs else "") for f in info.siblings]

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Resumes parts of files that lie in the folder."""
        if not paths:
            return
        with _asked("Hugging Face"):
            self._client.snapshot_download(
                self._release,
                revision=self._revision,
                allow_patterns=list(paths),
                local_dir=str(folder),
            )


class ModelScope:
    """ModelScope, by ``modelscope_hub``: the client beneath ``modelscope``, which tells hashes."""

    def __init__(self, release: str = RELEASE, revision: str | None = None) -> None:
        self._client = _client("modelscope_hub", "modelscope-hub")
        self._release, self._revision = release, revision or "master"

    def files(self) -> Sequence[Listed]:
        """What the revision holds."""
        with _asked("ModelScope"):
            found = self._client.HubApi().list_repo_files(
                self._release, "model", revision=self._revision
            )
        return [Listed(f.path, f.size, f.sha256 or "") for f in found]

    def fetch(self, paths: Sequence[str], folder: Path) -> None:
        """Resumes parts of files that lie in the folder."""
        if not paths:
            return
        with _asked("ModelScope"):
            self._client.HubApi().download_repo(
                self._release,
                "model",
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


@contextmanager
def _asked(hub: str) -> Iterator[None]:
    """Whatever goes wrong on the way to a hub, said in one line; what was fetched stays."""
    try:
        yield
    except Exception as err:  # each client has errors of its own, with no common root
        raise BadModel(
            f"{hub} did not give the files ({type(err).__name__}: {err}): call again, which goes on"
            f" where this ended, or take another hub: {', '.join(HUBS)}"
        ) from err


def _client(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise BadModel(f"to fetch from this hub, install its client: {package}") from err
