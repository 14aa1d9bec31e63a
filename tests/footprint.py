"""What lies in a folder, so that two moments can be compared."""

from __future__ import annotations

from pathlib import Path


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below *folder*: mode, time of change and bytes. A folder's time tells of passing files."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }
