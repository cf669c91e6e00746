"""What the passes and processes of a cell have answered, as one."""

from typing import Any

from experiments.harness.case import Json


def all_ok(by_pass: dict[str, list[dict[str, Json]]]) -> bool:
    """Whether every one of them ended well."""
    return all(answer["status"] == "ok" for answers in by_pass.values() for answer in answers)


def merge(by_pass: dict[str, list[dict[str, Json]]]) -> dict[str, Json]:
    """One cell from the answers of its passes and their processes.

    Rows are merged; samples stay apart by process; the first answer that is not ok decides the status.
    """
    answers = [answer for group in by_pass.values() for answer in group]
    bad = next((answer for answer in answers if answer["status"] != "ok"), None)
    last = answers[-1]
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
        "sources": {},
    }
    for answer in answers:
        cell["sources"] |= answer.get("sources", {})
        cell["empty"] |= answer.get("empty", {})
        row |= answer.get("row", {})
        if bad is None:
            for name, values in answer["samples"].items():
                cell["samples"].setdefault(name, []).append(values)
            cell["observations"] |= answer["observations"]
            cell["series"] |= answer["series"]
    cell["rows"] = last.get("rows") or [bad.get("row", {}) if bad else row]
    return cell
