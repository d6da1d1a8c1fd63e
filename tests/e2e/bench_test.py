# SPDX-License-Identifier: MIT
"""stile-bench: its figures, and that a lie fails it. The liar stands where
stile-bench expects stiled: it starts the real one, passes its bytes on, and
changes a few."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
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


# A machine that tests is busy: the generator may be as late as it likes.
UNHURRIED = ['--lag-max', '60000000', '--wait', 'sleep']
SERVER_FIGURES = ['p50_us', 'p90_us', 'p99_us', 'p99_9_us', 'max_us', 'rps',
                  'cpu_ns', 'lag_p99_us']
# Of the liar again: what the second of 4 connections asks for first.
OPEN_LIAR = [*UNHURRIED, '--connections', '4', '--rate', '1000']


def bench(command, *args, env=None, **more):
    return subprocess.run([BUILD / 'stile-bench', command, *args],
                          capture_output=True, text=True, timeout=TIMEOUT_S,
                          env={**os.environ, **(env or {})}, **more)


def compare(*args, env=None):
    return bench('compare', *args, env=env)


def texts(svg):
    return [''.join(node.itertext()) for node in ElementTree.parse(svg).iter()
            if node.tag.endswith('}text')]


class InScratch(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix='stile-bench-test-'))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def liar(self, lie, target=TARGET):
        liar = self.dir / 'stiled'
        liar.write_text(f'#!/bin/sh\nexec "{sys.executable}" '
                        f'"{ROOT}/tests/e2e/bench_liar.py" '
                        f'"{BUILD}/stiled" {lie} {target} "$@"\n')
        liar.chmod(0o700)
        return str(liar)


class Compare(InScratch):

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

    def test_plot_has_a_point_for_every_depth(self):
        plots = self.dir / 'plots'
        r = compare(*SMALL, '--mode', 'raw', '--depth', '8,1',
                    '--connections', '4', '--plot', str(plots))
        self.assertEqual(r.returncode, 0, r.stderr)
        svg = plots / 'throughput-4.svg'
        self.assertEqual(list(plots.iterdir()), [svg])
        for word in ('1', '8', 'million replies a second', 'stile, key sent',
                     'null server, key sent'):
            self.assertIn(word, texts(svg))
        self.assertEqual(svg.read_text().count('<circle'), 4)

    def test_wrong_usage_is_told_apart(self):
        for args in (['--depth', '0'], ['--depth', '1,x'], ['--keys', '-1'],
                     ['--mode', 'both'], ['--seconds', 'nan'], ['--nonsense'],
                     ['more'], ['--threads', '8', '--connections', '4']):
            r = compare(*args)
            self.assertEqual((r.returncode, r.stdout), (2, ''), args)
            self.assertNotEqual(r.stderr, '', args)
        self.assertEqual(compare('--help').returncode, 0)

    def run_liar(self, lie):
        return compare(*SMALL, *LIAR, '--json', '--stiled', self.liar(lie))

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


class Latency(InScratch):
    def test_json_has_its_members(self):
        plots = self.dir / 'plots'
        r = bench('latency', *SMALL, *UNHURRIED, '--json', '--rate',
                  '500,2000', '--repetitions', '2', '--plot', str(plots),
                  env={'TMPDIR': str(self.dir)})
        self.assertEqual(r.returncode, 0, r.stderr)
        cells = json.loads(r.stdout)
        self.assertEqual([(c['mode'], c['rate'], c['arrivals'], c['wait'])
                          for c in cells],
                         [('raw', 500, 'poisson', 'sleep'),
                          ('raw', 2000, 'poisson', 'sleep')])
        for cell in cells:
            for server in 'null', 'check':
                for name in SERVER_FIGURES:
                    for end in '', '_min', '_max':
                        value = cell[f'{server}_{name}{end}']
                        self.assertIs(type(value), float, name)
                        self.assertGreater(value, 0, name)
                figures = [cell[f'{server}_{n}'] for n in SERVER_FIGURES[:5]]
                self.assertEqual(figures, sorted(figures))
                self.assertIs(type(cell[f'{server}_saturated']), bool)
            # both servers, two runs of 0.2 s; arrivals are the same each time
            self.assertGreater(cell['replies_checked'],
                               cell['rate'] * 0.8 * 0.7)
            self.assertEqual(cell['replies_checked'] % 2, 0)
            for name in 'commit', 'cpu', 'kernel':
                self.assertIs(type(cell[name]), str, name)
        self.assertEqual(list(self.dir.iterdir()), [plots])
        self.assertEqual(sorted(p.name for p in plots.iterdir()),
                         ['latency-raw-2000.svg', 'latency-raw-500.svg'])
        words = texts(plots / 'latency-raw-500.svg')
        for word in 'stile', 'null server', '50 %', '90 %', '99 %':
            self.assertIn(word, words)

    def test_snapshots_are_written_in_every_other_run(self):
        plots = self.dir / 'plots'
        r = bench('latency', *SMALL, *UNHURRIED, '--snapshot', '--json',
                  '--keys-per-org', '2', '--rate', '1000', '--repetitions',
                  '2', '--plot', str(plots))
        self.assertEqual(r.returncode, 0, r.stderr)
        cell, = json.loads(r.stdout)
        for server in 'check', 'snapshot':
            for name in SERVER_FIGURES:
                self.assertGreater(cell[f'{server}_{name}'], 0, name)
        self.assertFalse([n for n in cell if n.startswith('null')])
        self.assertEqual((cell['orgs'], cell['snapshot_orgs']), (100, 100))
        self.assertGreater(cell['snapshots'], 1)
        for name in 'snapshot_share', 'snapshot_share_max', 'snapshot_ms':
            self.assertGreaterEqual(cell[name], 0, name)
        svg = plots / 'snapshot-raw-1000.svg'
        self.assertEqual(list(plots.iterdir()), [svg])
        self.assertIn('stile, writing snapshots', texts(svg))
        r = bench('latency', *SMALL, *UNHURRIED, '--snapshot', '--rate',
                  '1000')
        self.assertEqual(r.returncode, 0, r.stderr)
        rows = [line.split()[:3] for line in r.stdout.splitlines()
                if line.startswith('raw ')]
        self.assertEqual([row[2] for row in rows],
                         ['check', 'snapshot', 'ratio', 'snapshots|'])

    def test_a_snapshot_that_fails_fails_the_run(self):
        # The directory that it belongs to is not there any more.
        stiled = self.dir / 'stiled'
        stiled.write_text(f'#!/bin/sh\ndir=$(sed -n "s/^dir: //p" "$2")\n'
                          f'(for _ in $(seq 1000); do\n'
                          f'test -S "$dir/stile.sock" && break; sleep .01\n'
                          f'done; mv "$dir/state" "$dir/gone") &\n'
                          f'exec "{BUILD}/stiled" "$@"\n')
        stiled.chmod(0o700)
        r = bench('latency', *SMALL, *UNHURRIED, '--snapshot', '--rate',
                  '1000', '--stiled', str(stiled))
        self.assertEqual((r.returncode, r.stdout.count('ratio')), (1, 0))
        self.assertIn('/v1/snapshot: status 500', r.stderr)

    def test_table_names_machine_and_commit(self):
        r = bench('latency', *SMALL, *UNHURRIED, '--mode', 'hashed', '--rate',
                  '1000', '--arrivals', 'fixed')
        self.assertEqual(r.returncode, 0, r.stderr)
        for word in 'machine', 'commit', 'fixed arrivals', 'sleeps':
            self.assertIn(word, r.stdout)
        rows = [line.split()[:3] for line in r.stdout.splitlines()
                if line.startswith('hashed ')]
        self.assertEqual(rows, [['hashed', '1000', 'null'],
                                ['hashed', '1000', 'check'],
                                ['hashed', '1000', 'ratio']])

    def test_wrong_usage_is_told_apart(self):
        for args in (['--rate', '0'], ['--rate', '100000000'],
                     ['--rate', '10', '--seconds', '0.1'],
                     ['--arrivals', 'often'], ['--wait', 'long'],
                     ['--lag-max', '0'], ['--depth', '1']):
            r = bench('latency', *args)
            self.assertEqual((r.returncode, r.stdout), (2, ''), args)
            self.assertNotEqual(r.stderr, '', args)
        self.assertEqual(bench('latency', '--help').returncode, 0)

    def fails_with(self, lie, sentence):
        r = bench('latency', *SMALL, *OPEN_LIAR, '--json', '--stiled',
                  self.liar(lie))
        self.assertEqual((r.returncode, r.stdout), (1, ''), r.stderr)
        self.assertIn(sentence, r.stderr)

    def test_another_key_in_a_reply_fails(self):
        self.fails_with('key', f'wrong reply to request {TARGET}:')

    def test_the_answer_to_another_request_fails(self):
        self.fails_with('id', 'wrong reply to request')

    def test_a_server_that_counts_twice_fails(self):
        self.fails_with('twice', 'but the daemon counted')

    def test_a_connection_cut_short_fails(self):
        self.fails_with('cut', 'closed the connection')


class Core(unittest.TestCase):
    SMALL = ['--quick', '--orgs', '1000', '--repetitions', '2', '--seconds',
             '0.002', '--warmup', '0']

    def test_json_has_every_stage_and_thread(self):
        r = bench('core', *self.SMALL, '--threads', '1,2', '--json')
        self.assertEqual(r.returncode, 0, r.stderr)
        rows = json.loads(r.stdout)
        self.assertEqual({row['stage'] for row in rows},
                         {'keytext', 'sha256', 'siphash', 'memo', 'key table',
                          'window, allowed', 'window, denied', 'decide, raw',
                          'decide, hashed', 'decide, denied',
                          *(f'claim, {n}' for n in (1, 3, 6)),
                          *(f'rules, {n}' for n in (1, 3, 6)),
                          *(f'bare, {n} GCRA' for n in (1, 3, 6)),
                          *(f'rules, {n} GCRA' for n in (1, 3, 6)),
                          *(f'rules, 6 {what}' for what in
                            ('levels', 'budget', 'credits'))})
        self.assertEqual([row['threads'] for row in rows],
                         [1, 2] * (len(rows) // 2))
        for row in rows:
            self.assertIn(row['orgs'], ('hot', 'spread'))
            self.assertGreaterEqual(row['batch'], 1)
            for name in 'ns', 'per_second', 'speedup', 'cpu_speedup':
                self.assertLessEqual(row[f'{name}_min'], row[name])
                self.assertLessEqual(row[name], row[f'{name}_max'])
                self.assertGreater(row[f'{name}_min'], 0)
            kind, _, rest = row['stage'].partition(', ')
            # A group of the hot organization has nothing like it.
            if kind in ('rules', 'bare') and not (row['orgs'] == 'hot' and
                                                  row['batch'] > 1):
                self.assertEqual(row['reference'], 'claim, ' + rest[0])
                self.assertGreater(row['ratio_min'], 0)
            else:
                self.assertNotIn('ratio', row)
            self.assertIs(type(row['commit']), str)
            self.assertEqual(row['arena'], 'tmpfs')

    def test_one_stage_can_be_chosen(self):
        r = bench('core', *self.SMALL, '--stage', 'window, denied',
                  '--threads', '2', '--arena', 'private')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn('commit', r.stdout)
        self.assertEqual([line.split()[:3] for line in r.stdout.splitlines()
                          if '|' in line][1:],
                         [['window,', 'denied', 'hot'],
                          ['window,', 'denied', 'spread']])

    def test_what_a_stage_is_compared_with_is_measured_too(self):
        r = bench('core', *self.SMALL, '--stage', 'rules, 3 GCRA',
                  '--threads', '1', '--json')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual({row['stage'] for row in json.loads(r.stdout)},
                         {'rules, 3 GCRA', 'claim, 3'})

    def test_several_stages_can_be_chosen(self):
        r = bench('core', *self.SMALL, '--stage', 'siphash', '--stage',
                  'keytext', '--threads', '1', '--json')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual({row['stage'] for row in json.loads(r.stdout)},
                         {'siphash', 'keytext'})

    def test_wrong_usage_is_told_apart(self):
        for args in (['--stage', 'nothing'], ['--arena', 'disk'], ['--orgs', '10'],
                     ['--orgs', '2000000'], ['--threads', '0'], ['more']):
            r = bench('core', *args)
            self.assertEqual((r.returncode, r.stdout), (2, ''), args)
            self.assertNotEqual(r.stderr, '', args)
        self.assertEqual(bench('core', '--help').returncode, 0)


if __name__ == '__main__':
    unittest.main()
