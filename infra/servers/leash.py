"""Run a command as another user if asked, and let it die when the process that started it dies.

    python leash.py PARENT-PID UID:GID|- COMMAND ...

Run as a file, standard library only. Dropping rights clears the death signal, so rights go first.
Where the kernel has no death signal (macOS) the caller's clean-up is the only leash.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, user, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if user != "-":
        uid, gid = (int(part) for part in user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the leash was on
            sys.exit(1)
    os.execvp(command[0], command)


main()
