#!/usr/bin/env python3
"""Sums up test runs: test_report.py DIRECTORY [BROKEN...]

Reads every JUnit file that ctest left in DIRECTORY. A ctest entry that is itself a program of several tests (the Python
ones) prints a line "vellum-tests passed=.. failed=.. skipped=.." and is counted by it. BROKEN names what could not even
be built: each counts as one failure. Failures are shown with their output, skips with their reason; the last line is the sum.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree

COUNTS = re.compile(r"^vellum-tests passed=(\d+) failed=(\d+) skipped=(\d+)\s*$", re.MULTILINE)
SKIP_REASON = re.compile(r"^(?:.*skipped ['\"](.*)['\"]|SKIP: (.*)|.*: Skipped$)", re.MULTILINE)
OUTPUT_LINES_MAX = 80


def outcome(case):
    """(passed, failed, skipped) of one ctest entry."""
    status = case.get("status", "")
    inner = COUNTS.findall(case.findtext("system-out") or "")
    if inner:
        passed, failed, skipped = (int(number) for number in inner[-1])
        if status == "fail" and failed == 0:
            failed = 1  # it died after its own sum, which is a failure too
        return passed, failed, skipped
    if status == "run":
        return 1, 0, 0
    if status in ("notrun", "disabled") and case.find("skipped") is not None:
        return 0, 0, 1
    return 0, 1, 0


def show_failure(run, case):
    print(f"FAILED {run}: {case.get('name')}")
    lines = (case.findtext("system-out") or "").rstrip().splitlines()
    if len(lines) > OUTPUT_LINES_MAX:
        print(f"    ... {len(lines) - OUTPUT_LINES_MAX} lines before")
    for line in lines[-OUTPUT_LINES_MAX:]:
        print("    " + line)
    failure = case.find("failure")
    if failure is not None and failure.get("message"):
        print("    " + failure.get("message"))


def show_skips(run, case):
    reasons = []
    for match in SKIP_REASON.finditer(case.findtext("system-out") or ""):
        reason = next((group for group in match.groups() if group), "")
        if reason and reason not in reasons:
            reasons.append(reason)
    print(f"skipped {run}: {case.get('name')}: " + ("; ".join(reasons) or "no reason given"))


def main(directory, broken):
    passed = failed = skipped = 0
    for report in sorted(pathlib.Path(directory).glob("*.xml")):
        run = report.stem
        try:
            cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))
        except xml.etree.ElementTree.ParseError as error:
            print(f"FAILED {run}: its report cannot be read: {error}")
            failed += 1
            continue
        for case in cases:
            good, bad, left_out = outcome(case)
            passed, failed, skipped = passed + good, failed + bad, skipped + left_out
            if bad:
                show_failure(run, case)
            if left_out:
                show_skips(run, case)
    for name in broken:
        print(f"FAILED {name}")
        failed += 1
    if passed + failed == 0:
        print("FAILED: no test ran")
        failed = 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
