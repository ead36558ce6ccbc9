"""Pack a folder into a filesystem, list it, unpack it in another process, and compare; nothing is lost.

    python examples/pack_tree.py [TREE [IMAGE]]

Without TREE: Python's own standard library. IMAGE: the filesystem's folder; without it, one that is removed at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

import vfs_db

UNPACK = "import sys, vfs_db; vfs_db.open(sys.argv[1], read_only=True).export_tree('/tree', sys.argv[2])"


def standard_library(destination: str) -> str:
    """Copy Python's standard library, without what was installed into it, and return the copy."""
    ignored = shutil.ignore_patterns("site-packages", "dist-packages")
    return shutil.copytree(os.path.dirname(os.__file__), destination, symlinks=True, ignore=ignored)


def pack(tree: str, image: str) -> None:
    """Import *tree* as /tree of the filesystem in folder *image*, in one commit; list what is there."""
    with vfs_db.open(image) as fs:
        fs.import_tree(tree, "/tree")
        for entry in fs.dir_list("/tree")[:10]:
            print(f"  {entry.metadata.mode:o} {entry.metadata.size:>8} {entry.get_path()}{'/' * entry.is_dir()}")
        entries = [entry for _, entry in fs.find("/tree")]
    folders = sum(entry.is_dir() for entry in entries) - 1
    size = sum(len(entry.target) if isinstance(entry, vfs_db.Symlink) else entry.metadata.size for entry in entries)
    print(f"{len(entries) - folders - 1} files, {folders} folders, {size:,} bytes packed from {tree} into {image}")


def unpack(image: str, out: str) -> None:
    """Let a process that knows only the image's folder unpack it into the new folder *out*."""
    subprocess.run([sys.executable, "-c", UNPACK, image, out], check=True)


def main(tree: str | None = None, image: str | None = None) -> int:
    """Pack, unpack, and return what `diff -r` says: 0 if it found no difference."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, image = tree or standard_library(f"{scratch}/lib"), image or f"{scratch}/image"
        pack(tree, image)
        unpack(image, f"{scratch}/out")
        status = subprocess.run(["diff", "-r", "--no-dereference", tree, f"{scratch}/out"], check=False).returncode
    print("diff -r: no difference" if status == 0 else "diff -r: the trees differ")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
