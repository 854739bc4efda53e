"""Runs the unittest cases of a test program and ends with the line that ./dev test counts by."""
import os
import sys
import unittest


class _Counting(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)


def main():
    """Runs what the calling program defines; "-k name" and the like are unittest's."""
    arguments = [argument for argument in sys.argv[1:]]
    program = unittest.main(module="__main__", argv=[sys.argv[0], *arguments], exit=False, verbosity=2,
                            testRunner=unittest.TextTestRunner(stream=sys.stdout, resultclass=_Counting, verbosity=2))
    result = program.result
    failed = len({str(test).split(" (")[0] + str(test.id()) for test, _ in result.failures + result.errors})
    failed += len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    passed = result.passed + len(result.expectedFailures)
    print(f"vellum-tests passed={passed} failed={failed} skipped={skipped}", flush=True)
    # Threads of a client library that never end must not keep a finished test alive.
    sys.stdout.flush()
    os._exit(1 if failed or (passed == 0 and skipped == 0) else 0)
