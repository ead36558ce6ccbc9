"""Moving things about: cp mv rm ln."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vfs_db.entries import Directory, FSEntry, Symlink
from vfs_db.shell.listing import as_given
from vfs_db.shell.registry import Namespace, Parser, command
from vfs_db.shell.session import Session, UsageError

__all__: list[str] = []


def _operands(parser: Parser) -> None:
    parser.flag("-f --force", "force", "replace without asking")
    parser.flag("-i --interactive", "ask", "ask before replacing (as it does on a terminal)")
    parser.flag("-n --no-clobber", "no_clobber", "replace nothing")
    parser.flag("-v --verbose", "verbose", "print what is done")
    parser.flag("-T --no-target-directory", "no_folder", "TARGET is the new name itself, even if it is a folder")
    parser.add_argument(
        "-t", "--target-directory", dest="folder", metavar="FOLDER", help="the target, before the sources"
    )
    parser.add_argument("operands", metavar="SOURCE... TARGET", nargs="+")


def _cp_arguments(parser: Parser) -> None:
    parser.flag("-r -R -a --recursive --archive", "recursive", "folders with all that is in them; links stay links")
    parser.flag("-p", "preserve", "nothing: modes, owners and times are always kept")
    _operands(parser)


def _destinations(session: Session, options: Namespace, name: str) -> list[tuple[str, str]]:
    """Return (source, where it goes), as they were given: into the target if that is a folder, else under its name."""
    operands: list[str] = options.operands + ([] if options.folder is None else [options.folder])
    *sources, target = operands
    if not sources:
        raise UsageError(f"{name}: missing destination after '{target}'")
    if not options.no_folder and session.fs.is_dir(session.path(target)):
        return [(one, f"{target.rstrip('/')}/{one.rstrip('/').rpartition('/')[2]}") for one in sources]
    if len(sources) > 1 or options.folder is not None:
        raise UsageError(f"{name}: target '{target}' is not a directory")
    return [(sources[0], target)]


def _may_replace(session: Session, source: str, target: str, options: Namespace) -> bool:
    """Say whether *source* may take the place of what is at *target*; asks on a terminal."""
    if not session.fs.exists(session.path(target)):
        return True
    if options.no_clobber:
        return False
    if options.force or isinstance(session.fs.get(session.path(target)), Directory):
        return True
    return session.confirm(f"replace '{target}' with '{source}'?", can_be_undone=True)


def _transfer(session: Session, options: Namespace, name: str) -> None:
    """Copy or move each source; one that fails is reported."""
    done = []
    for source, target in _destinations(session, options, name):
        try:
            old = session.path(source) if name == "mv" else session.source(source)
            entry = session.fs.get(old)
        except FileNotFoundError as error:
            session.report(f"{name}: cannot stat '{session.shown(source)}': {error.strerror}")
            continue
        with _telling(session, entry, source, target, name):
            if _is_refused(session, entry, source, target, options, name):
                continue
            if not _may_replace(session, source, target, options):
                continue
            lines: list[str] = []
            if name == "mv":
                session.fs.move(old, session.path(target))
                lines.append(f"renamed '{session.shown(source)}' -> '{session.shown(target)}'")
            else:
                lines += _lines_of_copy(session, source, target) if options.verbose else []
                _copy(session, entry, old, session.path(target), options)
            done.append({"from": old, "to": session.path(target)})
            if options.verbose:
                session.tell(lines)
    if session.as_json:
        session.value(done)


def _lines_of_copy(session: Session, source: str, target: str) -> list[str]:
    """Return a line for each entry that the copy will make or replace."""
    old, new = session.source(source), session.path(target)
    lines = []
    for found, entry in session.fs.find(old):
        made = new + found[len(old) :]
        if not (isinstance(entry, Directory) and session.fs.is_dir(made)):
            shown = as_given(source, old, found), as_given(target, new, made)
            lines.append(" -> ".join(f"'{session.shown(path)}'" for path in shown))
    return lines


@contextmanager
def _telling(session: Session, entry: FSEntry, source: str, target: str, name: str) -> Iterator[None]:
    """Report an OSError in the with-block as coreutils says it, and go on with the next source."""
    is_folder = isinstance(entry, Directory)
    old, new = f"'{session.shown(source)}'", f"'{session.shown(target)}'"
    with session.reporting(name):
        try:
            yield
        except OSError as error:
            if error.errno == errno.EINVAL and is_folder:
                tried = (
                    f"move {old} to a subdirectory of itself, {new}",
                    f"copy a directory, {old}, into itself, {new}",
                )
                raise OSError(f"cannot {tried[name == 'cp']}") from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY):
                made = "directory" if is_folder else "regular file"
                tried = (f"move {old} to {new}", f"create {made} {new}")
                raise OSError(f"cannot {tried[name == 'cp']}: {error.strerror}") from error
            raise


def _is_refused(session: Session, entry: FSEntry, source: str, target: str, options: Namespace, name: str) -> bool:
    """Report what cannot be done, as coreutils says it."""
    is_folder = isinstance(entry, Directory)
    there = session.fs.get(session.path(target)) if session.fs.exists(session.path(target)) else None
    if name == "cp" and is_folder and not options.recursive:
        session.report(f"cp: -r not specified; omitting directory '{session.shown(source)}'")
    elif there is not None and there.metadata.id == entry.metadata.id:
        session.report(f"{name}: '{session.shown(source)}' and '{session.shown(target)}' are the same file")
    elif is_folder and there is not None and not isinstance(there, Directory):
        what = f"'{session.shown(target)}' with directory '{session.shown(source)}'"
        session.report(f"{name}: cannot overwrite non-directory {what}")
    elif not is_folder and isinstance(there, Directory):
        what = f"'{session.shown(target)}' with non-directory"
        session.report(f"{name}: cannot overwrite directory {what}")
    elif not is_folder and there is None and target.endswith("/"):
        verb = f"cannot move '{session.shown(source)}' to" if name == "mv" else "cannot create regular file"
        session.report(f"{name}: {verb} '{session.shown(target)}': Not a directory")
    else:
        return False
    return True


def _copy(session: Session, entry: FSEntry, source: str, target: str, options: Namespace) -> None:
    if isinstance(entry, Symlink) and not options.recursive:
        source = session.fs.get_followed(source).get_path()
    if isinstance(entry, Directory) and session.fs.is_dir(target):
        session.fs.copy_into(source, target)
    else:
        session.fs.copy(source, target)


@command("cp", "copy files, or folders with -r", _cp_arguments, examples=["cp -r docs copy", "cp *.txt docs"])
def cp(session: Session, options: Namespace) -> None:
    _transfer(session, options, "cp")


@command("mv", "move or rename", _operands, examples=["mv *.txt docs"])
def mv(session: Session, options: Namespace) -> None:
    _transfer(session, options, "mv")


def _rm_arguments(parser: Parser) -> None:
    parser.flag("-r -R --recursive", "recursive", "folders with all that is in them")
    parser.flag("-f --force", "force", "do not ask; what is missing is fine")
    parser.flag("-i --interactive", "ask", "ask before removing (as it does on a terminal)")
    parser.flag("-v --verbose", "verbose", "print what is done")
    parser.flag("-d --dir", "empty", "empty folders too")
    parser.add_argument("paths", metavar="PATH", nargs="*")


@command("rm", "remove files and links, or folders with -r", _rm_arguments, examples=["rm -rf docs"])
def rm(session: Session, options: Namespace) -> None:
    if not options.paths and not options.force:
        raise UsageError("rm: missing operand")
    if not options.force and not _is_confirmed(session, options):
        return
    removed = []
    for path in options.paths:
        if path.rstrip("/").rpartition("/")[2] in (".", ".."):
            session.report(f"rm: refusing to remove '.' or '..' directory: skipping '{session.shown(path)}'")
            continue
        with session.failing(f"rm: cannot remove '{session.shown(path)}'"):
            try:
                lines = _lines_of_removal(session, path) if options.verbose else []
                _rm(session, path, options)
            except FileNotFoundError:
                if options.force:
                    continue
                raise
            removed.append({"path": session.path(path)})
            session.tell(lines)
    if session.as_json:
        session.value(removed)


def _is_confirmed(session: Session, options: Namespace) -> bool:
    """Ask once for all that is there."""
    there = [path for path in options.paths if path and session.fs.exists(session.path(path))]
    if not there:
        return True
    what = f"'{there[0]}'" if len(there) == 1 else f"'{there[0]}' and {len(there) - 1} more"
    has_folder = any(isinstance(session.fs.get(session.path(path)), Directory) for path in there)
    below = " and all that is in it" if options.recursive and has_folder else ""
    return session.confirm(f"remove {what}{below}?", can_be_undone=True)


def _lines_of_removal(session: Session, path: str) -> list[str]:
    """Return a line for each entry at and below *path*, a folder's after those in it."""
    full = session.path(path)
    return [
        f"removed {'directory ' if isinstance(entry, Directory) else ''}'{session.shown(as_given(path, full, found))}'"
        for found, entry, _ in session.fs.usage(full)
    ]


def _rm(session: Session, path: str, options: Namespace) -> None:
    full = session.path(path)
    entry = session.fs.get(full)
    if isinstance(entry, Directory) and options.recursive:
        session.fs.remove_tree(full)
    elif isinstance(entry, Directory) and not options.empty:
        raise IsADirectoryError(21, "Is a directory", path)
    else:
        session.fs.delete(full)


def _ln_arguments(parser: Parser) -> None:
    parser.flag("-s --symbolic", "symbolic", "needed: there are no other links here")
    parser.flag("-f --force", "force", "replace a file or link")
    parser.flag("-n --no-dereference", "no_follow", "a link to a folder is replaced, not entered")
    parser.flag("-v --verbose", "verbose", "print what is done")
    parser.add_argument("operands", metavar="TARGET... [LINK]", nargs="+")


@command("ln", "make symbolic links", _ln_arguments, examples=["ln -s docs/a.txt latest"])
def ln(session: Session, options: Namespace) -> None:
    if not options.symbolic:
        raise UsageError("ln: there are no hard links here; give -s")
    *targets, place = options.operands if len(options.operands) > 1 else [*options.operands, "."]
    full = session.path(place)
    is_folder = session.fs.is_dir(full) and not (options.no_follow and session.fs.is_symlink(full))
    if len(targets) > 1 and not is_folder:
        raise UsageError(f"ln: target '{place}' is not a directory")
    made = []
    for target in targets:
        shown = f"{place.rstrip('/')}/{target.rstrip('/').rpartition('/')[2]}" if is_folder else place
        with session.failing(f"ln: failed to create symbolic link '{session.shown(shown)}'"):
            link = session.path(shown)
            with session.fs.transaction():
                if options.force and session.fs.exists(link):
                    session.fs.file_delete(link)
                session.fs.link_create(target, link)
            made.append({"path": link, "target": target})
            if options.verbose:
                session.tell([f"'{session.shown(shown)}' -> '{session.shown(target)}'"])
    if session.as_json:
        session.value(made)
