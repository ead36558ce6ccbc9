"""The commands, one module per row of `help`. Importing this registers them."""

from vfs_db.shell.commands import changing, host, looking, store, the_shell

__all__ = ["changing", "host", "looking", "store", "the_shell"]
