"""Resident memory of this process, now and at its peak."""

from pathlib import Path

import psutil

_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5)


def resident_bytes() -> int:
    """Resident memory of this process, files mapped by it included."""
    return int(psutil.Process().memory_info().rss)


def reset_peak() -> bool:
    """Reset the peak to the memory that is resident now; False where the system cannot (Linux can)."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """Peak of resident memory since the start or `reset_peak`; None where the system does not report it."""
    return _status_bytes("VmHWM")


def anonymous_bytes(process: int | str = "self") -> int | None:
    """Resident memory without pages of files, which can be reclaimed; None where the system does not report it."""
    return _status_bytes("RssAnon", process)


def _status_bytes(field: str, process: int | str = "self") -> int | None:
    try:
        lines = Path("/proc", str(process), "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)
