"""A fork server: one process imports the slow modules once, and every further process starts from it in
milliseconds, without the environment's secrets.

Importing torch takes seconds in every new process. Here they are paid once, by whichever process calls `start`
or `fork` first. Processes forked from the server use the same server for children of their own: they are forked
by it, not by them, and so never share their memory.

It is not multiprocessing's fork server, because of four things that CPython 3.11's does: a child of it that
starts a child launches a second server; every child imports the user's `__main__` again, which in a script
without a guard starts everything over; the whole environment is handed down; and it speaks pickle.

A child and the process that asked for it hold two sockets: `Child.connection`, for messages of bytes, and
a control socket between the asker and the server: the server reports the child's end on it, and when the
asker closes it, by `close` or by dying, the server kills the child. When the process that started the server
ends, the server ends and everything forked from it. So nothing is ever left behind.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from galaxy_fl.exceptions import TrainingError

__all__ = ["SECRETS", "Child", "fork", "start"]

SECRETS = ("GALAXY_KEY", "GALAXY_PASSWORD", "GALAXY_IPFS_AUTH", "GALAXY_REGISTRATION_TOKEN")
"""Environment variables that neither the server nor anything forked from it ever sees."""

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Has glibc ask for huge pages where Linux gives them to whoever asks: a third fewer page faults. Others ignore it."""
PRELOAD = "galaxy_fl.worker.preload"
NUMBER = struct.Struct("<q")
REQUEST_BYTES = 65_536
LAST_IMPORT = 1.0
"""Seconds that the server has to end in; loading torch takes longer, and can't be interrupted otherwise."""
STDIN = 0

_lock = threading.Lock()
_server: subprocess.Popen[bytes] | None = None  # in the process that started it only
_lifeline: socket.socket | None = None  # its standard input, in that process
_has_asked = False  # whether anything was asked of it, by that process
_has_forked = False  # and done
_address: str | None = None  # in that process and in all that were forked from the server


class Child:
    """A forked process. Close it, or use it as a context manager: that kills it if it still runs."""

    def __init__(self, pid: int, connection: Connection, control: socket.socket) -> None:
        self.pid = pid
        self.connection = connection
        self._control = control
        self._exit_code: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code (a signal's number, negated, if one ended it), or None after `timeout` seconds.

        Raises TrainingError when the fork server itself has gone, and nobody knows.
        """
        if self._exit_code is None and _can_be_read(self._control, timeout):
            self._exit_code = _receive_number(self._control)
        return self._exit_code

    def close(self) -> None:
        """Close the connection and kill the process if it still runs. Closing twice does nothing."""
        self.connection.close()
        self._control.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def start(*modules: str, nice: int = 0, stdout: int | None = None) -> None:
    """Start the fork server if there is none, without waiting until it is ready.

    `modules` are imported in it after training's, and after what was asked of it by then is done; the call that starts
    it decides. To be called early by a command that will train, so that the server loads torch meanwhile. `fork` calls
    it otherwise. `nice` is by how much others go first, as `nice` has it, before the server and all that it forks, and
    `stdout` their standard output, in place of the caller's: what models print is not what a command answers.
    """
    global _server, _lifeline, _address
    with _lock:
        if _address is not None and (_server is None or _server.poll() is None):
            return
        folder = tempfile.mkdtemp(prefix="galaxy-")  # only this user can enter it
        address = str(Path(folder, "fork"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(128)
            # The path first: the server must find galaxy_fl, and its children the user's modules.
            program = (
                "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
                "from galaxy_fl.worker import forkserver; "
                "forkserver.main(int(sys.argv[1]), int(sys.argv[3]), sys.argv[4:])"
            )
            lifeline, its_stdin = socket.socketpair()
            with its_stdin:
                _server = subprocess.Popen(
                    [
                        *(sys.executable, "-P", "-c", program),
                        *(str(listener.fileno()), json.dumps(sys.path), str(nice), PRELOAD, *modules),
                    ],
                    stdin=its_stdin.fileno(),
                    stdout=stdout,
                    env=HUGE_PAGES | {name: value for name, value in os.environ.items() if name not in SECRETS},
                    pass_fds=[listener.fileno()],
                    process_group=0,  # an interrupt at the terminal is for the starter
                )
        _address, _lifeline = address, lifeline
        atexit.register(_end, os.getpid(), _server, lifeline, folder)


def fork(target: str) -> Child:
    """Fork a process that calls `target`, "module:function", with its `Connection` and then ends.

    It has the current directory, standard output and error of the caller's server, and no standard input.
    It exits with 0 if the function returns, 1 if it raises (the traceback is on standard error).

    Raises TrainingError when the server can't be reached or can't import what it should.
    """
    global _has_asked, _has_forked
    start()
    _has_asked = True
    assert _address is not None
    request = json.dumps({"target": target, "directory": os.getcwd()}).encode()
    control = socket.socket(socket.AF_UNIX)
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            control.connect(_address)
            socket.send_fds(control, [request], [theirs.fileno()])
        pid = _receive_number(control)
    except (OSError, TrainingError) as error:
        control.close()
        ours.close()
        raise TrainingError(
            f"no process could be started for {target}, because the fork server is gone ({error}): standard "
            f"error says why if it ended by itself; start the program again"
        ) from error
    _has_forked = True
    return Child(pid, Connection(ours.detach()), control)


def _can_be_read(control: socket.socket, timeout: float | None) -> bool:
    poll = select.poll()  # unlike select, it takes more than 1,024 files
    poll.register(control, select.POLLIN)
    return bool(poll.poll(None if timeout is None else 1000 * timeout))


def _receive_number(control: socket.socket) -> int:
    data = control.recv(NUMBER.size, socket.MSG_WAITALL)
    if len(data) < NUMBER.size:
        raise TrainingError("the fork server has ended")
    number: int = NUMBER.unpack(data)[0]
    return number


def _end(starter: int, server: subprocess.Popen[bytes], lifeline: socket.socket, folder: str) -> None:
    if os.getpid() != starter:  # a user's fork of the program
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program ends already
    _stop(server, lifeline, folder)


def _stop(server: subprocess.Popen[bytes], lifeline: socket.socket, folder: str) -> None:
    if lifeline.fileno() == -1:
        return  # it was stopped before
    with lifeline:
        lifeline.shutdown(socket.SHUT_WR)
        # A program that ends with an error before it has trained waits for nothing. What has children kills them first,
        # and is about to be ready if it is not.
        if _can_be_read(lifeline, None if _has_forked else LAST_IMPORT if _has_asked else 0):
            server.returncode = 0  # waited for by nobody: all that is left to do is to take its memory apart
        else:  # it still imports, and has no children yet
            server.kill()
            server.wait()
            shutil.rmtree(folder, ignore_errors=True)


# ---- The server's side ------------------------------------------------------------------------------------


def main(listener_fd: int, nice: int, modules: list[str]) -> NoReturn:
    """Import `modules`, and fork on request from the first of them on until standard input closes."""
    global _address
    os.nice(nice)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=listener_fd) as listener:
        _address = listener.getsockname()
        try:
            _import(modules[0])
            _serve(listener, modules[1:])
        finally:
            shutil.rmtree(Path(listener.getsockname()).parent)
    sys.stdout.flush()
    sys.stderr.flush()
    os.close(STDIN)  # the starter waits for no more
    os._exit(0)  # Python would take torch apart first, for half a second in which the starter waits


@contextmanager
def _killing(children: Iterable[int]) -> Iterator[None]:
    try:
        yield
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


def _import(module: str) -> None:
    # The collector would go through all that torch consists of again and again, an eighth of the time, to find nothing.
    gc.disable()
    importlib.import_module(module)
    # Objects moved out of the collector's sight stay in pages that children continue to share.
    gc.freeze()
    gc.enable()


def _serve(listener: socket.socket, modules: Sequence[str]) -> None:
    later = deque(modules)
    children: dict[int, socket.socket] = {}
    woken, waker = socket.socketpair()
    with woken, waker, selectors.DefaultSelector() as selector, _killing(children):
        for end in (woken, waker):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno())
        for watched in (STDIN, listener, woken):
            selector.register(watched, selectors.EVENT_READ)
        while True:
            ready = selector.select(0 if later else None)
            if later and not ready:  # whoever has asked already needs none of these, or imports it
                _import(later.popleft())
            for key, _ in ready:
                source = key.fileobj
                if not isinstance(source, socket.socket):  # standard input: the starter has ended
                    signal.set_wakeup_fd(-1)
                    return
                if source is woken:
                    woken.recv(4096)
                    _reap(children, selector)
                elif source is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                else:
                    _attend(source, children, selector, waker)


def _attend(
    control: socket.socket,
    children: dict[int, socket.socket],
    selector: selectors.BaseSelector,
    waker: socket.socket,
) -> None:
    """What a control socket brings: first the request to fork, later the asker's farewell."""
    data, fds = b"", list[int]()
    if control.fileno() == -1:
        return  # its child was reaped a moment ago
    with suppress(ConnectionError):  # the asker died, which is a farewell too
        data, fds, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
    pids = [pid for pid, other in children.items() if other is control]
    if pids or not fds:
        selector.unregister(control)
        if pids:
            os.kill(pids[0], signal.SIGKILL)  # not reaped yet, so the number is still its own
        else:
            control.close()
        return
    pid = os.fork()
    if pid == 0:
        inherited = [key.fileobj for key in selector.get_map().values() if isinstance(key.fileobj, socket.socket)]
        inherited += [*children.values(), waker]
        children.clear()  # they are not this one's to kill
        for one in inherited:
            one.close()
        selector.close()
        _run(data, fds[0])
    os.close(fds[0])
    children[pid] = control
    _report(control, pid)


def _reap(children: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        control = children.pop(pid)
        if control.fileno() in selector.get_map():
            selector.unregister(control)
        _report(control, os.waitstatus_to_exitcode(status))
        control.close()


def _report(control: socket.socket, number: int) -> None:
    with suppress(ConnectionError):  # nobody wants to know any more; the selector will find it closed
        control.sendall(NUMBER.pack(number))


def _run(request: bytes, connection_fd: int) -> NoReturn:
    """The child, from its fork to its end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, STDIN)
        os.close(null)
        os.set_inheritable(connection_fd, False)
        wanted = json.loads(request)
        os.chdir(wanted["directory"])
        module, _, function = wanted["target"].partition(":")
        with Connection(connection_fd) as connection:
            getattr(importlib.import_module(module), function)(connection)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not the server's atexit functions
