"""Faults that happen inside a running job, at the n-th thing that it does to a file. No torch import.

Python's audit events (PEP 578) are what is counted: they come before a file is opened, renamed, linked or removed, so a fault meets
every moment between two of them, and the same number meets the same moment again. Child processes inherit the hook and count nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

COUNTED = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "shutil.copyfile"))
BALLAST = "ballast"


@dataclass
class Fault:
    """What happens at the `at`-th event; 0: nothing, the events are only counted.

    Attributes:
        kind: a method of this class below.
        seed: chooses among what there is at that moment.
        target: the file or folder that is meant, where the kind needs one (relative to the workspace).
        counted: file that gets the number of events when the commands have ended.
    """

    kind: str = "nothing"
    at: int = 0
    seed: int = 0
    target: str = ""
    counted: str = ""

    def arm(self) -> None:
        self._count, self._busy, self._waiting, self._pid = 0, False, False, os.getpid()
        self._lock = threading.Lock()
        sys.addaudithook(self._hook)

    def note(self) -> None:
        """Write how many events there were."""
        if self.counted:
            self._busy = True
            Path(self.counted).write_text(str(self._count))

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in COUNTED or self._busy or not arguments or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[0])
        if os.path.isabs(path) or os.getpid() != self._pid:
            return
        with self._lock:
            self._count += 1
            due = self._count == self.at or (self._waiting and self.at <= self._count)
            if due and self.kind == "end_thread":
                due = self._threads() != []
                self._waiting = not due
            self._busy = self._busy or due
        if due:
            try:
                getattr(self, self.kind)()
            finally:
                self._busy = False

    def nothing(self) -> None:
        pass

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def remove(self) -> None:
        """The target is moved away."""
        if os.path.exists(self.target):
            os.rename(self.target, f"{self.target}.away")

    def replace(self) -> None:
        """The target gets another file's content."""
        content = Path(f"{self.target}.other").read_bytes()
        with open(self.target, "wb") as file:
            file.write(content)

    def fill(self) -> None:
        """The disk that the target lies on is full."""
        with open(os.path.join(self.target, BALLAST), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            try:
                while True:
                    file.write(b"x")
            except OSError:
                pass

    def lock_out(self) -> None:
        """Nothing may be made, renamed or removed in the target and the folders below it."""
        from tests.faults.disks import freeze

        freeze(Path(self.target))

    def damage(self) -> None:
        """A file of the store that is finished by now is damaged."""
        from tests.faults.damage import harm, store_files

        found = store_files(Path(self.target))
        if found:
            rng = random.Random(self.seed)
            harm(rng.choice(found), rng)

    def end_thread(self) -> None:
        """A thread that works on items is ended from outside: Python's nearest thing to killing it."""
        chosen = random.Random(self.seed).choice(self._threads())
        print(f"fault: {chosen.name} is ended", file=sys.stderr, flush=True)
        kind = random.Random(self.seed).choice([SystemExit, MemoryError])
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(chosen.ident or 0), ctypes.py_object(kind))

    @staticmethod
    def _threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("separate")]
