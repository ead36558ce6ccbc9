"""Notes with attachments in one filesystem: a note and its files appear together or not at all.

python examples/attachments.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping

import vfs_db


def add_note(fs: vfs_db.DatabaseVFS, title: str, text: str, attachments: Mapping[str, bytes]) -> None:
    """Store a note under /notes/TITLE in one commit. Raises FileExistsError if there is one."""
    with fs.transaction():
        fs.makedirs("notes", exist_ok=True)
        fs.dir_create(f"notes/{title}")
        fs.write_text(f"notes/{title}/note.md", text, encoding="utf-8")
        for name, data in attachments.items():
            fs.file_create(f"notes/{title}/{name}")
            fs.file_write(f"notes/{title}/{name}", data)


def attachments_of(fs: vfs_db.DatabaseVFS, title: str) -> dict[str, int]:
    """Return the size of each attachment, in bytes, by name."""
    return {entry.name: entry.stat().st_size for entry in fs.scandir(f"notes/{title}") if entry.name != "note.md"}


def main(folder: str) -> None:
    """Add a note, fail to add one with a bad attachment, and show what is there."""
    with vfs_db.open(folder) as fs:
        add_note(fs, "garden", "The plan, and a photo.", {"plan.txt": b"beans, peas", "photo.jpg": bytes(200_000)})
        try:
            add_note(fs, "broken", "Never seen.", {"good.txt": b"x", "a/b": b"no such folder"})
        except FileNotFoundError as error:
            print(f"refused: {error}")
        print("notes:", [entry.name for entry in fs.scandir("notes")])
        print("attachments:", attachments_of(fs, "garden"))
        fs.write_text("notes/garden/note.md", "The plan, and a better photo.", encoding="utf-8")
        print("versions of the note:", len(fs.history("notes/garden/note.md")))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
