# SPDX-License-Identifier: MIT
"""stile-bench roundtrip: its figures, and that a lie fails it."""

import json
import os
import unittest

from bench_test import InScratch, bench

SMALL = ['--quick', '--keys', '200', '--repetitions', '2', '--seconds', '0.02']
FIGURES = ['p50_us', 'p99_us', 'mean_us', 'cpu_ns', 'p50_ratio', 'mean_ratio']
SERVERS = ['echo', 'null', 'check', 'check-spin']
PLACES = ['same', 'apart', 'apart-spin']
TARGET = 3  # the fourth request of every server


class Roundtrip(InScratch):
    def test_json_has_its_members(self):
        places = PLACES if len(os.sched_getaffinity(0)) > 1 else PLACES[:1]
        r = bench('roundtrip', *SMALL, '--json', '--spin', '20',
                  env={'TMPDIR': str(self.dir)})
        self.assertEqual(r.returncode, 0, r.stderr)
        cells = json.loads(r.stdout)
        self.assertEqual([(c['place'], c['server']) for c in cells],
                         [(p, s) for p in places for s in SERVERS])
        for cell in cells:
            for name in FIGURES:
                self.assertIs(type(cell[name]), float, name)
                self.assertGreater(cell[name], 0, name)
                self.assertLessEqual(cell[f'{name}_min'], cell[name])
                self.assertLessEqual(cell[name], cell[f'{name}_max'])
            self.assertGreater(cell['replies_checked'], 0)
            self.assertEqual(cell['spin_us'],
                             20 if cell['server'] == 'check-spin' else 0)
            if cell['server'] == 'echo':
                self.assertEqual((cell['p50_ratio'], cell['mean_ratio']),
                                 (1, 1))
        self.assertEqual(list(self.dir.iterdir()), [], 'scratch files stayed')

    def test_table_names_machine_and_commit(self):
        r = bench('roundtrip', *SMALL, '--place', 'same', '--mode', 'hashed')
        self.assertEqual(r.returncode, 0, r.stderr)
        for word in 'machine', 'commit', 'hashed', 'spin: 50':
            self.assertIn(word, r.stdout)
        self.assertEqual([line.split()[:2] for line in r.stdout.splitlines()
                          if line.startswith('same ')],
                         [['same', s] for s in SERVERS])

    def test_one_cpu_takes_both(self):
        cpu = min(os.sched_getaffinity(0))
        r = bench('roundtrip', *SMALL, '--json',
                  preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual({c['place'] for c in json.loads(r.stdout)}, {'same'})

    def test_wrong_usage_is_told_apart(self):
        for args in (['--place', 'near'], ['--place', ''], ['--spin', '2000'],
                     ['--mode', 'raw,hashed'], ['--depth', '1'], ['more']):
            r = bench('roundtrip', *args)
            self.assertEqual((r.returncode, r.stdout), (2, ''), args)
            self.assertNotEqual(r.stderr, '', args)
        self.assertEqual(bench('roundtrip', '--help').returncode, 0)

    def run_liar(self, lie):
        return bench('roundtrip', *SMALL, '--place', 'same', '--json',
                     '--stiled', self.liar(lie, TARGET))

    def fails_with(self, lie, sentence):
        r = self.run_liar(lie)
        self.assertEqual((r.returncode, r.stdout), (1, ''), r.stderr)
        self.assertIn(sentence, r.stderr)

    def test_one_who_passes_everything_on_fails_nothing(self):
        r = self.run_liar('nothing')
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_another_key_in_a_reply_fails(self):
        self.fails_with('key', f'wrong reply to request {TARGET}:')

    def test_the_answer_to_another_request_fails(self):
        self.fails_with('id', 'wrong reply to request')

    def test_a_server_that_counts_twice_fails(self):
        self.fails_with('twice', 'but the daemon counted')

    def test_a_connection_cut_short_fails(self):
        self.fails_with('cut', 'closed the connection')


if __name__ == '__main__':
    unittest.main()
