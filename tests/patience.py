"""How long tests wait for what has to come: only a hang takes as long, however busy the machine is."""

import subprocess
import threading

PATIENCE = 600  # seconds, for one event or one process


def next_line(process: subprocess.Popen) -> str:
    """The next line that a process prints; an empty one if it hangs, for which it is killed."""
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()
