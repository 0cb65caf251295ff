#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Usage: tests/results.py tap LOG STATUS | ktap OUT TESTLOG...

tap: print the results of one test as TAP. LOG is what it printed, STATUS its exit
status. Lines of TAP in the log are its results; without any, the status is (0 passed, 4
skipped). If all results passed, these are failures: another status than 0 or 4, plans for
another number of results than there are, and a bail out.

ktap: write the results of tests to OUT as KTAP, and print what failed and what was
skipped, and the totals. TESTLOG are logs of meson, testlog.json. A test that was
stopped at its time limit has failed; one that was interrupted is not counted. The
last line is 'N passed, N failed', after 'N skipped' if there are any; the exit status
is 1 if any failed or none passed.
"""

import json
import re
import sys

RESULT = re.compile(r"^(ok|not ok)\b\s*\d*\s*-?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)\s*(#.*)?$")
SKIP = re.compile(r"#\s*SKIP\b\s*(.*)$", re.IGNORECASE)


def results(lines):
    """The lines of TAP among lines, as (ok, name)."""
    matches = map(RESULT.match, lines)
    return [(match[1] == "ok", match[2].strip()) for match in matches if match]


def judge(lines, status):
    """The results of a test that printed lines and ended with status."""
    found = results(lines)
    if status == 4 and not found:
        reasons = [line.split("SKIP", 1)[1].strip(" :-#") for line in lines if "SKIP" in line]
        return [(True, "run # SKIP " + (reasons + ["see the log"])[0])]
    plans = [int(match[1]) for match in map(PLAN.match, lines) if match]
    if not found:
        empty = 0 in plans
        return [(status == 0 and not empty, "no test ran" if empty else "run")]
    if all(ok for ok, _ in found):
        if status not in (0, 4):
            found.append((False, "exit status %d" % status))
        elif plans and sum(plans) != len(found):
            found.append((False, "%d results, %d were planned" % (len(found), sum(plans))))
        elif any(line.startswith("Bail out!") for line in lines):
            found.append((False, "bailed out"))
    return found


def print_tap(found, out, indent=""):
    print("%s1..%d" % (indent, len(found)), file=out)
    for number, (ok, name) in enumerate(found, 1):
        print("%s%s %d - %s" % (indent, "ok" if ok else "not ok", number, name), file=out)


def tap(log, status):
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    print("TAP version 13")
    print_tap(judge(lines, int(status)), sys.stdout)
    return 0


def of_meson(test):
    """The results of an entry of testlog.json, or None if it was interrupted."""
    if test["result"] == "INTERRUPT":
        return None
    found = results((test.get("stdout") or "").splitlines())
    if test["result"] == "TIMEOUT":
        found.append((False, "ends within its time limit"))
    elif test["result"] not in ("OK", "SKIP") and all(ok for ok, _ in found):
        found.append((False, "meson says " + test["result"]))
    return found or [(False, "no results")]


def ktap(path, *logs):
    tests = []
    for log in logs:
        with open(log, encoding="utf-8") as file:
            tests += map(json.loads, file)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with open(path, "w", encoding="utf-8") as out:
        print("KTAP version 1\n1..%d" % len(tests), file=out)
        for number, test in enumerate(tests, 1):
            found = of_meson(test)
            if found is None:
                print("stopped: %s" % test["name"])
                print("ok %d %s # SKIP stopped" % (number, test["name"]), file=out)
                continue
            print("  KTAP version 1", file=out)
            print_tap(found, out, "  ")
            print("%s %d %s" % ("ok" if all(ok for ok, _ in found) else "not ok", number,
                                test["name"]), file=out)
            for ok, name in found:
                kind = "failed" if not ok else "skipped" if SKIP.search(name) else "passed"
                counts[kind] += 1
                if kind != "passed":
                    print("%s: %s: %s" % (kind, test["name"], name))
            if not all(ok for ok, _ in found):
                print("    ./check '%s'" % test["name"])
    if counts["skipped"]:
        print("%(skipped)d skipped" % counts)
    print("%(passed)d passed, %(failed)d failed" % counts)
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "tap":
        sys.exit(tap(*sys.argv[2:]))
    if len(sys.argv) >= 4 and sys.argv[1] == "ktap":
        sys.exit(ktap(*sys.argv[2:]))
    print(__doc__, end="")
    sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
