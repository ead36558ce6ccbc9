"""Pack a folder into an OurDB-backed filesystem, list it, and unpack it by another process; nothing is lost.

    python examples/pack_tree.py [TREE [IMAGE]]

Without TREE it takes Python's own standard library. IMAGE is the folder of the filesystem; without it a temporary one
is used and removed at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import vfs_db


def main() -> int:
    """Do what the command line says; 0 if the tree came back unchanged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", metavar="TREE", nargs="?", type=Path)
    parser.add_argument("image", metavar="IMAGE", nargs="?", type=Path)
    parser.add_argument("--unpack-to", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.unpack_to is not None:
        unpack(options.image, options.unpack_to)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        tree = options.tree or standard_library(Path(scratch, "lib"))
        image = options.image or Path(scratch, "image")
        pack(tree, image)
        show(image)
        out = Path(scratch, "out")
        sys.stdout.flush()
        command = [sys.executable, __file__, str(tree), str(image), "--unpack-to", str(out)]
        subprocess.run(command, check=True)
        return compare(tree, out)


def standard_library(destination: Path) -> Path:
    """Copy Python's standard library, without what was installed into it, and return the copy."""
    source = os.path.dirname(os.__file__)
    shutil.copytree(source, destination, symlinks=True, ignore=shutil.ignore_patterns("site-packages", "dist-packages"))
    return destination


def pack(tree: Path, image: Path) -> None:
    """Import *tree* as /tree of the filesystem in folder *image*: one commit, whole or not at all."""
    start = time.perf_counter()
    with vfs_db.open(image) as fs:
        fs.import_tree(tree, "/tree")
    print(f"packed {tree} into {image} in {time.perf_counter() - start:.1f} s")


def show(image: Path) -> None:
    """List the first entries, and count all."""
    with vfs_db.open(image, read_only=True) as fs:
        entries = fs.dir_list("/tree")
        for entry in entries[:10]:
            metadata = entry.get_metadata()
            print(f"  {metadata.mode:o} {metadata.size:>8} {entry.get_path()}{'/' if entry.is_dir() else ''}")
        if len(entries) > 10:
            print(f"  and {len(entries) - 10} more")
        folders = files = size = 0
        for path, names, file_names in fs.walk("/tree"):
            folders += len(names)
            files += len(file_names)
            size += sum(fs.lstat(f"{path}/{name}").st_size for name in file_names)
    print(f"{files} files, {folders} folders, {size:,} bytes")


def unpack(image: Path, out: Path) -> None:
    """Export /tree of the filesystem in folder *image* to the new folder *out*."""
    with vfs_db.open(image) as fs:
        fs.export_tree("/tree", out)
    print(f"process {os.getpid()} opened {image} and unpacked it")


def compare(tree: Path, out: Path) -> int:
    """Run `diff -r` and return its status: 0 if it had nothing to say."""
    status = subprocess.run(["diff", "-r", "--no-dereference", str(tree), str(out)], check=False).returncode
    print("diff -r: no difference" if status == 0 else "diff -r: the trees differ")
    return status


if __name__ == "__main__":
    sys.exit(main())
