# SPDX-License-Identifier: MIT
"""stile-bench peers, http and nginx: with what is installed here, the rest is
skipped by name; and that a peer that lies fails the run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from harness import BUILD

TIMEOUT_S = 180
SMALL = ['--quick', '--keys', '200', '--connections', '4',
         '--repetitions', '1', '--seconds', '0.4', '--warmup', '0.05']
MEMBERS = {'server': str, 'server_version': str, 'connections': int,
           'depth': int, 'keys': int, 'repetitions': int, 'rps': float,
           'cpu_ns': float, 'cpu_ns_min': float, 'cpu_ns_max': float,
           'cpu_ratio': float, 'busy': float, 'replies_checked': int,
           'denied_share': float, 'cpu_ns_of': dict, 'commit': str,
           'cpu': str, 'kernel': str}
PROGRAMS = {'redis': 'redis-server', 'redis-lookup': 'redis-server',
            'memcached': 'memcached', 'nginx': 'nginx',
            'throttlecrab': 'throttlecrab-server'}


def bench(*args, env=None):
    return subprocess.run([BUILD / 'stile-bench', *args],
                          capture_output=True, text=True, timeout=TIMEOUT_S,
                          env={**os.environ, **(env or {})})


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix='stile-bench-test-'))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def cells(self, *args, env=None):
        """{(server, depth): object}, {server: why it was skipped}"""
        scratch = self.dir / 'scratch'
        scratch.mkdir(exist_ok=True)
        r = bench(args[0], *SMALL, *args[1:], '--json',
                  env={'TMPDIR': str(scratch), **(env or {})})
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(list(scratch.iterdir()), [], 'scratch files stayed')
        cells, skipped = {}, {}
        for c in json.loads(r.stdout):
            if 'skipped' in c:
                skipped[c['server']] = c['skipped']
                continue
            for name, kind in MEMBERS.items():
                self.assertIs(type(c[name]), kind, name)
            for name in 'rps', 'cpu_ns', 'cpu_ratio', 'replies_checked':
                self.assertGreater(c[name], 0, name)
            self.assertAlmostEqual(
                sum(v for n, v in c['cpu_ns_of'].items()
                    if not n.endswith(('_min', '_max'))),
                c['cpu_ns'], delta=1)
            cells[c['server'], c['depth']] = c
        return cells, skipped

    def fails_with(self, sentence, *args, env=None):
        r = bench(*args, *SMALL, '--json', env=env)
        self.assertEqual((r.returncode, r.stdout), (1, ''), r.stderr)
        self.assertIn(sentence, r.stderr)


class Peers(Case):
    def test_what_is_installed_runs_and_the_rest_is_named(self):
        cells, skipped = self.cells('peers', '--depth', '1,16')
        servers = {server for server, _ in cells}
        self.assertLessEqual({'stile', 'stile-hashed'}, servers)
        path = os.environ['PATH'] + ':/usr/sbin'
        for name, program in PROGRAMS.items():
            if shutil.which(program, path=path):
                self.assertIn(name, servers)
            else:
                self.assertEqual(skipped[name], f'{program} is not installed')
        self.assertIn('redis-cell', skipped)
        self.assertEqual(servers & set(skipped), set())
        self.assertEqual(set(cells), {(s, d) for s in servers
                                      for d in (1, 16)})
        for depth in 1, 16:
            self.assertEqual(cells['stile', depth]['cpu_ratio'], 1)
        if 'nginx' in servers:
            self.assertEqual(cells['nginx', 1]['base'], 'nginx-content')

    def test_only_what_was_asked_for_runs(self):
        cells, skipped = self.cells('peers', '--only', 'stile-hashed',
                                    '--depth', '3')
        self.assertEqual(set(cells), {('stile', 3), ('stile-hashed', 3)})
        self.assertEqual(skipped, {})

    def test_nothing_installed_is_no_error(self):
        cells, skipped = self.cells('peers', '--only', 'redis,memcached',
                                    '--depth', '2', env={'PATH': '/none'})
        self.assertEqual(set(cells), {('stile', 2)})
        self.assertEqual(set(skipped), {'redis', 'memcached'})

    def test_table_names_machine_versions_and_skips(self):
        r = bench('peers', *SMALL, '--only', 'redis-cell', '--depth', '2')
        self.assertEqual(r.returncode, 0, r.stderr)
        for word in ('machine', 'commit', 'load average', 'CPU s/M',
                     'redis-cell     skipped: '):
            self.assertIn(word, r.stdout)

    def test_wrong_usage_is_told_apart(self):
        for args in (['--only', 'mysql'], ['--only', ''],
                     ['--only', 'redis,'], ['--depth', '0'], ['more'],
                     ['--threads', '5', '--connections', '4']):
            r = bench('peers', *args)
            self.assertEqual((r.returncode, r.stdout), (2, ''), args)
            self.assertNotEqual(r.stderr, '', args)
        self.assertEqual(bench('http', '--redis-cell', 'x').returncode, 2)
        for command in 'peers', 'http', 'nginx':
            self.assertEqual(bench(command, '--help').returncode, 0)

    def install_liar(self, program, answers):
        """A program that answers each `line` with what `answers`, an
        expression, makes of it."""
        liar = self.dir / program
        liar.write_text(f'''#!{sys.executable}
import socket, sys, threading
args = sys.argv[1:]
if args[0] in ('-V', '--version'):
    print('liar 1.0')
    sys.exit()
path = next(a for a in args if a.endswith('/sock'))
def serve(client):
    with client, client.makefile('rwb') as f:
        for line in f:
            f.write({answers})
            f.flush()
with socket.socket(socket.AF_UNIX) as s:
    s.bind(path)
    s.listen(64)
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],),
                         daemon=True).start()
''')
        liar.chmod(0o700)
        return {'PATH': f'{self.dir}:{os.environ["PATH"]}'}

    def test_a_counter_that_is_not_there_fails(self):
        env = self.install_liar(
            'memcached', 'b"NOT_FOUND\\r\\n" if line.startswith(b"incr") '
            'else b"STORED\\r\\n" if line == b"0\\r\\n" else b""')
        self.fails_with(': NOT_FOUND', 'peers', '--only', 'memcached', env=env)

    def test_a_limiter_that_allows_everything_fails(self):
        env = self.install_liar(
            'redis-server', '(b"$40\\r\\n" + b"0" * 40 + b"\\r\\n") '
            'if line == b"LOAD\\r\\n" else '
            'b"*5\\r\\n:1\\r\\n:1\\r\\n:0\\r\\n:0\\r\\n:0\\r\\n" '
            'if line == b"probe\\r\\n" else b""')
        self.fails_with('call 2 against a limit of 1 was not denied', 'peers',
                        '--only', 'redis', env=env)

    def test_a_peer_that_does_not_start_fails(self):
        liar = self.dir / 'memcached'
        liar.write_text('#!/bin/sh\n[ "$1" = -V ] && echo 1 && exit\n'
                        'echo no such luck >&2; exit 3\n')
        liar.chmod(0o700)
        self.fails_with('no such luck', 'peers', '--only', 'memcached',
                        env={'PATH': f'{self.dir}:{os.environ["PATH"]}'})


class Http(Case):
    def test_check_stands_between_null_and_native(self):
        cells, skipped = self.cells('http')
        self.assertEqual(set(cells), {
            (s, d) for s in ('null', 'http', 'http-nginx', 'native')
            for d in (1, 8)})
        self.assertEqual(skipped, {})
        self.assertEqual(cells['http', 8]['base'], 'null')
        self.assertIn('diff_cpu_ns', cells['http', 8])
        self.assertNotIn('base', cells['native', 8])


    def test_plot_has_a_bar_for_every_contender(self):
        plots = self.dir / 'plots'
        self.cells('http', '--depth', '8', '--plot', str(plots))
        svg = plots / 'http-8.svg'
        self.assertEqual(list(plots.iterdir()), [svg])
        words = [''.join(node.itertext())
                 for node in ElementTree.parse(svg).iter()
                 if node.tag.endswith('}text')]
        for word in ('null', 'http', 'http-nginx', 'native',
                     'server CPU, ns a request'):
            self.assertIn(word, words)


class Nginx(Case):
    def test_with_and_without(self):
        # Longer: with a busy machine's turns a request passes through four
        # processes.
        cells, skipped = self.cells('nginx', '--seconds', '1')
        if not shutil.which('nginx', path=os.environ['PATH'] + ':/usr/sbin'):
            self.assertEqual(skipped, {'nginx': 'nginx is not installed'})
            self.skipTest('nginx is not installed')
        self.assertEqual(set(cells), {('nginx', 1), ('nginx-stile', 1)})
        self.assertEqual(
            {n for n in cells['nginx-stile', 1]['cpu_ns_of']
             if '_' not in n}, {'nginx', 'stiled'})


if __name__ == '__main__':
    unittest.main()
