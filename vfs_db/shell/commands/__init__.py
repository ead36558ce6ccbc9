"""The commands. Importing this registers them, in the order in which `help` lists them."""

from vfs_db.shell.commands import ls, places, content, searching, changing, moving, host, store, the_shell  # isort: skip

__all__ = ["changing", "content", "host", "ls", "moving", "places", "searching", "store", "the_shell"]
