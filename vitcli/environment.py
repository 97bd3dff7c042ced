"""What a run's numbers may depend on besides its config: machine, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vitcli.config import RunConfig
from vitcli.machine import cores
from vitcli.plugins import DATA, EVALS, MODELS, origins
from vitcli.step import compiles, precision


def environment(
    config: RunConfig, device: torch.device, steps: int = 0, processes: int = 1
) -> dict[str, Any]:
    """Returns what a number may depend on besides the config: machine, versions, commit.

    Args:
        steps: of the training; 0: there is none.
        processes: that train together.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:  # other kernels on another CPU, and then other last digits
        name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return {
        "device": f"{device.type} ({name})",
        "host": platform.node(),
        "cores": cores(),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "precision": precision(config, steps, device) if steps else "fp32",  # evaluation is exact
        "compiled": compiles(config, steps, device),
        "python": platform.python_version(),
        **{package: version(package) for package in ("vitcli", "torch", "timm")},
        **_plugins(config),
        "commit": _commit(),
    }


def _plugins(config: RunConfig) -> dict[str, str]:
    """Returns the packages, with versions, of what a run has from other packages."""
    named = {MODELS: [config.model.family], DATA: [config.data.name], EVALS: config.evals.own}
    return {k: v for group, names in named.items() for k, v in origins(group, names).items()}


def _commit() -> str | None:
    """Returns the commit of this source tree, `+` appended if it was changed; None outside git."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") or None
