# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Runs `fgaseg train` some times on several processes, which share one import: for machines with few processors.

    python tests/forked_training.py RUNS

RUNS is a JSON list of objects: `num_processes`; `words`, the command's; `kill_when`, a path or null: as soon as it
exists, all processes of the run are killed. The last line that is printed is the list of how each run ended: 0 well, 9
killed, 1 otherwise.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any


def run(num_processes: int, words: list[str], kill_when: str | None = None) -> int:
    """Returns 0 if all processes ended well, 9 if they were killed, 1 otherwise."""
    from fgaseg_hf.evaluation.command_line_arguments import run_script
    from fgaseg_hf.training import train, training_run

    assert training_run  # imported before the processes part
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    shared = {"WORLD_SIZE": num_processes, "LOCAL_WORLD_SIZE": num_processes, "MASTER_PORT": port}
    os.environ.update({"MASTER_ADDR": "localhost", **{name: str(value) for name, value in shared.items()}})
    children = []
    for rank in range(num_processes):
        child = os.fork()
        if child == 0:
            code = 1
            os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank)})
            try:
                run_script(lambda: train.main(words))
                code = 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    killed = False
    codes: dict[int, int] = {}
    while len(codes) < num_processes:
        if kill_when is not None and Path(kill_when).exists() and not killed:
            killed = True
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        for child in set(children) - set(codes):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                codes[child] = os.waitstatus_to_exitcode(status)
        if any(code not in (0, -signal.SIGKILL) for code in codes.values()):
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    if killed:
        return 9
    return int(any(codes.values()))


def main(runs: list[dict[str, Any]]) -> None:
    """Runs one after another."""
    codes = [run(**described) for described in runs]
    sys.stdout.write(json.dumps(codes) + "\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
