"""What every benchmark writes down beside its figures: the machine and the versions they were taken on."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path

PACKAGES = ("eqvid_tf", "tensorflow", "keras", "numpy", "torch", "av", "opencv-python-headless")


def environment() -> dict:
    """The machine, the system, and the version of each package that is installed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def write(path: str | os.PathLike, figures: dict) -> None:
    """Writes `figures` as JSON with the environment first; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"environment": environment(), **figures}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
