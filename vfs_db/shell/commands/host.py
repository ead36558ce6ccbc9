"""To and from the host: put get lcd lpwd lls !command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from vfs_db.entries import Directory
from vfs_db.shell.progress import Progress
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session, UsageError

__all__: list[str] = []

_PIECE = 1 << 20


def _put_arguments(parser: Parser) -> None:
    parser.add_argument("-r", dest="recursive", action="store_true", help="folders with all that is in them")
    parser.add_argument("-f", dest="force", action="store_true", help="replace files without asking")
    parser.add_argument("sources", metavar="LOCAL", nargs="+", help="- is standard input")
    parser.add_argument("target", metavar="DEST")


@command("put", "copy from the host: into DEST if it is a folder, else under that name", _put_arguments)
def put(session: Session, options: Namespace) -> None:
    target = session.path(options.target)
    into = session.fs.is_dir(target)
    if not into and (len(options.sources) > 1 or options.target.endswith("/")):
        raise UsageError(f"put: target '{options.target}' is not a directory")
    # One transaction: an interrupted put leaves nothing of itself.
    with session.fs.transaction(), Progress("put", sum(_host_size(one) for one in options.sources)) as progress:
        for source in options.sources:
            name = os.path.basename(os.path.abspath(source))
            _put(session, source, f"{target.rstrip('/')}/{name}" if into else target, options, progress)


def _host_size(path: str) -> int:
    """Return the bytes at *path*, for the bar only; nothing where nobody looks at it."""
    if not sys.stderr.isatty():
        return 0
    if not os.path.isdir(path):
        return os.path.getsize(path) if os.path.exists(path) else 0
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _put(session: Session, source: str, target: str, options: Namespace, progress: Callable[[str, int], None]) -> None:
    if source == "-":
        with session.fs.open(target, "wb") as file:
            while piece := sys.stdin.buffer.read(_PIECE):
                file.write(piece)
        return
    if os.path.isdir(source):
        if not options.recursive:
            raise IsADirectoryError(21, "Is a directory; give -r", source)
        session.fs.import_tree(source, target, progress)
        return
    if session.fs.lexists(target) and not options.force and not session.confirm(f"replace '{session.shown(target)}'?"):
        return
    status = os.stat(source)
    with open(source, "rb") as local, session.fs.open(target, "wb") as file:
        while piece := local.read(_PIECE):
            file.write(piece)
            progress(source, len(piece))
    session.fs.chmod(target, status.st_mode & 0o7777)
    session.fs.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    progress(source, 0)


def _get_arguments(parser: Parser) -> None:
    parser.add_argument("-r", dest="recursive", action="store_true", help="folders with all that is in them")
    parser.add_argument("-f", dest="force", action="store_true", help="replace files")
    parser.add_argument("sources", metavar="PATH", nargs="+")
    parser.add_argument("target", metavar="LOCAL", help="- is standard output")


@command("get", "copy to the host: into LOCAL if it is a folder, else under that name", _get_arguments)
def get(session: Session, options: Namespace) -> None:
    if options.target == "-":
        for source in options.sources:
            with session.fs.open(session.path(source), "rb") as file:
                while piece := file.read(_PIECE):
                    session.write(piece)
        return
    into = os.path.isdir(options.target)
    if not into and len(options.sources) > 1:
        raise UsageError(f"get: target '{options.target}' is not a directory")
    with Progress("get") as progress:
        for source in options.sources:
            entry = session.fs.get_followed(session.path(source))
            name = entry.get_metadata().name
            if into and (not name or name in (".", "..") or os.sep in name):
                raise UsageError(f"get: '{source}' has no name of its own; name the target")
            _get(session, source, os.path.join(options.target, name) if into else options.target, options, progress)


def _get(session: Session, source: str, local: str, options: Namespace, progress: Callable[[str, int], None]) -> None:
    path = session.path(source)
    entry = session.fs.get_followed(path)
    if isinstance(entry, Directory):
        if not options.recursive:
            raise IsADirectoryError(21, "Is a directory; give -r", source)
        session.fs.export_tree(path, local, progress)
        return
    if os.path.lexists(local) and not options.force:
        if not session.is_interactive:
            raise FileExistsError(17, "File exists; give -f to replace it", local)
        if not session.confirm(f"replace '{local}'?"):
            return
    partial = f"{local}.part-{os.getpid()}"
    try:
        with session.fs.open(path, "rb") as file, open(partial, "xb") as out:
            while piece := file.read(_PIECE):
                out.write(piece)
                progress(source, len(piece))
        metadata = entry.get_metadata()
        os.chmod(partial, metadata.mode & 0o777)
        os.utime(partial, (metadata.accessed_at, metadata.modified_at))
        os.replace(partial, local)  # whole or not at all
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    progress(source, 0)


def _folder_argument(parser: Parser) -> None:
    parser.add_argument("path", metavar="FOLDER", nargs="?")


@command("lcd", "change the host's current folder", _folder_argument)
def lcd(session: Session, options: Namespace) -> None:
    os.chdir(options.path or os.path.expanduser("~"))


@command("lpwd", "print the host's current folder")
def lpwd(session: Session, options: Namespace) -> None:
    session.print(os.getcwd())


@command("lls", "list a folder of the host", _folder_argument)
def lls(session: Session, options: Namespace) -> None:
    for name in sorted(os.listdir(options.path or ".")):
        session.print(session.shown(name))


def _command_argument(parser: Parser) -> None:
    parser.add_argument("command", metavar="COMMAND")


@command("!", "run a command of the host", _command_argument)
def bang(session: Session, options: Namespace) -> int:
    session.output.flush()
    return subprocess.run(options.command, shell=True, check=False).returncode and 1  # noqa: S602 - that is what is asked for
