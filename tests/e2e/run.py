#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the end-to-end tests: every *_test.py beside this file.

  run.py [--build DIR] [--soak] [--list] [FILTER...]

A FILTER is a part of a test's name, e.g. `nginx` or `limits_test.Window`.
The last line is `N passed, N failed, N skipped`; exit 0 when none failed."""

import argparse
import os
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0
        self.subtest_failed = False

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()
        self.subtest_failed = False

    def tell(self, word, test, text=''):
        took = time.monotonic() - getattr(self, 'begin', time.monotonic())
        print(f'{word:4} {test.id()} ({took:.1f} s)', flush=True)
        if text:
            print('     ' + text.rstrip().replace('\n', '\n     '), flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.tell('ok', test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.tell('FAIL', test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self.tell('FAIL', test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.subtest_failed = True
            text = (self.failures + self.errors)[-1][1]
            self.tell('FAIL', subtest, text)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.tell('skip', test, reason)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', type=Path,
                        default=HERE.parents[1] / 'build' / 'release')
    parser.add_argument('--soak', action='store_true',
                        help='the long versions, with timed assertions')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('filter', nargs='*')
    args = parser.parse_args()

    if not (args.build / 'stiled').exists():
        sys.exit(f'{args.build}/stiled is missing; build it first: '
                 'tools/build release')
    os.environ['STILE_BUILD'] = str(args.build.resolve())
    if args.soak:
        os.environ['STILE_SOAK'] = '1'

    sys.path.insert(0, str(HERE))
    loader = unittest.TestLoader()
    suite = loader.discover(str(HERE), pattern='*_test.py',
                            top_level_dir=str(HERE))
    chosen = [t for t in flatten(suite) if not args.filter or
              any(f in t.id() for f in args.filter)]
    if args.list:
        print('\n'.join(t.id() for t in chosen))
        return
    if not chosen:
        sys.exit('no test has such a name')
    result = Result()
    unittest.TestSuite(chosen).run(result)
    failed = len(result.failures) + len(result.errors)
    print(f'{result.passed} passed, {failed} failed, '
          f'{len(result.skipped)} skipped')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
