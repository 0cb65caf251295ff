#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Usage: tests/results_test.py

Test how tests/results.py judges what tests print, and what it makes of meson's log.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import results  # pylint: disable=wrong-import-position


def failures(text, status):
    return [name for ok, name in results.judge(text.splitlines(), status) if not ok]


class Judge(unittest.TestCase):
    def test_status_alone(self):
        self.assertEqual(failures("anything", 0), [])
        self.assertEqual(failures("anything", 1), ["run"])

    def test_a_result_that_failed(self):
        self.assertEqual(failures("ok 1 a\nnot ok 2 - b\n", 0), ["b"])

    def test_a_status_that_no_result_explains(self):
        self.assertEqual(failures("ok 1 a", 3), ["exit status 3"])
        self.assertEqual(failures("not ok 1 a", 3), ["a"])

    def test_a_plan_that_is_not_kept(self):
        self.assertEqual(failures("1..2\nok 1 a", 0), ["1 results, 2 were planned"])
        self.assertEqual(failures("ok 1 a\n1..1\n1..1 # b\nok 1 c", 0), [])

    def test_a_bail_out(self):
        self.assertEqual(failures("ok 1 a\nBail out! b", 0), ["bailed out"])

    def test_an_empty_plan(self):
        self.assertEqual(failures("1..0", 0), ["no test ran"])

    def test_skipped(self):
        self.assertEqual(results.judge(["1..0 # SKIP no TDX"], 4), [(True, "run # SKIP no TDX")])
        self.assertEqual(failures("not ok 1 a", 4), ["a"])

    def test_text_that_is_no_result(self):
        self.assertEqual(failures("okay\n  not ok 1 a subtest's own\n", 0), [])


class Ktap(unittest.TestCase):
    def ktap(self, *tests):
        with tempfile.TemporaryDirectory() as work:
            log = os.path.join(work, "log.json")
            with open(log, "w", encoding="utf-8") as file:
                for name, result, stdout in tests:
                    print(json.dumps({"name": name, "result": result, "stdout": stdout}), file=file)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                status = results.ktap(os.path.join(work, "out"), log)
            return status, printed.getvalue().splitlines()

    def test_totals(self):
        status, printed = self.ktap(("g/a", "OK", "ok 1 - x\nok 2 - y # SKIP z"),
                                    ("g/b", "FAIL", "ok 1 - x\nnot ok 2 - w"))
        self.assertEqual(status, 1)
        self.assertEqual(printed, ["skipped: g/a: y # SKIP z", "failed: g/b: w",
                                   "    ./check 'g/b'", "1 skipped", "2 passed, 1 failed"])

    def test_a_time_limit(self):
        status, printed = self.ktap(("g/a", "OK", "ok 1 - x"), ("g/b", "TIMEOUT", ""))
        self.assertEqual((status, printed[-1]), (1, "1 passed, 1 failed"))

    def test_no_results(self):
        self.assertEqual(self.ktap(("g/a", "ERROR", ""))[1][-1], "0 passed, 1 failed")

    def test_interrupted(self):
        status, printed = self.ktap(("g/a", "OK", "ok 1 - x"), ("g/b", "INTERRUPT", ""))
        self.assertEqual((status, printed), (0, ["stopped: g/b", "1 passed, 0 failed"]))

    def test_what_meson_says(self):
        for result in ("FAIL", "ERROR", "else"):
            self.assertEqual(self.ktap(("g/a", result, "ok 1 - x"))[1][0],
                             "failed: g/a: meson says " + result)

    def test_nothing(self):
        self.assertEqual(self.ktap()[0], 1)
        self.assertEqual(self.ktap(("g/a", "SKIP", "ok 1 - x # SKIP y"))[0], 1)


if __name__ == "__main__":
    unittest.main()
