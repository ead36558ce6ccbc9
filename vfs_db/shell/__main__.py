"""`python -m vfs_db.shell`."""

import sys

from vfs_db.shell import main

if __name__ == "__main__":
    sys.exit(main())
