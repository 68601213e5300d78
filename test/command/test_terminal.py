#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of qorus chat in a terminal: editing a line, Ctrl-C, and a terminal that is as it was found."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from command import FOLDER, QORUS, finish, qorus, tell, tiny_model, token_of

PROMPT = b"> "


class Terminal:
    """qorus chat on a pseudo-terminal of its own."""

    def __init__(self, model, *options):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        env = dict(os.environ, TERM="xterm")
        self.child = subprocess.Popen([QORUS, "chat", model, "--temp", "0", *options], stdin=self.slave,
                                      stdout=self.slave, stderr=self.slave, env=env, preexec_fn=self.control)

    @staticmethod
    def control():
        """In the child: the terminal becomes its controlling one, so that Ctrl-C means something."""
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read(self, wait):
        """What comes before `wait` seconds of silence, or within half a second: some answers never pause."""
        got = b""
        end = time.monotonic() + 0.5
        while time.monotonic() < end and select.select([self.master], [], [], wait)[0]:
            part = os.read(self.master, 65536)
            if not part:
                break
            got += part
            wait = 0.02
        self.seen += got
        return got

    def expect(self, what, limit=20):
        """Reads until `what` has come since the last expect; True if it has."""
        end = time.monotonic() + limit
        while what not in self.seen and time.monotonic() < end:
            self.read(0.1)
        found = what in self.seen
        if found:
            self.seen = self.seen[self.seen.index(what) + len(what):]
        return found

    def type(self, keys):
        """Types bytes."""
        os.write(self.master, keys)

    def end(self, limit=20):
        """Waits for the end of the child; its exit code, negative for a signal, or None."""
        stop = time.monotonic() + limit
        while self.child.poll() is None and time.monotonic() < stop:
            self.read(0.05)
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
            return None
        return self.child.returncode

    def restored(self):
        """True if the terminal is as it was found."""
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        """Gives the terminal back."""
        os.close(self.master)
        os.close(self.slave)


LEFT, RIGHT, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[A", b"\x1b[B"
HOME, END, DELETE, BACK = b"\x1b[H", b"\x1b[F", b"\x1b[3~", b"\x7f"


def editing(model):
    """Every key, by a command that only the edited line spells: /save FILE."""
    kept = FOLDER / "line.kv"
    path = str(kept).encode()
    line = b"/save " + path
    cases = (
        ("plain", line),
        ("backspace", b"/sabe" + BACK * 2 + b"ve " + path),
        ("Ctrl-H", b"/sabe\x08\x08ve " + path),
        ("left and right", b"/sve " + path + LEFT * (len(path) + 3) + b"a" + RIGHT * 3),
        ("Ctrl-B and Ctrl-F", b"/sve " + path + b"\x02" * (len(path) + 3) + b"a" + b"\x06" * 3),
        ("home", b"save " + path + HOME + b"/"),
        ("home, other codes", b"ave " + path + b"\x1bOH" + b"s" + b"\x1b[1~" + b"/"),
        ("end", b"save " + path[:-2] + HOME + b"/" + END + path[-2:]),
        ("Ctrl-A and Ctrl-E", b"save " + path[:-2] + b"\x01/\x05" + path[-2:]),
        ("delete", b"/saXve " + path + HOME + RIGHT * 3 + DELETE),
        ("Ctrl-D in a line deletes", b"/saXve " + path + HOME + RIGHT * 3 + b"\x04"),
        ("Ctrl-U", b"nonsense\x15" + line),
        ("Ctrl-U in the middle", b"nonsense" + line + LEFT * len(line) + b"\x15"),
        ("Ctrl-K", line + b" nonsense" + LEFT * 9 + b"\x0b"),
        ("Ctrl-W", line + b"n n\x17\x17" + path),
        ("UTF-8 is erased whole", "\u00e9\u4e2d\U0001f600".encode() + BACK * 3 + line),
        ("UTF-8 is passed whole", "\u00e9\u4e2d".encode() + LEFT * 2 + DELETE * 2 + line),
        ("combining marks go with their base", "e\u0301".encode() + BACK + line),
        ("unknown sequences are ignored", b"\x1b[24~\x1bx\x1b[1;5R" + line),
        ("a line wider than the screen", b"n" * 100 + b"\x15" + line + b" " * 70),
        ("Ctrl-C drops the line", b"nonsense\x03" + line),
        ("Ctrl-L", line[:3] + b"\x0c" + line[3:]),
    )
    t = Terminal(model)
    tell("a prompt appears", t.expect(PROMPT), t.seen)
    tell("the terminal is raw while a line is edited", not t.restored())
    for name, keys in cases:
        kept.unlink(missing_ok=True)
        t.type(keys + b"\r")
        good = t.expect(b"saved ") and t.expect(PROMPT)
        tell(f"editing: {name}", good and kept.is_file(), t.seen)
        if not good:
            break
    history(t, kept, line)
    t.type(b"\x04")
    tell("Ctrl-D ends it with exit code 0", t.end() == 0)
    tell("the terminal is as it was found", t.restored())
    t.close()


def history(t, kept, line):
    """Up and down."""
    for name, keys in (("up", UP), ("up, up, down", UP + UP + DOWN), ("Ctrl-P", b"\x10"),
                       ("an older line can be edited", UP + b"x" + BACK)):
        t.type(line + b"\r")
        t.expect(b"saved ")
        t.expect(PROMPT)
        kept.unlink(missing_ok=True)
        t.type(keys + b"\r")
        tell(f"history: {name}", t.expect(b"saved ") and t.expect(PROMPT) and kept.is_file(), t.seen)
    kept.unlink(missing_ok=True)
    t.type(line + UP + DOWN + b"\r")
    tell("history: down comes back to the new line", t.expect(b"saved ") and t.expect(PROMPT) and kept.is_file(), t.seen)


def interrupts(model, endless):
    """Ctrl-C during an answer ends the answer; what was said of it stays, in a closed turn."""
    kept = FOLDER / "stopped.kv"
    t = Terminal(model, "--ctx", "60000", "--exact", *endless)
    t.expect(PROMPT)
    t.type(b"hello\r")
    t.expect(b"\n")
    time.sleep(0.3)
    tell("an answer is under way", len(t.read(0.1)) > 0)
    tell("the terminal is cooked during an answer", t.restored())
    t.type(b"\x03")
    tell("Ctrl-C stops the answer", t.expect(b"interrupted"), t.seen)
    tell("... and not the program", t.expect(PROMPT) and t.child.poll() is None)
    t.type(b"/save " + str(kept).encode() + b"\r")
    tell("what was answered stays", t.expect(b"saved ") and t.expect(PROMPT))
    t.type(b"and\r")
    t.expect(b"\n")
    time.sleep(0.2)
    t.type(b"\x03")
    tell("the conversation goes on", t.expect(b"interrupted") and t.expect(PROMPT))
    t.type(b"/quit\r")
    tell("/quit ends it", t.end() == 0 and t.restored())
    t.close()
    ids = history_of(kept)
    close = [token_of(model, "<|im_end|>"), token_of(model, "\n")]
    tell("the stopped answer is closed as any other", ids[-2:] == close and len(ids) > 30, ids[-8:])
    code, out, err = qorus("chat", model, "--ctx", "60000", "--exact", "--temp", "0", "-n", "4", *endless,
                           text=f"/load {kept}\nand\n")
    tell("a later start goes on from there", code == 0 and len(out) > 1, (code, out, err))


def history_of(path):
    """The ids in a snapshot."""
    data = path.read_bytes() if path.is_file() else bytes(160)
    n = struct.unpack_from("<I", data, 48)[0]
    return list(struct.unpack_from(f"<{n}i", data, 128))


def endings(model):
    """Signals and closed terminals."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        t = Terminal(model)
        t.expect(PROMPT)
        t.child.send_signal(number)
        tell(f"{number.name} ends it", t.end() == -number)
        tell(f"... and the terminal is as it was found ({number.name})", t.restored())
        t.close()
    t = Terminal(model)
    t.expect(PROMPT)
    t.type(b"half a line")
    t.read(0.2)
    os.close(t.slave)
    os.close(t.master)
    for _ in range(100):
        if t.child.poll() is not None:
            break
        time.sleep(0.05)
    tell("a terminal that goes away ends it", t.child.poll() is not None)
    t.child.kill()


def main():
    """All of it."""
    model = tiny_model("tiny.qorus", "--context", "65536")
    endless = []
    for text in ("<|im_end|>", "<|endoftext|>", "<|im_start|>", "\n"):
        endless += ["--logit-bias", f"{token_of(model, text)}:-inf"]
    editing(model)
    interrupts(model, endless)
    endings(model)
    finish()


main()
