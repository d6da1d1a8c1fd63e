#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Visits every state of a Spin model.

  check_model.py MODEL [-DNAME[=VALUE]]... [--finds TEXT]

Without --finds no state may be wrong; with it the model is a mutant, and the
search must end with an error that says TEXT. Exit status 77: no spin here."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
MEMORY_MB = 1000
MEMORY_SOAK_MB = 8000
DEPTH_MAX = 100000
# No partial order reduction: it does not know of `provided` and `unless`.
CFLAGS = ['-O2', '-w', '-DSAFETY', '-DNOREDUCE', '-DCOLLAPSE']


def number(pattern, text):
    found = re.search(pattern, text)
    return float(found[1]) if found else 0


def search(model, defines, memory_mb):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(['spin', '-a', *defines, model], cwd=scratch,
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run([os.environ.get('CC', 'gcc'), *CFLAGS,
                        f'-DMEMLIM={memory_mb}', '-o', 'pan', 'pan.c'],
                       cwd=scratch, check=True)
        run = subprocess.run(['./pan', f'-m{DEPTH_MAX}'], cwd=scratch,
                             stdout=subprocess.PIPE, text=True, check=False)
        return run.stdout


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('model')
    parser.add_argument('-D', dest='defines', action='append', default=[])
    parser.add_argument('--finds')
    args = parser.parse_args()
    if not shutil.which('spin'):
        print('spin is not installed')
        sys.exit(SKIPPED)

    soak = bool(os.environ.get('STILE_SOAK'))
    output = search(os.path.abspath(args.model),
                    ['-D' + define for define in args.defines],
                    MEMORY_SOAK_MB if soak else MEMORY_MB)
    states = number(r'(\d+) states, stored\n', output)
    error = re.search(r'^pan:\d+: (.*)$', output, re.MULTILINE)
    memory_mb = number(r'([0-9.]+)\s+total actual memory', output)
    seconds = number(r'elapsed time ([0-9.]+)', output)
    print(f'{int(states)} states, {memory_mb:.0f} MB, {seconds:.1f} s')
    if error:
        print(error[1])

    if args.finds:
        ok = error and args.finds in error[1]
    else:
        ok = (re.search(r'errors: 0$', output, re.MULTILINE) and states > 0
              and 'Search not completed' not in output
              and 'max search depth too small' not in output)
    if not ok:
        print(re.sub(r'^Depth=.*\n', '', output, flags=re.MULTILINE))
        sys.exit(1)


if __name__ == '__main__':
    main()
