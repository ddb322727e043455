"""Files from the Hugging Face Hub: a pinned revision, fetched once, and without any network from then on.

Only the files that are asked for by name are ever fetched. Knows nothing of what is in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from negopt.errors import ModelError


@dataclass(frozen=True)
class Pinned:
    """One commit of a Hub repository."""

    repository: str
    """owner/name"""
    revision: str
    """The commit, whole or its first seven digits; a branch's name is pinned to nothing, and taken as it is today."""

    def folder(self, *names: str) -> Path:
        """The folder that holds these files; raises `ModelError` if they are neither in the cache nor to be had."""
        files = [self.file(name) for name in names]
        return files[0].parent

    def file(self, name: str) -> Path:
        """One file; raises `ModelError`."""
        from huggingface_hub import hf_hub_download

        try:
            commit = self.commit()
            try:
                return Path(hf_hub_download(self.repository, name, revision=commit, local_files_only=True))
            except Exception:  # not in the cache; each version raises its own classes
                return Path(hf_hub_download(self.repository, name, revision=commit))
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"{self.repository}/{name}: neither in the cache nor to be had from the Hugging Face Hub ({reason})"
            ) from error

    def commit(self) -> str:
        """The whole name of the commit, for the Hub takes no short ones; or the branch's. Raises whatever the Hub's
        library raises, and `ModelError` where there is no such commit."""
        if not re.fullmatch("[0-9a-f]{7,39}", self.revision):
            return self.revision
        from huggingface_hub import HfApi, constants
        from huggingface_hub.file_download import repo_folder_name

        cache = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.repository, repo_type="model")
        for snapshot in sorted((cache / "snapshots").glob(f"{self.revision}*")):
            return snapshot.name
        for commit in HfApi().list_repo_commits(self.repository):
            if commit.commit_id.startswith(self.revision):
                return commit.commit_id
        raise ModelError(f"it has no commit {self.revision}")


def pinned(name: str) -> Pinned:
    """What "owner/name" or "owner/name@revision" means."""
    repository, _, revision = name.partition("@")
    return Pinned(repository, revision or "main")
