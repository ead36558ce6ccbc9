"""The shell on a terminal: prompt, completion, Ctrl-C, the progress bar."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_PATIENCE_SECONDS = 20.0


class Terminal:
    """A child on a pseudo-terminal, and what it has shown."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"HOME": str(home), "TERM": "dumb", "COLUMNS": "80"}
            os.execv(sys.executable, [sys.executable, "-m", "vfs_db.shell", *arguments])
        self.shown = ""

    def expect(self, text: str) -> str:
        """Read until *text* was shown; return what came up to it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while text not in self.shown:
            assert self.is_ready(max(0.0, deadline - time.monotonic())), f"{text!r} was not shown, but {self.shown!r}"
            self.shown += os.read(self.fd, 65536).decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def is_ready(self, seconds: float) -> bool:
        """Wait for output for so many seconds."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode("utf-8", "surrogateescape"))

    def await_reader(self) -> None:
        """Wait until a command reads the terminal line by line: only then Ctrl-D is the end of its input."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < deadline, f"nothing reads lines; shown was {self.shown!r}"
            self.is_ready(0.01)

    def interrupt(self) -> None:
        """Press Ctrl-C until the prompt is back: Python's readline loses one that comes just before it waits for a key."""
        for _ in range(20):
            self.type("\x03")
            if self.is_ready(1.0):
                break
        self.expect("vfs:/> ")

    def end(self) -> int:
        """Wait for the child and return its exit status."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def begin(*arguments: str) -> Terminal:
        terminal = Terminal([str(tmp_path / "t"), *arguments], tmp_path)
        started.append(terminal)
        return terminal

    yield begin
    for terminal in started:
        os.close(terminal.fd)


def test_the_prompt_shows_the_folder_and_an_open_transaction(start: Callable[..., Terminal]) -> None:
    terminal = start()
    assert "new, empty filesystem" in terminal.expect("vfs:/> ")
    terminal.type("mkdir -p a/b\ncd a/b\n")
    terminal.expect("vfs:/a/b> ")
    terminal.type("begin\n")
    terminal.expect("vfs:/a/b*> ")
    terminal.type("rollback\n")
    terminal.expect("vfs:/a/b> ")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_tab_completes_commands_and_paths(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("write 'some file' text\nmkdir folder\n")
    terminal.expect("folder")
    terminal.expect("vfs:/> ")
    terminal.type("readl\t")
    terminal.expect("readlink ")
    terminal.type("\x15cat so\t\n")
    terminal.expect("text")
    terminal.expect("vfs:/> ")
    terminal.type("cd fo\t\n")
    terminal.expect("vfs:/folder> ")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_tab_completes_inside_quotes(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("write 'one two' text\n")
    terminal.expect("vfs:/> ")
    terminal.type("write 'new\nline' text\n")
    terminal.expect("vfs:/> ")
    for begun in ("cat 'one t", 'cat "one t', "cat one\\ t", "cat new", "cat 'new", 'cat "new'):
        terminal.type(f"{begun}\t\n")
        terminal.expect("text")
        terminal.expect("vfs:/> ")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_tab_completes_names_that_are_no_text(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("write bad\udcff text\n")
    terminal.expect("vfs:/> ")
    terminal.type("cat ba\t\n")
    terminal.expect("textvfs:/> ")
    terminal.type("ls\n")
    terminal.expect("bad\\xff\r\n")
    terminal.type("cat nix\udcff\n")
    terminal.expect("cat: /nix\\xff: No such file or directory")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_what_the_terminal_has_no_characters_for_is_escaped(
    start: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("mkdir é; cd é\n")
    terminal.expect("vfs:/\\xe9> ")
    terminal.type("cd ..; rm -r é\n")
    terminal.expect("remove '\\xe9' and all that is in it? [y/N] ")
    terminal.type("n\nexit\n")
    assert terminal.end() == 0


def test_tab_completes_names_of_the_host(start: Callable[..., Terminal], tmp_path: Path) -> None:
    (tmp_path / "of the host").mkdir()
    (tmp_path / "of the host" / "file").write_text("text")
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("put ~/of\tfi\t f\n")
    terminal.expect("vfs:/> ")
    terminal.type("cat f\n")
    terminal.expect("textvfs:/> ")
    terminal.type(f"!cat {tmp_path}/of\tfi\t\n")
    terminal.expect("\ntextvfs:/> ")
    terminal.type("get f ~/copy; lls ~/cop*; lcd; lls -1 copy ~\n")
    terminal.expect("copy\r\ncopy\r\ncopy")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_history_is_there_in_the_next_run(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("echo remember me\n")
    terminal.expect("remember me\r\nremember me")
    terminal.type("exit\n")
    assert terminal.end() == 0
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("\x10\x10\n")
    terminal.expect("remember me\r\nremember me")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_control_c_ends_the_command_and_not_the_shell(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("half a line")
    terminal.expect("half a line")
    terminal.interrupt()
    terminal.type("!echo started; sleep 60\n")
    terminal.expect("started\r\n")
    terminal.interrupt()
    terminal.type("pwd\n")
    terminal.expect("pwd\r\n/")
    terminal.expect("vfs:/> ")
    terminal.type("exit\n")
    assert terminal.end() == 0


@pytest.mark.parametrize("command", ["put - f", "write f", "append f"])
def test_one_control_d_ends_what_is_typed_into_a_file(start: Callable[..., Terminal], command: str) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type(f"{command}\n")
    terminal.await_reader()
    terminal.type("one\ntwo\n\x04")
    terminal.expect("vfs:/> ")
    terminal.type("wc f\n")
    terminal.expect("2 2 8 f\r\n")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_control_c_in_what_is_typed_into_a_file_leaves_none(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("put - f\n")
    terminal.await_reader()
    terminal.type("one\n\x03")
    terminal.expect("vfs:/> ")
    terminal.type("ls f\n")
    terminal.expect("cannot access 'f'")
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_removing_a_folder_is_asked_about(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("mkdir d\nrm -r d\n")
    terminal.expect("[y/N] ")
    terminal.type("n\n")
    terminal.expect("vfs:/> ")
    terminal.type("ls\n")
    terminal.expect("d\r\n")
    terminal.type("rm -rf d\nls\nexit\n")
    assert terminal.end() == 0


def test_control_d_answers_no(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("mkdir d\nrm -r d\n")
    terminal.expect("[y/N] ")
    terminal.type("\x04")
    terminal.expect("vfs:/> ")
    terminal.type("ls\n")
    terminal.expect("d\r\n")
    terminal.type("begin\nmkdir e\nexit\n")
    terminal.expect("[c/r/S] ")
    terminal.type("\x04")
    terminal.expect("rolled back")
    assert terminal.end() == 0


def test_replacing_is_asked_about(start: Callable[..., Terminal], tmp_path: Path) -> None:
    (tmp_path / "host").write_text("from the host")
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type("write f one\nwrite g two\n")
    for command in (
        "write f new",
        "cp g f",
        "mv g f",
        f"put {tmp_path / 'host'} f",
        "put - f",
        "rm f",
        "rm f g",
        "echo new > f",
        "truncate -s 1 f",
    ):
        terminal.expect("vfs:/> ")
        terminal.type(f"{command}\n")
        terminal.expect("]")
        terminal.type("n\n")
    terminal.expect("vfs:/> ")
    terminal.type("cat f g\n")
    terminal.expect("onetwo")
    terminal.type(f"get f {tmp_path / 'host'}\n")
    terminal.expect("[a]ll ")
    terminal.type("n\n")
    terminal.expect("vfs:/> ")
    assert (tmp_path / "host").read_text() == "from the host"
    terminal.type("echo three >| g\ntruncate -fs 3 g\necho >> g\ncat g\n")
    terminal.expect("cat g\r\nthr\r\n")
    terminal.type("write -f g two\ncp -f g f\nbegin\nrm f\nrollback\ncat f\n")
    terminal.expect("cat f\r\ntwo")
    terminal.type(f"get f {tmp_path / 'host'}\n")
    terminal.expect("[a]ll ")
    terminal.type("y\n")
    terminal.expect("vfs:/> ")
    assert (tmp_path / "host").read_text() == "two"
    terminal.type("exit\n")
    assert terminal.end() == 0


def test_put_and_get_show_a_progress_bar(start: Callable[..., Terminal], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(50):
        (source / f"file{number}").write_bytes(bytes(1000))
    terminal = start()
    terminal.expect("vfs:/> ")
    terminal.type(f"put -r {source} /\n")
    assert "49K" in terminal.expect("vfs:/> ")
    terminal.type(f"get -r source {tmp_path / 'copy'}\n")
    assert "50 files" in terminal.expect("vfs:/> ").replace("51 files", "50 files")
    terminal.type("exit\n")
    assert terminal.end() == 0
