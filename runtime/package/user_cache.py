"""The user's cache folder, where Triptych keeps what it can do without."""

import os
from pathlib import Path


def user_cache() -> Path:
    """`triptych` in the folder that `XDG_CACHE_HOME` names, by default `~/.cache`; it may not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return home / "triptych"
