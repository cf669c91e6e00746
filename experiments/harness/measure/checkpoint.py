"""How far a training run is: written whole or not at all, by one process, and read as data, never as code."""

import io
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from experiments.harness.measure.share import WHOLE, Share
from experiments.harness.processes import imports
from experiments.harness.records.files import write_whole

FIELDS = {"model", "adam", "random", "curves", "resumed"}


@dataclass(frozen=True)
class Told:
    """What a training run has told so far: curves by name, and the iterations from which it was resumed."""

    curves: dict[str, dict[str, list[float]]]
    resumed: list[int]


def save(path: Path | None, model: nn.Module, adam: torch.optim.Adam, told: Told, share: Share = WHOLE) -> None:
    """Keep model, optimizer and random state, and what the run has told."""
    if path is None or not share.leads:
        return
    state = {
        "model": model.state_dict(),
        "adam": adam.state_dict(),
        "random": torch.get_rng_state(),
        "curves": told.curves,
        "resumed": told.resumed,
        "sources": imports.sources(),
    }
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())


def resume(path: Path | None, model: nn.Module, adam: torch.optim.Adam, share: Share = WHOLE) -> Told | None:
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
    return Told(state["curves"], state["resumed"])


def ours(content: bytes) -> bool:
    """Whether no source of a checkpoint was other than this process has it.

    Its name knows those of the project, but not every module that a file of the user's imports.
    """
    then = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True).get("sources", {})
    now = imports.sources()
    return all(now.get(name, digest) == digest for name, digest in then.items())


def damaged(path: Path) -> str:
    """Tell what is wrong with a checkpoint that is there; empty if nothing is."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return ""
    except Exception as error:  # whatever the reader makes of it
        return " ".join(str(error).split())[:100] or type(error).__name__
    return "" if isinstance(state, dict) and state.keys() >= FIELDS else "fields are missing"
