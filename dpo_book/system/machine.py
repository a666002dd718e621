"""On what, and with what, a stored number was measured."""

import importlib.metadata
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name as the system gives it, such as "AMD EPYC"."""
    if Path("/proc/cpuinfo").exists():  # Linux; platform.processor() is empty there
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """Such as "Python 3.11.2, torch 2.13.0, transformers 5.23.0", and any more ``packages`` that are named."""
    installed = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", *packages)]
    return ", ".join([f"Python {platform.python_version()}", *installed])
