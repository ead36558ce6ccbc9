"""`python -m ourdb COMMAND PATH …`: look at a database, mend it, copy it.

Exit status: 0, 1 (failed; for `check` and `dump` also: something is damaged), 2 (usage). `repair` has done its work with
status 0, whatever was lost before: what it prints names each id whose record is gone. A reader of the output that goes
away ends the command without a word, with status 1; Ctrl-C does so with 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Final

import ourdb
from ourdb import console
from ourdb.errors import CorruptRecord, OurDBError, SnapshotOvertaken
from ourdb.location import split
from ourdb.progress import Progress, Work, records_in

__all__ = ["main"]

_Command = Callable[[argparse.Namespace], int]
_CTRL_C: Final = 130
_COMMANDS: Final[dict[str, tuple[_Command, Callable[[argparse.ArgumentParser], None]]]] = {}


def _command(add_arguments: Callable[[argparse.ArgumentParser], None]) -> Callable[[_Command], _Command]:
    def register(function: _Command) -> _Command:
        _COMMANDS[function.__name__.rstrip("_").replace("_command", "")] = function, add_arguments
        return function

    return register


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError(
            "it is empty; give a folder's path"
        )  # else `data` of this folder would be read
    return text


def _nothing(_parser: argparse.ArgumentParser) -> None:
    """The command takes PATH only."""


def _an_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=int)


def _an_id_and_depth(parser: argparse.ArgumentParser) -> None:
    _an_id(parser)
    parser.add_argument("-n", "--depth", type=int, default=10, help="at most so many versions (10)")


def _id_or_new(text: str) -> int | None:
    return None if text == "new" else int(text)


_id_or_new.__name__ = "id"  # what argparse calls it in its message


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", metavar="ID", nargs="?", type=_id_or_new, help="`new` or nothing for a new record in incremental mode"
    )
    parser.add_argument("--data", help="the data as text; without it, standard input is read")


def _destination(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dest", metavar="DEST", type=_path)


def _drop_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drop-history", action="store_true", help="keep the newest version of each record only")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dest", metavar="DEST", nargs="?", type=_path, help="folder for `data` and `.inc`")
    parser.add_argument("--sparse", action="store_true", help="only the slots in use")
    parser.add_argument(
        "--for-original",
        action="store_true",
        help="write PATH/lookup_dump.db, which the original loads when it opens PATH",
    )


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", type=_path, help="folder with `data` and `.inc`")
    parser.add_argument("--sparse", action="store_true", help="the table has only the slots in use")


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("record-nr-max", "record-size-max", "file-size", "keysize"):
        parser.add_argument(f"--{name}", type=int, help="as the folder was made with; needed if lookup/.ourdb is lost")
    parser.add_argument("--key-value", action="store_true", help="the folder is not in incremental mode")


@_command(_nothing)
def stats(arguments: argparse.Namespace) -> int:
    """Print counts and sizes."""
    with ourdb.new(arguments.path, read_only=True) as db:
        figures = db.stats()
    if arguments.json:
        console.print_json(figures)
    else:
        width = max(map(len, figures))
        for name, value in figures.items():
            console.print_text(f"{name:{width}}  {value}")
    return 0


@_command(_an_id)
def get(arguments: argparse.Namespace) -> int:
    """Write a record's data to standard output, byte for byte."""
    with ourdb.new(arguments.path, read_only=True) as db:
        data = db.get(arguments.id)
    if arguments.json:
        console.print_json({"id": arguments.id, "size": len(data), "hex": data.hex()})
    else:
        console.write(data)
    return 0


@_command(_data)
def set_command(arguments: argparse.Namespace) -> int:
    """Store a record and print its id."""
    data = os.fsencode(arguments.data) if arguments.data is not None else console.read()
    with ourdb.new(_existing(arguments.path)) as db:
        record_id = db.set(data=data, id=arguments.id)
    if arguments.json:
        console.print_json({"id": record_id, "size": len(data)})
    else:
        console.print_text(str(record_id))
    return 0


@_command(_an_id)
def delete(arguments: argparse.Namespace) -> int:
    """Remove a record and its history."""
    with ourdb.new(_existing(arguments.path)) as db:
        db.delete(arguments.id)
    if arguments.json:
        console.print_json({"id": arguments.id})
    return 0


@_command(_an_id_and_depth)
def history(arguments: argparse.Namespace) -> int:
    """List a record's versions, newest first."""
    with ourdb.new(arguments.path, read_only=True) as db:
        versions = db.get_history(arguments.id, arguments.depth)
    if arguments.json:
        console.print_json(
            [{"version": -number, "size": len(data), "hex": data.hex()} for number, data in enumerate(versions)]
        )
    else:
        for number, data in enumerate(versions):
            console.print_text(f"{-number:4d} {len(data):6d}  {console.preview(data)}")
    return 0


@_command(_nothing)
def dump(arguments: argparse.Namespace) -> int:
    """List all records: id, location, size, the data's beginning; status 1 if any can't be read."""
    status = 0
    with ourdb.new(arguments.path, read_only=True) as db, db.snapshot() as then:
        # Elsewhere the lines tell how far it is, or a pager shows them on the same terminal.
        progress = _progress(arguments, "records") if console.output_is_file() else None
        work = Work(progress, lambda: records_in(then))
        for record_id, location in work.over(then.items(), lambda: records_in(then)):
            try:
                data = then.get(record_id)
            except CorruptRecord as error:
                console.complain(f"id {record_id}: {error}")
                status = 1
                continue
            file_number, position = split(location)
            if arguments.json:
                console.print_json(
                    {"id": record_id, "file": file_number, "position": position, "size": len(data), "hex": data.hex()}
                )
            else:
                console.print_text(
                    f"{record_id:9d} {file_number}.db:{position:<10d} {len(data):6d}  {console.preview(data)}"
                )
    return status


@_command(_nothing)
def check(arguments: argparse.Namespace) -> int:
    """Read everything and print each problem; status 1 if there is any."""
    with ourdb.new(arguments.path, read_only=True) as db:
        problems = []
        for problem in db.check(progress=_progress(arguments)):
            problems.append(problem)
            if not arguments.json:
                console.print_text(str(problem))
        count = len(db)
    if arguments.json:
        found = [{"path": p.path, "position": p.position, "id": p.record_id, "reason": p.reason} for p in problems]
        console.print_json({"records": count, "problems": found})
    elif not problems:
        console.print_text(f"{count} records, no problem")
    return 1 if problems else 0


@_command(_config_arguments)
def repair(arguments: argparse.Namespace) -> int:
    """Rebuild a lost or damaged table from the record files; the old one is kept as lookup.old.

    Names what was lost, and exits with status 0 all the same: it is as whole as can be.
    """
    names = ("record_nr_max", "record_size_max", "file_size", "keysize")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.key_value:
        given["incremental_mode"] = False
    report = ourdb.repair(_existing(arguments.path), progress=_progress(arguments), **given)
    if arguments.json:
        console.print_json(
            {
                "records": report.records,
                "versions": report.versions,
                "guessed_ids": report.guessed_ids,
                "duplicate_ids": report.duplicate_ids,
                "gaps": report.gaps,
                "lost_ids": report.lost_ids,
                "shortened_ids": report.shortened_ids,
                "unreached": report.unreached,
                "lost": [{"path": path, "position": position, "size": size} for path, position, size in report.lost],
            }
        )
        return 0
    console.print_text(f"{report.records} records with {report.versions} versions found")
    if report.guessed_ids:
        console.print_text(
            f"{len(report.guessed_ids)} ids were given by the order of the records; they are right if nothing was ever deleted"
        )
    if report.unreached:
        console.print_text(
            f"{report.unreached} versions are of no id that is known: it was deleted, or what told it is lost"
        )
    if report.gaps:
        console.print_text(f"{report.gaps} places hold zeros, where records were deleted")
    for path, position, size in report.lost:
        console.print_text(f"{path}, position {position}: {size} bytes hold no whole record")
    for record_id in report.lost_ids:
        console.print_text(f"id {record_id}: its record is not whole any more, and gone")
    for record_id in report.shortened_ids:
        console.print_text(f"id {record_id}: its history ends early, an older version is gone")
    for record_id in report.duplicate_ids:
        console.print_text(f"id {record_id}: more than one history claims it; the newest was taken")
    return 0


@_command(_drop_history)
def compact(arguments: argparse.Namespace) -> int:
    """Take back dead space."""
    with ourdb.new(_existing(arguments.path)) as db:
        before = db.stats()["record_bytes"]
        db.compact(keep_history=not arguments.drop_history, progress=_progress(arguments))
        after = db.stats()["record_bytes"]
    if arguments.json:
        console.print_json({"record_bytes_before": before, "record_bytes_after": after})
    else:
        console.print_text(f"{before} bytes of record files before, {after} after")
    return 0


@_command(_destination)
def backup(arguments: argparse.Namespace) -> int:
    """Copy the database to the new folder DEST, beside a writer too."""
    with ourdb.new(arguments.path, read_only=True) as db:
        db.backup(arguments.dest, progress=_progress(arguments))
    if arguments.json:
        console.print_json({"dest": arguments.dest})
    return 0


@_command(_export_arguments)
def export(arguments: argparse.Namespace) -> int:
    """Write the lookup table to a folder."""
    if (arguments.dest is None) == (not arguments.for_original):
        arguments.parser.error("give DEST or --for-original")
    with ourdb.new(arguments.path, read_only=True) as db:
        dest = os.path.join(arguments.path, "lookup_dump.db") if arguments.for_original else arguments.dest
        if arguments.sparse or arguments.for_original:
            db.export_sparse(dest, progress=_progress(arguments))
        else:
            db.export_data(dest, progress=_progress(arguments))
    if arguments.json:
        console.print_json({"dest": dest})
    return 0


@_command(_import_arguments)
def import_(arguments: argparse.Namespace) -> int:
    """Make the table in folder SOURCE the database's."""
    with ourdb.new(_existing(arguments.path)) as db:
        if arguments.sparse:
            db.import_sparse(arguments.source, progress=_progress(arguments))
        else:
            db.import_data(arguments.source, progress=_progress(arguments))
        count = len(db)
    if arguments.json:
        console.print_json({"records": count})
    return 0


def _progress(arguments: argparse.Namespace, unit: str = "bytes") -> Progress | None:
    return None if arguments.json else console.progress_line(arguments.command, unit)


def _existing(path: str) -> str:
    if not os.path.isdir(path):
        raise FileNotFoundError(2, "no database folder", path)
    if not os.listdir(path):
        raise FileNotFoundError(2, "the folder is empty, it holds no database", path)
    return path


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: object = None) -> None:  # noqa: ARG002 - as argparse calls it
        console.print_text(self.format_help().rstrip())  # argparse itself passes over what can't be written


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ourdb", description="Look at an OurDB database, mend it, copy it.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (function, add_arguments) in _COMMANDS.items():
        text = function.__doc__ or ""
        command = commands.add_parser(name, help=text.partition("\n")[0], description=text)
        command.add_argument("path", metavar="PATH", type=_path, help="the database's folder")
        command.add_argument("--json", action="store_true", help="print JSON")
        add_arguments(command)
        command.set_defaults(function=function, parser=command)
    return parser


def _run(argv: list[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit:
        console.flush()
        raise
    try:
        status: int = arguments.function(arguments)
    except SnapshotOvertaken:
        console.complain(f"{arguments.path}: its writer went on while it was read; run the command again")
        status = 1
    except OSError as error:
        error.filename = error.filename or arguments.path  # a write tells none
        raise
    console.flush()
    return status


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    console.stand_in_for_closed_streams()
    try:
        return _run(argv)
    except console.StreamFailed as error:
        console.give_up_output()
        if not error.is_broken_pipe:
            console.complain(error)
    except KeyboardInterrupt:
        return _CTRL_C
    except OSError as error:
        console.complain(error if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}")
    except (OurDBError, ValueError, TypeError) as error:
        console.complain(error)
    finally:
        console.erase_line()
    return 1


if __name__ == "__main__":
    sys.exit(main())
