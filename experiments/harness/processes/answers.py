"""What the passes and processes of a cell have answered, as one."""

from collections.abc import Iterable
from typing import Any

from experiments.harness.case import Json
from experiments.harness.processes.imports import EDITED


def all_ok(by_pass: dict[str, list[dict[str, Json]]]) -> bool:
    """Whether every one of them ended well."""
    return all(answer["status"] == "ok" for answers in by_pass.values() for answer in answers)


def merge(by_pass: dict[str, list[dict[str, Json]]]) -> dict[str, Json]:
    """One cell from the answers of its passes and their processes.

    Rows are merged; samples stay apart by process; the first answer that is not ok decides the status. Where processes
    had other sources than others, the cell is of none of them, and has failed.
    """
    answers = [answer for group in by_pass.values() for answer in group]
    sources = together(answer.get("sources", {}) for answer in answers)
    edited = [name for name, digest in sources.items() if digest == EDITED]
    bad = next((answer for answer in answers if answer["status"] != "ok"), None)
    last = answers[-1]
    if edited:
        bad = last = {"status": "failed", "reason": f"{called(edited[0])} was edited while it was measured"}
    row: dict[str, Json] = {}
    cell: dict[str, Any] = {
        "status": bad["status"] if bad else "ok",
        "reason": bad["reason"] if bad else "",
        "note": last.get("note", ""),
        "stream_digest": last.get("stream_digest", ""),
        "init_digest": last.get("init_digest", ""),
        "empty": {},
        "samples": {},
        "observations": {},
        "series": {},
        "sources": sources,
        "lacking": bad.get("lacking", "") if bad else "",
    }
    for answer in answers:
        cell["empty"] |= answer.get("empty", {})
        row |= answer.get("row", {})
        if bad is None:
            for name, values in answer["samples"].items():
                cell["samples"].setdefault(name, []).append(values)
            cell["observations"] |= answer["observations"]
            cell["series"] |= answer["series"]
    cell["rows"] = last.get("rows") or [bad.get("row", {}) if bad else row]
    return cell


def together(each: Iterable[dict[str, str]]) -> dict[str, str]:
    """The sources of all processes of a cell; a file of which they had different contents was edited."""
    sources: dict[str, str] = {}
    for own in each:
        for name, digest in own.items():
            sources[name] = digest if sources.get(name, digest) == digest else EDITED
    return sources


def called(name: str) -> str:
    """A source file by the name that a reader knows."""
    first, _, inside = name.partition("/")
    own = first.removeprefix("external_")
    if first == own:
        return inside if first == "external" else name
    return inside or f"{own.removeprefix('model_')}.py"
