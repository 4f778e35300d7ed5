# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Starts `fgaseg train` on several processes that share one import, for machines with few processors.

    python tests/forked_training.py NUM_PROCESSES KILL_WHEN ARGUMENT ...

KILL_WHEN is a path: as soon as it exists, all processes are killed; "-" lets them run to their end.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path


def main(num_processes: int, kill_when: Path | None, words: list[str]) -> int:
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
            os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank)})
            run_script(lambda: train.main(words))
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    killed = False
    codes: dict[int, int] = {}
    while len(codes) < num_processes:
        if kill_when is not None and kill_when.exists() and not killed:
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


if __name__ == "__main__":
    number, when, *rest = sys.argv[1:]
    sys.exit(main(int(number), None if when == "-" else Path(when), rest))
