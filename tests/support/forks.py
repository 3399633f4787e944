"""Scripts that are measured in processes of their own: forks of one that has loaded torch and mosaic, once for all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Run", "forks"]

SERVER = """
import json, os, sys
import torch, mosaic

mosaic.registry()
for line in sys.stdin:
    script, arguments, folder = json.loads(line)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        sys.argv = ["-c", *arguments]
        os.chdir(folder)
        status = 1
        try:
            exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}")
        finally:
            sys.stdout.flush()
            os._exit(status)
    print(json.dumps({"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}), flush=True)
"""


Run = Callable[..., str]


@contextmanager
def forks() -> Iterator[Run]:
    """Give a function that runs a script in a fork, in the current folder, and gives what it prints."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", SERVER], text=True, **pipes) as server:

        def run(script: str, *arguments: str) -> str:
            assert server.stdin is not None
            assert server.stdout is not None
            print(json.dumps([script, arguments, str(Path.cwd())]), file=server.stdin, flush=True)
            printed = []
            for line in server.stdout:
                if line.startswith('{"status": '):
                    assert json.loads(line)["status"] == 0, printed
                    return "".join(printed)
                printed.append(line)
            raise AssertionError(f"the server ended: {printed}")

        yield run  # it ends with its standard input
