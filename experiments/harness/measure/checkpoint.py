"""How far a training run is: written whole or not at all, by one process, and read as data, never as code."""

import io
import os
import tempfile
from pathlib import Path

import torch
from torch import nn

from experiments.harness.case import Json
from experiments.harness.measure.share import WHOLE, Share
from experiments.harness.processes import imports

FIELDS = {"model", "adam", "random", "told"}


def save(
    path: Path | None, model: nn.Module, adam: torch.optim.Adam, told: dict[str, Json], share: Share = WHOLE
) -> None:
    """Keep model, optimizer and random state, and what the run has `told`: numbers, lists and dicts of them."""
    if path is None or not share.leads:
        return
    state = {
        "model": model.state_dict(),
        "adam": adam.state_dict(),
        "random": torch.get_rng_state(),
        "told": told,
        "sources": imports.sources(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(file.name, path)


def resume(path: Path | None, model: nn.Module, adam: torch.optim.Adam, share: Share = WHOLE) -> dict[str, Json] | None:
    """Put model, optimizer and random state where they were; what the run had told.

    None where there is nothing, or only what other sources have made.
    """
    found = path.read_bytes() if path and share.leads and path.exists() else b""
    content = share.agreed(found if found and ours(found) else b"", next(model.parameters()).device)
    if not content:
        return None
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    adam.load_state_dict(state["adam"])
    torch.set_rng_state(state["random"])
    told: dict[str, Json] = state["told"]
    return told


def ours(content: bytes) -> bool:
    """Whether no source of a checkpoint was other than this process has it.

    Its name knows those of the project, but not every module that a file of the user's imports.
    """
    then = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).get("sources", {})
    now = imports.sources()
    return all(now.get(name, digest) == digest for name, digest in then.items())


def damaged(path: Path) -> str:
    """What is wrong with a checkpoint that is there; empty if nothing is."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return ""
    except Exception as error:  # whatever the reader makes of it
        return " ".join(str(error).split())[:100] or type(error).__name__
    return "" if isinstance(state, dict) and state.keys() >= FIELDS else "fields are missing"
