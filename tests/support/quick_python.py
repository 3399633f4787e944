"""A Python for processes of tests: it forks one that has loaded torch and other libraries, but nothing of mosaic.

Loading them takes four seconds of CPU time. What is forked is a process of its own, with its arguments, folder,
environment, streams and exit status. It imports mosaic itself, and ends when the process that asked for it ends. What
it starts by `sys.executable` is forked, too.
"""

from __future__ import annotations

import multiprocessing.spawn  # noqa: F401 - it notes sys.executable when it is imported
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["quick_python"]

SERVER = """
import atexit, json, multiprocessing.spawn, os, runpy, select, signal, socket, sys, traceback
import dask.array, distributed, jinja2, netCDF4, pydantic, rich, torch, xarray
import matplotlib.backends.backend_agg, matplotlib.figure, scipy.sparse.csgraph, scipy.special, scipy.stats


def run(program, kind, what, arguments, folder, environment):
    sys.executable = program
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [kind, *arguments]
    if kind == "-c":
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def child(request):
    status = 0
    try:
        run(**request)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def keep(connection):
    first, streams, *_ = socket.recv_fds(connection, 1, 3)
    request = json.loads(first + connection.makefile("rb").readline())
    process = os.fork()
    if process == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        child(request)
    for stream in streams:
        os.close(stream)
    if connection in select.select([connection, os.pidfd_open(process)], [], [])[0]:  # who asked for it has ended
        os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        connection.sendall(str(status).encode())
    finally:
        os._exit(0)


listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while listener in select.select([listener, sys.stdin], [], [])[0]:  # its standard input ends with the tests
    connection, _ = listener.accept()
    keeper = os.fork()
    if keeper == 0:
        listener.close()
        if os.fork() == 0:  # nobody has to wait for it
            keep(connection)
        os._exit(0)
    os.waitpid(keeper, 0)
    connection.close()
"""

CLIENT = """#!{python} -SE
import json, os, signal, socket, sys

if sys.argv[1] not in ("-c", "-m"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
kind, what, *arguments = sys.argv[1:]
request = dict(program={program!r}, kind=kind, what=what, arguments=arguments)
request.update(folder=os.getcwd(), environment=dict(os.environ))
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
content = json.dumps(request).encode() + b"\\n"
socket.send_fds(connection, [content[:1]], [0, 1, 2])
connection.sendall(content[1:])
status = int(connection.recv(16) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@contextmanager
def quick_python() -> Iterator[str]:
    """Give the path of a program that forks for `-c` and `-m`; other arguments it gives to Python itself.

    It is Python itself where the system cannot tell the end of a process.
    """
    if not hasattr(os, "pidfd_open"):
        yield sys.executable
        return
    with tempfile.TemporaryDirectory() as folder:
        address, program = Path(folder) / "socket", Path(folder) / "python"
        program.write_text(CLIENT.format(python=sys.executable, program=str(program), address=str(address)))
        program.chmod(0o700)
        command = [sys.executable, "-c", SERVER, str(address)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield str(program)
