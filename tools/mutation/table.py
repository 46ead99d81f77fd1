"""Writes what became of the mutants into the file that the book shows.

To be run with ``python -m tools.mutation.table build/mutation*.json``. A survivor needs a reason,
which is written into the file by hand, and kept when it is written again: it is the word
"equivalent" and why no test could tell the difference, or what no test is wanted for.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tools.mutation.__main__ import files
from tools.mutation.trial import ROOT

TARGET = ROOT / "book" / "reference" / "mutation.json"


def merged(sessions: list[dict[str, Any]], before: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of each file, and the survivors with the reasons known before."""
    files, survivors = dict(before.get("files", {})), []
    known = {(s["file"], s["before"], s["after"]): s["reason"] for s in before.get("survivors", ())}
    fresh = {file: entry for session in sessions for file, entry in session.items()}
    for file, entry in fresh.items():
        mutants = entry["mutants"]
        if mutants:
            first, killed = (
                sum(m[when] == "killed" for m in mutants) for when in ("first", "outcome")
            )
            files[file] = {"places": entry["places"], "tried": len(mutants), "first": first,
                           "killed": killed, "commit": entry["commit"]}  # fmt: skip
        for m in mutants:
            if m["outcome"] == "survived":
                reason = known.get((file, m["before"], m["after"]), "")
                survivors.append({"file": file, "before": m["before"], "after": m["after"],
                                  "reason": reason})  # fmt: skip
    survivors += [s for s in before.get("survivors", ()) if s["file"] not in fresh]
    survivors.sort(key=lambda s: (s["file"], s["before"], s["after"]))
    return {"files": dict(sorted(files.items())), "survivors": survivors}


def main() -> None:
    """Merge sessions into the file of the book."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation.table", description=__doc__)
    parser.add_argument("sessions", nargs="+", type=Path)
    sessions = [json.loads(p.read_text("utf-8")) for p in parser.parse_args().sessions]
    before = json.loads(TARGET.read_text("utf-8")) if TARGET.exists() else {}
    found = merged(sessions, before)
    untried = {"places": 0, "tried": 0, "first": 0, "killed": 0, "commit": ""}
    there = files([])
    found["files"] = {file: found["files"].get(file, untried) for file in there}
    found["survivors"] = [s for s in found["survivors"] if s["file"] in there]
    TARGET.write_text(_lines(found), encoding="utf-8")
    open_ = [s for s in found["survivors"] if not s["reason"]]
    for s in open_:
        print(f"{s['file']}: {s['before']}  ->  {s['after'] or '(left out)'}")
    print(f"{len(found['survivors'])} survivors, {len(open_)} without a reason; see {TARGET}")


def _lines(found: dict[str, Any]) -> str:
    """Write one file or survivor per line, so that a difference can be read."""
    files = ",\n".join(f"{json.dumps(f)}: {json.dumps(n)}" for f, n in found["files"].items())
    survivors = ",\n".join(json.dumps(s, ensure_ascii=False) for s in found["survivors"])
    return f'{{"files": {{\n{files}\n}},\n"survivors": [\n{survivors}\n]}}\n'


if __name__ == "__main__":
    main()
