# SPDX-License-Identifier: GPL-2.0-only
"""What scripts that compare two kernels have in common: boots of an emulated host."""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
RESULTS = os.path.join(BUILD, "results")
HOST = os.path.join(TOP, "tools/testing/tdx-host")
REPEAT = 10
# The exit statuses of a boot that did not end as it should.
ENDED = {119: "report", 121: "panic", 122: "hang", 123: "splat", 124: "hang"}


class Host:
    """One platform with one kernel.  The script that a boot runs says "start: TEST" and
    "status: TEST STATUS".  NAME is for messages and for the directory of the results.

    A subclass has script(tests), files(tests), options, and result(status, lines), the
    result of a test that has printed LINES and has ended with STATUS, a number, or in
    one of the ways of ENDED.
    """

    def __init__(self, name, platform, when, kernel):
        self.name = name
        self.platform = platform
        self.when = when
        self.kernel = kernel

    def boot(self, tests):
        """Run tests in one boot, up to the one that ends it; their results."""
        out = os.path.join(RESULTS, "%s-%s-%s" % (self.name, self.platform, self.when))
        with tempfile.TemporaryDirectory() as work:
            script = os.path.join(work, "tests.sh")
            with open(script, "w", encoding="utf-8") as file:
                file.write(self.script(tests))
            run = subprocess.run(
                [os.path.join(HOST, "run"), "--platform", self.platform,
                 "--kernel", self.kernel, "--no-ownership", "--results", out]
                + self.options + [script] + self.files(tests) + ["--", "sh", "/tests.sh"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8", errors="replace", check=False)
        results = {}
        running, lines = None, []
        for line in run.stdout.splitlines():
            match = re.match(r"(start|status): (\S+) ?(\d*)$", line)
            if match and match[1] == "start":
                running, lines = match[2], []
            elif match:
                results[match[2]] = self.result(int(match[3]), lines)
                running = None
            else:
                lines.append(line)
        if run.returncode == 0:
            # Nothing repeats what says nothing.
            for test in tests:
                results.setdefault(test, self.result(-1, lines))
            return results
        if run.returncode not in ENDED:
            sys.exit("%s: the host did not work:\n%s" % (self.name, run.stderr))
        ended = ENDED[run.returncode]
        if ended in ("splat", "report"):
            # One of them caused it: which one shows if each has its own boot.
            if len(tests) == 1:
                return {tests[0]: self.result(ended, [])}
            return {test: self.boot([test])[test] for test in tests}
        if not running:
            sys.exit("%s: a %s while no test ran" % (self.name, ended))
        # After others it may only have lacked time: the next boot starts with it.
        if ended != "hang" or not results:
            results[running] = self.result(ended, lines)
        return results


def run_both(hosts, run):
    """RUN(host) for both, at a time if there are the CPUs."""
    jobs = int(os.environ.get("JOBS") or os.cpu_count())
    with concurrent.futures.ThreadPoolExecutor(min(jobs, len(hosts))) as pool:
        return pool.map(run, hosts)


def find_unstable(before, old, new, why_worse, unstable):
    """Tests that do worse now, but do so with the base's kernel, BEFORE, now and then,
    too, get the result UNSTABLE on both, and are returned.
    """
    found = []
    for test in [test for test in new if why_worse(old[test], new[test])]:
        print("  %s: %s %s; again, up to %d times" % (
            before.platform, test, why_worse(old[test], new[test]), REPEAT), flush=True)
        if any(not why_worse(before.boot([test])[test], new[test])
               for _ in range(REPEAT)):
            old[test] = new[test] = unstable
            found.append(test)
    return found
