"""A disk of a few MiB for one child process: a tmpfs in a namespace of its own, where the system allows that."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path


def on_small_disk(folder: Path, size: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run *command* where *folder* is an empty disk of *size* ("4m")."""
    script = 'mount -t tmpfs -o size="$1" none "$0" || exit 77; shift; exec "$@"'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, str(folder), size, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@functools.cache
def may_mount() -> bool:
    """Say whether `on_small_disk` works here."""
    if shutil.which("unshare") is None:
        return False
    script = "mount -t tmpfs none /tmp"
    return subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, check=False).returncode == 0
