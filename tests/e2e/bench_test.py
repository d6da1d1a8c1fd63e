# SPDX-License-Identifier: MIT
"""stile-bench compare: its figures, and that a lie fails it. The liar stands
where stile-bench expects stiled: it starts the real one, passes its bytes on,
and changes a few."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness import BUILD, ROOT

TIMEOUT_S = 180
# Few keys and short runs: what is tested is the tool, not the figures.
SMALL = ['--quick', '--keys', '200', '--repetitions', '1', '--seconds', '0.2']
MEMBERS = {'mode': str, 'connections': int, 'depth': int, 'keys': int,
           'repetitions': int, 'null_rps': float, 'check_rps': float,
           'share_of_null': float, 'null_cpu_ns': float,
           'check_cpu_ns': float, 'diff_cpu_ns': float,
           'commit': str, 'cpu': str, 'kernel': str, 'load_average': float}

# The liar's: it is slow. The frame with this number is the first one that the
# second of 4 connections sends; nothing before the measurement asks for it.
LIAR = ['--connections', '4', '--depth', '8', '--seconds', '0.5']
TARGET = 65536 // 4


def compare(*args, env=None):
    return subprocess.run([BUILD / 'stile-bench', 'compare', *args],
                          capture_output=True, text=True, timeout=TIMEOUT_S,
                          env={**os.environ, **(env or {})})


class Compare(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix='stile-bench-test-'))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def test_json_has_its_members(self):
        r = compare(*SMALL, '--json', env={'TMPDIR': str(self.dir)})
        self.assertEqual(r.returncode, 0, r.stderr)
        cells = json.loads(r.stdout)
        self.assertEqual([(c['mode'], c['connections'], c['depth'])
                          for c in cells],
                         [('raw', 64, 1), ('raw', 64, 32),
                          ('hashed', 64, 1), ('hashed', 64, 32)])
        for cell in cells:
            for name, kind in MEMBERS.items():
                self.assertIs(type(cell[name]), kind, name)
            self.assertEqual((cell['keys'], cell['repetitions']), (200, 1))
            for name in 'null_rps', 'check_rps', 'null_cpu_ns', 'check_cpu_ns':
                self.assertGreater(cell[name], 0, name)
            self.assertAlmostEqual(
                cell['share_of_null'] * cell['null_rps'] / cell['check_rps'],
                1, places=2)
            self.assertAlmostEqual(
                cell['check_cpu_ns'] - cell['null_cpu_ns'],
                cell['diff_cpu_ns'], delta=0.3)
        self.assertEqual(list(self.dir.iterdir()), [], 'scratch files stayed')

    def test_table_names_machine_and_commit(self):
        r = compare(*SMALL, '--mode', 'hashed', '--depth', '8',
                    '--connections', '4,16', '--threads', '2',
                    '--dir', str(self.dir / 'kept'))
        self.assertEqual(r.returncode, 0, r.stderr)
        for word in 'machine', 'commit', 'load average', 'hashed':
            self.assertIn(word, r.stdout)
        rows = [line.split()[:3] for line in r.stdout.splitlines()
                if line.startswith('hashed ')]
        self.assertEqual(rows, [['hashed', '4', '8'], ['hashed', '16', '8']])
        self.assertTrue((self.dir / 'kept' / 'state').is_dir())

    def test_wrong_usage_is_told_apart(self):
        for args in (['--depth', '0'], ['--depth', '1,x'], ['--keys', '-1'],
                     ['--mode', 'both'], ['--seconds', 'nan'], ['--nonsense'],
                     ['more'], ['--threads', '8', '--connections', '4']):
            r = compare(*args)
            self.assertEqual((r.returncode, r.stdout), (2, ''), args)
            self.assertNotEqual(r.stderr, '', args)
        self.assertEqual(compare('--help').returncode, 0)

    def run_liar(self, lie):
        liar = self.dir / 'stiled'
        liar.write_text(f'#!/bin/sh\nexec "{sys.executable}" '
                        f'"{ROOT}/tests/e2e/bench_liar.py" '
                        f'"{BUILD}/stiled" {lie} {TARGET} "$@"\n')
        liar.chmod(0o700)
        return compare(*SMALL, *LIAR, '--json', '--stiled', str(liar))

    def fails_with(self, lie, sentence):
        r = self.run_liar(lie)
        self.assertEqual((r.returncode, r.stdout), (1, ''), r.stderr)
        self.assertIn(sentence, r.stderr)

    def test_one_who_passes_everything_on_fails_nothing(self):
        r = self.run_liar('nothing')
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_another_key_in_a_reply_fails(self):
        self.fails_with('key', f'wrong reply to request {TARGET}:')

    def test_a_refused_key_fails(self):
        self.fails_with('refuse', f'wrong reply to request {TARGET}:')

    def test_the_answer_to_another_request_fails(self):
        self.fails_with('id', 'wrong reply to request')

    def test_a_server_that_allows_everybody_fails(self):
        self.fails_with('allow', 'an unknown key was answered')

    def test_a_server_that_counts_twice_fails(self):
        self.fails_with('twice', 'but the daemon counted')

    def test_a_connection_cut_short_fails(self):
        self.fails_with('cut', 'closed the connection')


if __name__ == '__main__':
    unittest.main()
