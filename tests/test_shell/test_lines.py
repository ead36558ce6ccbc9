"""Command lines, run by a real child process: output, errors and status; some compared with bash and coreutils."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

_SETUP = (
    "mkdir -p docs/old; write docs/a.txt alpha; write docs/b.md 'b beta'; ln -s docs/a.txt link; write 'two words' x"
)


def shell(path: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vfs_db.shell", *arguments[:-1], str(path), *arguments[-1:]]
    return subprocess.run(command, capture_output=True, check=False, input=stdin)


def run(path: Path, commands: str, *flags: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vfs_db.shell", *flags, "-c", commands, str(path)]
    return subprocess.run(command, capture_output=True, check=False, input=stdin)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small filesystem that no test changes."""
    path = tmp_path_factory.mktemp("shell") / "t"
    result = run(path, _SETUP)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    return path


LINES = [
    ("pwd", "/\n", "", 0),
    ("cd docs; pwd", "/docs\n", "", 0),
    ("cd docs/old/../..; pwd", "/\n", "", 0),
    ("ls", "docs\nlink\ntwo words\n", "", 0),
    ("ls docs", "a.txt\nb.md\nold\n", "", 0),
    ("ls -1r docs", "old\nb.md\na.txt\n", "", 0),
    ("cd docs; ls *.txt", "a.txt\n", "", 0),
    ("ls -d docs", "docs\n", "", 0),
    ("cat docs/a.txt", "alpha", "", 0),
    ("cat link 'two words'", "alphax", "", 0),
    ("cat docs/?.txt", "alpha", "", 0),
    ("head -c 3 docs/a.txt", "alp", "", 0),
    ("wc docs/a.txt", "0 1 5 docs/a.txt\n", "", 0),
    ("readlink link", "docs/a.txt\n", "", 0),
    ("find docs -name '*.txt'", "docs/a.txt\n", "", 0),
    ("find . -type d", ".\n./docs\n./docs/old\n", "", 0),
    ("tree docs", "docs\n├── a.txt\n├── b.md\n└── old\n\n1 directory, 2 files\n", "", 0),
    ("tree -L 1", ".\n├── docs\n├── link -> docs/a.txt\n└── two words\n\n1 directory, 2 files\n", "", 0),
    ("echo hello   'a  b' # comment", "hello a  b\n", "", 0),
    ("pwd # comment; nope", "/\n", "", 0),
    ("cd docs; cd old; cd -; cd -", "/docs\n/docs/old\n", "", 0),
    ("cat nix", "", "cat: /nix: No such file or directory\n", 1),
    ("cat docs", "", "cat: /docs: Is a directory\n", 1),
    ("cd link", "", "cd: link: Not a directory\n", 1),
    ("ls nix", "", "ls: cannot access 'nix': No such file or directory\n", 2),
    ("lss", "", "lss: unknown command; did you mean ls?\n", 2),
    ("cat 'open", "", "vfs-shell: no closing '\n", 2),
    ("cat nix; pwd", "", "cat: /nix: No such file or directory\n", 1),
    ("set +e; cat nix; pwd", "/\n", "cat: /nix: No such file or directory\n", 0),
    ("commit", "", "commit: no transaction is open\n", 2),
    ("exit 3; pwd", "", "", 3),
    ("check", "no problem\n", "", 0),
    ("cp -rv docs nix/x", "", "cp: cannot create directory 'nix/x': No such file or directory\n", 1),
    ("cat ''", "", "cat: '': No such file or directory\n", 1),
    (
        "head -n x link",
        "",
        "head: -n: invalid number: 'x'\nusage: head [-n N] [-c N] [-q] [-v] FILE [FILE ...]\n",
        2,
    ),
    ("tree -L x", "", "tree: -L: invalid number: 'x'\nusage: tree [-L N] [-a] [-d] [PATH]\n", 2),
    ("tree -L", "", "tree: option -L needs a value\nusage: tree [-L N] [-a] [-d] [PATH]\n", 2),
    ("rmdir -pq x", "", "rmdir: invalid option -- 'q'\nusage: rmdir [-p] [-v] PATH [PATH ...]\n", 2),
    ("rmdir -q x", "", "rmdir: unknown option '-q'\nusage: rmdir [-p] [-v] PATH [PATH ...]\n", 2),
    ("''", "", "'': unknown command; `help` lists them\n", 2),
    ("pwd\r\npwd\r\n", "/\n/\n", "", 0),
    ("append", "", "append: missing operand: PATH\nusage: append PATH [TEXT ...]\n", 2),
    ("set +x", "", "set: flag: invalid choice: '+x' (choose from '+e')\nusage: set [-e] [{+e}]\n", 2),
    ("rmdir", "", "rmdir: missing operand: PATH\nusage: rmdir [-p] [-v] PATH [PATH ...]\n", 2),
    ("pwd x y", "", "pwd: extra operand 'x y'\nusage: pwd\n", 2),
    ("echo one\necho 'two", "", "vfs-shell: no closing '\n", 2),
]


@pytest.mark.parametrize(("commands", "output", "errors", "status"), LINES, ids=[line[0] for line in LINES])
def test_a_line_gives_this(tree: Path, commands: str, output: str, errors: str, status: int) -> None:
    result = run(tree, commands)
    assert (result.stdout.decode(), result.stderr.decode(), result.returncode) == (output, errors, status)


# The same on a folder of the host, in bash. Folders' modification times and owners differ, so they are not printed.
COMPARED = [
    "mkdir -p a/b/c; ls -R a",
    "mkdir a; echo hi > a/f; echo there >> a/f; cat a/f",
    "mkdir a; mkdir a",
    "mkdir a; rmdir a; ls",
    "mkdir a; echo x > a/f; rmdir a",
    "mkdir a; echo x > a/f; rm a",
    "mkdir a; echo x > a/f; rm -rf a; ls",
    "rm nix",
    "rm -f nix",
    "echo x > f; mv f g; ls; cat g",
    "echo x > f; mkdir d; mv f d; ls d",
    "echo 1 > a.txt; echo 2 > b.txt; mkdir docs; mv *.txt docs/; ls docs",
    "mkdir -p a/b; echo x > a/b/f; cp -r a z; cat z/b/f; ls -R z",
    "mkdir a; cp a z",
    "echo x > f; cp f g; echo y > f; cat g",
    "echo x > f; ln -s f l; cat l; readlink l; rm l; ls",
    "echo 'one two' > f; echo three >> f; wc f; wc -l f; wc -w f",
    "echo 1 > f; echo 2 >> f; echo 3 >> f; head -n 2 f; tail -n 1 f",
    "mkdir -p d/e; echo x > d/f; echo y > d/e/g; find d -type f -name 'g'; find d -maxdepth 1 -type f",
    "echo x > 'a b'; ls; cat 'a b'",
    "echo x > f; chmod 600 f; chmod u+x,g+r f; ls -l f | cut -c1-10",
    "echo 12345 > f; truncate -s 3 f; cat f; truncate -s 6 f; wc -c f",
    "truncate -s 2K f; wc -c f; truncate -s -1K f; wc -c f; truncate -s +1 f; wc -c f",
    "echo x > f; echo y > g; mv -f f g; cat g; ls",
    "echo x > f; ln -s f l; ln -sf g l; readlink l; ln -s f l",
    "echo x > f; chmod +x f; chmod -x f; ls -l f | cut -c1-10",
    "echo x > f; chmod u=rwx,g=u-w,o= f; ls -l f | cut -c1-10",
    "echo x > f; chmod +w f; chmod a+X f; ls -l f | cut -c1-10",
    "echo -n hi; echo -n; echo -- -x; echo -nope",
    "echo x > .h; echo y > f; mkdir d; ln -s f l; ls -A -F; ls -a; ls -AF1r; ls -p",
    "echo 1 > f; echo 2 >> f; echo 3 >> f; head -2 f; tail -1 f; tail -n +2 f; head -n -1 f; tail -c 3 f; head -c -2 f; tail -c +4 f",
    "echo 1 > f; echo 2 > g; head f g; tail -q f g; head -v f; tail -n 0 f",
    "> e; wc -c e; echo x > e; > e; cat e",
    "ls; rm -rf nix; ls -la nix",
    "mkdir a; echo x > a/f; cp -r a b; echo y > a/g; cp -r a b; cp -r a/. b; ls -R b",
    "mkdir a; echo x > f; cp -r a f",
    "mkdir a; echo x > f; mkdir a/f; cp f a; mv f a",
    "echo x > f; cp f f; mv f f; mv f nix/; cp nix g",
    "echo x > f; mkdir d; cp -t d f; mv -T f g; ls d; cat g",
    "mkdir d; echo x > d/f; cat d nix d/f",
    "mkdir a; touch a/b nix/c a/d; ls a",
    "mkdir -p d/e; echo x > d/e/f; chmod -R 700 d; stat -c '%a %n %F' d/e; stat -c '%a %n %s %F' d/e/f",
    "mkdir d; mv d d/e",
    "mkdir d; cp -r d nix/e",
    "echo a > f; cp f nix/e",
    "echo a > f; mv f nix/e",
    "mkdir -p d b/d/c; mv d b",
    "mkdir -p a/b; echo x > a/b/f; cp -rv a z; cp -rv a z; cp -rv a/. z; cp -v a/b/f .; cp -v f z; ln -s f l; cp -v l m; cp -rv l n",
    "mkdir -p a/b; echo x > a/b/f; ln -s nix l; rm -rv a/b; rm -fv nix l; rm -rv a/; mkdir d; rm -dv d",
    "mkdir -pv q/w/e; mkdir -pv q/w/r; mkdir -v z; rmdir -v q/w/e; rmdir -pv q/w/r; mkdir -p a/b a/c; rmdir -pv a/b",
    "rmdir -p nix/a",
    "echo a > f; mkdir d; ln -sv f m; ln -sfv f m; ln -sv ../f d; mv -v f d",
    "mkdir d; ln -s nix l; readlink l; readlink d",
    "echo x > f; readlink -v f",
    "readlink -f nix/x",
    "mkdir a; echo x > a/f; ln -s a/f l; stat -c '%N %h %f %F' l a/f; stat -c '%N %f %a' a; stat -c '100%% %B' l",
    "truncate -s 1500 a; truncate -s 1023 b; truncate -s 10000 c; du -bh a b c; du -hb a; du --bytes c",
    "mkdir a; echo xyz > a/f; ln -s a l; find l; find l/; grep -r x l; grep -r x l/; stat -c %F l l/; cp -rv l/ z; ls z; cp -r l k; readlink k",
    "ln -s nix l; cp -r l/ z",
    "mkdir a; echo xyz > a/f; ln -s a l; du -ab l/f; ls -l l/f | cut -c1-10",
    "rm -rf .",
    "mkdir -p a/x b; echo > f; ln -s a l; ls -d */; ls */; echo a/* ./* ./*/ l/* nix/* .*; mkdir '[q]'; echo '[q]'* '[q]'/* a/../*/",
    "mkdir -p a/b c; echo > a/f; cd a; echo ../*/ ./* */; cp ./* ../c; ls ../c",
    "mkdir d; echo x > d/f; ls --color=never d; ls --color d; echo new > d/*; cat d/f; echo none > g*; ls",
    "mkdir d; rm -r d/.",
    "rm ''",
    "mkdir --parents a/b; ls --all --reverse a; rm --recursive --force a; ls",
    'echo "a\\$b \\` \\n"',
    "echo a > -x; rm -f -- -x; echo b > -y; rm ./-y; echo c > -z; rm -- -z; ls",
]


@pytest.mark.parametrize("commands", COMPARED)
def test_a_line_does_what_it_does_in_bash(tmp_path: Path, commands: str) -> None:
    folder = tmp_path / "host"
    folder.mkdir()
    commands, _, pipe = commands.partition(" | ")
    environment = {**os.environ, "LC_ALL": "C"}
    theirs = subprocess.run(
        ["bash", "-e", "-c", commands.replace("; ", "\n")],
        cwd=folder,
        capture_output=True,
        check=False,
        env=environment,
    )
    ours = run(tmp_path / "vfs", commands)
    if pipe:
        width = 10
        assert ours.stdout[:width] == theirs.stdout[:width]
        return
    assert ours.stdout == theirs.stdout
    assert ours.returncode == theirs.returncode
    assert ours.stderr.replace(b"/", b"") == theirs.stderr.replace(b"/", b"")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with f, a file of many blocks of lines, and a filesystem t with the same file."""
    folder = tmp_path_factory.mktemp("lines")
    text = "".join(f"{'' if number % 7 else ' a,b '}{number} {'x' * (number % 90)}\n\n" for number in range(12000))
    (folder / "f").write_text(f"{text}last é, without an end")
    assert run(folder / "t", f"put '{folder / 'f'}' /").returncode == 0
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        "-n 11999", "-n '^7'", "-n 'x$'", "-c '^$'", "-vc '^$'", "-nv x", "-c ''", "-n nowhere", "-nw 777", "-nx '70 x*'", "-c '[^x]*1'",
        "-cE '(1|2){3}'", "-n é", "-n '[^a]$'", "-on 'a,b 70'", "-ci X", "-c '\\W$'", "-cv '[[:space:]]'", "-l last",
        "-L last", "-n -e '^1 ' -e 'last'", "-cF 'a,b'",
    ],
)  # fmt: skip
def test_grep_finds_what_grep_finds(lines: Path, arguments: str) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    theirs = subprocess.run(
        f"grep {arguments} f", shell=True, cwd=lines, capture_output=True, check=False, env=environment
    )
    ours = run(lines / "t", f"grep {arguments} f")
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)


def test_grep_takes_a_long_line_in_pieces_of_one_number(tmp_path: Path) -> None:
    text = f"one\n{'long ' * 500_000}end\nthree"
    assert run(tmp_path / "t", "put - f", stdin=text.encode()).returncode == 0
    assert run(tmp_path / "t", "grep -n 'e$' f").stdout == b"1:one\n3:three\n"
    found = run(tmp_path / "t", "grep -n 'n' f").stdout.splitlines()
    assert [(line[:2], len(line)) for line in found] == [
        (b"1:", 5), (b"2:", 2 + 2**20), (b"2:", 2 + 2**20), (b"2:", 2 + 2_500_003 - 2**21),
    ]  # fmt: skip


def test_scripts_come_from_a_file_or_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("# make things\nmkdir a\ncd a; pwd\nnope\npwd\n")
    command = [sys.executable, "-m", "vfs_db.shell", str(tmp_path / "t"), str(script)]
    result = subprocess.run(command, capture_output=True, check=False)
    assert (result.stdout, result.returncode) == (b"/a\n", 2)
    command = [sys.executable, "-m", "vfs_db.shell", str(tmp_path / "t")]
    result = subprocess.run(command, capture_output=True, check=False, input=b"ls\npwd\n")
    assert (result.stdout, result.stderr, result.returncode) == (b"a\n/\n", b"", 0)


def test_a_tree_goes_in_and_comes_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "file").write_bytes(bytes(range(256)) * 1000)
    (source / "script").write_bytes(b"#!/bin/sh\n")
    (source / "script").chmod(0o755)
    (source / "link").symlink_to("deep/er/file")
    result = run(tmp_path / "t", f"put -r '{source}' /; ls; get -r source '{tmp_path / 'copy'}'")
    assert (result.stdout, result.stderr, result.returncode) == (b"source\n", b"", 0)
    subprocess.run(["diff", "-r", str(source), str(tmp_path / "copy")], check=True)
    assert (tmp_path / "copy" / "script").stat().st_mode == (source / "script").stat().st_mode
    assert (tmp_path / "copy" / "link").readlink() == Path("deep/er/file")
    (tmp_path / "copy" / "script").write_bytes(b"mine")
    for again in ("get source/script", "get -r source/.", "get -r source/deep source/script"):
        refused = run(tmp_path / "t", f"{again} '{tmp_path / 'copy'}'")
        assert (refused.returncode, b"File exists" in refused.stderr) == (1, True)
        assert (tmp_path / "copy" / "script").read_bytes() == b"mine"
    forced = run(tmp_path / "t", f"get -rf source/. '{tmp_path / 'copy'}'")
    assert (forced.returncode, forced.stderr) == (0, b"")
    subprocess.run(["diff", "-r", str(source), str(tmp_path / "copy")], check=True)


def test_bytes_pass_unchanged_from_standard_input_to_standard_output(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    assert run(tmp_path / "t", "put - /x.bin", stdin=data).returncode == 0
    assert run(tmp_path / "t", "get /x.bin -").stdout == data
    assert run(tmp_path / "t", "cat x.bin").stdout == data


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    run(tmp_path / "t", "put - /x.bin", stdin=bytes(3_000_000))
    command = f"'{sys.executable}' -m vfs_db.shell -c 'cat x.bin' '{tmp_path / 't'}' | head -c 10"
    result = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert (result.stdout, result.stderr) == (bytes(10), b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("flags", [[], ["-u"]], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("commands", ["ls -l docs", "cat docs/a.txt two*", "find", "set +e; pwd; tree"])
def test_output_that_cannot_be_written_is_said_once(tree: Path, flags: list[str], commands: str) -> None:
    command = [sys.executable, *flags, "-m", "vfs_db.shell", "-c", commands, str(tree)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, env=environment)
    assert (result.stderr, result.returncode) == (b"vfs-shell: write error: No space left on device\n", 1)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_standard_stream_may_be_closed(tree: Path, closed: str) -> None:
    command = f"'{sys.executable}' -m vfs_db.shell -c ls '{tree}' {closed}"
    result = subprocess.run(command, shell=True, capture_output=True, check=False)
    assert (result.stderr, result.returncode) == (b"", 0)


def test_df_is_as_df_has_it(tree: Path) -> None:
    theirs = subprocess.run(["df", str(tree)], capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"})
    ours = run(tree, "df")
    titles, row = (line.split() for line in ours.stdout.decode().splitlines())
    assert titles == theirs.stdout.decode().splitlines()[0].split()
    assert (row[0], row[1], row[-1]) == (str(tree), theirs.stdout.split()[-5].decode(), "/")
    assert row[4].endswith("%")


def test_an_interrupt_in_a_finalizer_ends_the_command(tree: Path) -> None:
    code = """
import sys
from vfs_db.shell import main

class Interrupted:
    def __del__(self):
        raise KeyboardInterrupt

def hook(event, arguments):
    if event == "import" and arguments[0] == "vfs_db.grep":
        Interrupted()

sys.addaudithook(hook)
sys.exit(main(["-c", "grep -r alpha\\n" * 1000, sys.argv[1]]))
"""
    result = subprocess.run([sys.executable, "-c", code, str(tree)], capture_output=True, check=False)
    assert (result.stderr, result.returncode) == (b"\n", 130)
    assert result.stdout.count(b"alpha") < 1000


def test_json_is_one_value_a_command(tree: Path) -> None:
    result = run(tree, "ls docs; stat link; pwd; readlink link; wc docs/a.txt", "--json")
    listed, [link], folder, target, counts = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["name"] for entry in listed] == ["a.txt", "b.md", "old"]
    assert {key: link[key] for key in ("path", "type", "mode", "target")} == {
        "path": "/link", "type": "symlink", "mode": "0777", "target": "docs/a.txt",
    }  # fmt: skip
    assert (folder, target) == ("/", ["docs/a.txt"])
    assert counts == [{"path": "/docs/a.txt", "lines": 0, "words": 1, "chars": 5, "bytes": 5}]


def test_a_transaction_is_kept_by_commit_only(tmp_path: Path) -> None:
    assert run(tmp_path / "t", "begin; mkdir a; commit; begin; mkdir b; rollback; ls").stdout == b"a\n"
    left_open = run(tmp_path / "t", "begin; mkdir c")
    assert (left_open.returncode, b"rolled back" in left_open.stderr) == (1, True)
    assert run(tmp_path / "t", "ls").stdout == b"a\n"


def test_history_lists_what_was_kept(tmp_path: Path) -> None:
    result = run(tmp_path / "t", "write f one; write f three; history f", "--json")
    assert [version["size"] for version in json.loads(result.stdout.splitlines()[-1])][:2] == [5, 3]


def test_read_only_changes_nothing_and_makes_nothing(tree: Path, tmp_path: Path) -> None:
    refused = run(tree, "mkdir q", "-r")
    assert (refused.returncode, b"Read-only" in refused.stderr) == (1, True)
    missing = run(tmp_path / "nowhere", "ls", "-r")
    assert (missing.returncode, (tmp_path / "nowhere").exists()) == (1, False)
    assert missing.stderr.endswith(b"nowhere: No such file or directory\n")


def test_a_held_filesystem_says_by_whom_and_what_to_do(tmp_path: Path) -> None:
    code = "import sys, vfs_db; fs = vfs_db.open(sys.argv[1]); fs.dir_create('d'); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "t")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        refused = run(tmp_path / "t", "ls")
        assert refused.returncode == 1
        assert f"process {holder.pid}".encode() in refused.stderr
        assert b"-r" in refused.stderr
        assert run(tmp_path / "t", "ls", "-r").stdout == b"d\n"
        holder.stdin.close()


def test_a_folder_that_is_no_filesystem_is_refused_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "t" / "data").mkdir(parents=True)
    (tmp_path / "t" / "data" / "stranger").write_text("x")
    result = run(tmp_path / "t", "ls")
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    (tmp_path / "file").write_text("x")
    result = run(tmp_path / "file", "ls")
    assert (result.returncode, b"Traceback" in result.stderr) == (1, False)


@pytest.mark.parametrize("part", ["metadata", "data"])
def test_what_cannot_be_opened_says_who_knows_more(tmp_path: Path, part: str) -> None:
    run(tmp_path / "t", "mkdir a")
    (tmp_path / "t" / part / "lookup" / "data").unlink()
    result = run(tmp_path / "t", "ls")
    assert (result.returncode, b"python -m ourdb check" in result.stderr) == (1, True)
    assert str(tmp_path / "t" / part).encode() in result.stderr.splitlines()[-1]


def test_an_unreadable_root_says_who_knows_more(tmp_path: Path) -> None:
    run(tmp_path / "t", "mkdir a")
    (tmp_path / "t" / "metadata" / "0.db").write_bytes(b"")
    result = run(tmp_path / "t", "ls")
    assert (result.returncode, b"Input/output error" in result.stderr) == (1, True)
    assert b"python -m ourdb check" in result.stderr.splitlines()[-1]


def test_control_characters_of_an_owner_are_escaped_on_a_terminal(tmp_path: Path) -> None:
    run(tmp_path / "t", "echo x > f; chown '\x1b[31mroot:\x07' f")
    command = [sys.executable, "-m", "vfs_db.shell", "-c", "ls -l; stat f; stat -c '%U %G' f", str(tmp_path / "t")]
    master, slave = pty.openpty()
    subprocess.run(command, stdout=slave, check=True, env={**os.environ, "NO_COLOR": "1"})
    os.close(slave)
    shown = os.read(master, 65536)
    os.close(master)
    assert (b"\x1b" in shown, b"\x07" in shown, shown.count(rb"\x1b[31mroot")) == (False, False, 3)


def test_every_command_has_help(tree: Path) -> None:
    listed = json.loads(run(tree, "help", "--json").stdout)
    assert len(listed) > 40
    everything = "; ".join(f"help {name}" for name in listed)
    result = run(tree, everything)
    assert (result.returncode, result.stderr) == (0, b"")
    for name, summary in listed.items():
        assert f"usage: {name}".encode() in result.stdout
        assert summary


def test_help_is_as_wide_as_the_terminal(tree: Path) -> None:
    command = [sys.executable, "-m", "vfs_db.shell", "-c", "help; help cd; help mkdir", str(tree)]
    environment = {**os.environ, "COLUMNS": "40"}
    result = subprocess.run(command, capture_output=True, check=True, env=environment, text=True)
    assert max(map(len, result.stdout.splitlines())) <= 40
    assert "  truncate  cut files off, or make them\n            longer with zeros\n" in result.stdout


def test_a_large_folder_is_listed_as_it_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(2500):
        (source / f"file{number:04}").touch()
    result = run(tmp_path / "t", f"put -r '{source}' /; ls -l source; ls source")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "total ?"
    assert (
        [line.split()[-1] for line in lines[1:2501]] == lines[2501:] == [f"file{number:04}" for number in range(2500)]
    )
