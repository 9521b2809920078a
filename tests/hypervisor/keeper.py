"""A process that outlives the lab, to clear up after it however it ends.

`Keeper` is the handle; `main` runs in the process itself, which is a child in a session of its own. It obeys lines of
JSON on its standard input and takes the end of input for the end of the lab: its maker closed it, or died, be it by
SIGKILL. Then it kills what it started and everything that came of it, writes files back and removes folders.

Being the subreaper of the daemon that it starts, it is also the parent of the daemon's QEMUs. So it finds them without
guessing, and buries them at once: libvirt's destroy waits for that, seconds where PID 1 is slow at it.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psutil

PR_SET_CHILD_SUBREAPER = 36
CLEARING_DEADLINE_S = 60.0


class Keeper:
    """Handle of the process. Also a context manager: leaving it clears up."""

    def __init__(self, inherited_files: Sequence[int] = ()) -> None:
        """Start the process.

        Args:
            inherited_files: descriptors that stay open until everything is cleared up, a lock for instance.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],  # -P: our neighbours are no top-level modules
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the terminal's Ctrl+C is for the maker only
            pass_fds=inherited_files,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str], user: int | None, group: int | None, log: Path
    ) -> int:
        """Start a process, as another user if asked (only root can), and return its pid."""
        return int(
            self._ask(
                "start",
                command=list(command),
                environment=dict(environment),
                user=user,
                group=group,
                log=str(log),
            )
        )

    def make_folder(self) -> Path:
        """Make a folder that is removed in the end, with all in it. Its path is short enough for sockets in it."""
        return Path(self._ask("make_folder"))

    def write_at_end(self, contents: Sequence[tuple[Path, str]]) -> None:
        """Have files, such as settings in /sys, written in the end, in the given order."""
        self._ask("write_at_end", contents=[(str(path), text) for path, text in contents])

    def close(self) -> None:
        """Clear up and wait for it.

        Raises:
            RuntimeError: something could not be cleared; standard error says what.
            subprocess.TimeoutExpired: it is still at it.
        """
        if self._process.stdin is None or self._process.stdout is None or self._process.stdin.closed:
            return
        self._process.stdin.close()
        status = self._process.wait(CLEARING_DEADLINE_S)
        self._process.stdout.close()
        if status != 0:
            raise RuntimeError(f"the lab's keeper could not clear up everything: status {status}")

    def _ask(self, verb: str, **arguments: Any) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the lab's keeper was started without pipes")
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        if not reply:
            raise RuntimeError(f"the lab's keeper died of {verb} {arguments}")
        answer, error = json.loads(reply)
        if error is not None:
            raise RuntimeError(f"{verb} {arguments}: {error}")
        return answer


class _Estate:
    """What the process will have to clear up. Its public methods are the verbs of `Keeper`."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._contents: list[tuple[str, str]] = []

    def start(
        self, command: list[str], environment: dict[str, str], user: int | None, group: int | None, log: str
    ) -> int:
        with Path(log).open("ab") as output:
            return subprocess.Popen(
                command,
                env=environment,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ).pid

    def make_folder(self) -> str:
        # Not in $TMPDIR, which may be deep, and closed to other users.
        self._folders.append(tempfile.mkdtemp(prefix="vmtop-lab-", dir="/tmp"))
        return self._folders[-1]

    def write_at_end(self, contents: list[tuple[str, str]]) -> None:
        self._contents.extend(contents)

    def clear(self) -> None:
        # Whatever a killed process leaves behind becomes a child of this one, so this ends when nothing is left.
        while children := psutil.Process().children():
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(children, timeout=1)
        for path, text in self._contents:
            Path(path).write_text(text)
        for folder in self._folders:
            shutil.rmtree(folder)


def _bury_children(_signal: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def main() -> None:
    """Run the process: obey until the end of input, then clear up."""
    signal.signal(signal.SIGCHLD, _bury_children)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    estate = _Estate()
    verbs = {verb.__name__: verb for verb in (estate.start, estate.make_folder, estate.write_at_end)}
    try:
        while line := sys.stdin.readline():
            verb, arguments = json.loads(line)
            try:
                reply = [verbs[verb](**arguments), None]
            except (OSError, subprocess.SubprocessError) as error:
                reply = [None, str(error)]
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
    finally:
        estate.clear()


if __name__ == "__main__":
    main()
