"""The error classes for what a user did or gave us that we cannot use, and for what the machine refused."""

from __future__ import annotations

import errno

AGAIN = "run the same command again"
KEPT = f"then {AGAIN}: what is finished is kept"
REMEDIES = {
    errno.ENOSPC: f"free some space, {KEPT}",
    errno.EDQUOT: f"free some space or raise the quota, {KEPT}",
    errno.EFBIG: f"the system allows no file of this size here (ulimit -f): raise it, {KEPT}",
    errno.EROFS: f"give it a folder that can be written to, {KEPT}",
    errno.EACCES: f"give this user the right to it, {KEPT}",
    errno.EPERM: f"give this user the right to it, {KEPT}",
    errno.EMFILE: f"too many open files: give it more (ulimit -n), {KEPT}",
    errno.ENFILE: f"too many open files on this machine: give it more, {KEPT}",
    errno.EIO: f"the disk failed: put the data on a sound one, {KEPT}",
}


class AudioRestorerError(Exception):
    """A wrong argument, config, file or model. The message names it and says what to do; the CLI prints it without a traceback."""


class MachineError(AudioRestorerError):
    """The machine refused (no space, no rights, ...): the next item would fare no better, so the job ends at once."""


def of_the_machine(error: OSError) -> MachineError | None:
    """What to tell a user of an error that is the machine's and not a recording's; None for any other."""
    remedy = REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    where = f"{error.filename2 or error.filename}: " if error.filename2 or error.filename else ""
    return MachineError(f"{where}{error.strerror}: {remedy}")
