"""Downloads from the hub: the files that an export needs, and no others."""

from collections.abc import Sequence
from pathlib import Path

from triptych.runtime.errors import SourceError

from .folder import SUFFIXES, Folder, no_variant, weights_patterns


def fetch(hub_id: str, revision: str | None, patterns: list[str]) -> Path:
    """Download the files that match the patterns, and return their folder in the cache, which is named for the commit.

    Raises:
        SourceError: no such repository, or no network and files are missing from the cache.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises its own, requests', httpx' and OSError
        reason = " ".join(str(error).split())
        raise SourceError(f"{hub_id} is not a folder here and cannot be fetched from the hub: {reason}") from error


def fetch_components(hub_id: str, commit: str, components: Sequence[str], variant: str | None) -> Path:
    """Download what an export reads of these components; where one lacks the variant, its plain weights.

    Raises:
        SourceError: see `fetch`; or no component has the variant.
    """
    files = ["scheduler/*", "tokenizer*/*", *(f"{name}/config.json" for name in components)]
    folder, lacking = fetch(hub_id, commit, files), list(components)
    for kind in dict.fromkeys((variant, None)):
        for suffix in SUFFIXES:
            patterns = weights_patterns(kind, suffix)
            fetch(hub_id, commit, [f"{name}/{pattern}" for name in lacking for pattern in patterns])
            lacking = [name for name in lacking if not Folder(folder / name, hub_id).has(kind)]
            if not lacking:
                return folder
        if kind is not None and len(lacking) == len(components):
            raise no_variant(hub_id, kind, _names(hub_id, commit, folder))
    return folder


def _names(hub_id: str, commit: str, folder: Path) -> list[str]:
    """The files of a repository; without network, those in the cache."""
    from huggingface_hub import HfApi

    try:
        return HfApi().list_repo_files(hub_id, revision=commit)
    except Exception:  # as in `fetch`
        return [str(file) for file in folder.rglob("*")]
