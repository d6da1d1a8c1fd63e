# SPDX-License-Identifier: MIT
"""The request path of a worker in steady state: no allocation, no lock, no
formatted output, and no system call but io_uring_enter."""

import os
import re
import shutil
import signal
import struct
import subprocess
import time
import unittest

import harness
from harness import BUILD, CHECK_HASH, PEEK, Daemon, frame

SHIM = BUILD / 'tests' / 'e2e' / 'count_calls.so'
# In the order of enum call in count_calls.c.
CALLS = ('seen', 'malloc', 'calloc', 'realloc', 'free', 'aligned', 'mutex',
         'rwlock', 'cond', 'printf')


class Load:
    """Native and HTTP checks of every kind over connections that stay."""

    def __init__(self, d):
        self.d = d
        org = d.org('o', '60000/1h')
        small = d.org('small', '3/1h')
        suspended = d.org('suspended')
        keys = [d.key(o['id'])['key'] for o in (org, small, suspended)]
        revoked = d.key(org['id'])
        d.admin('POST', f'/v1/keys/{revoked["id"]}/revoke')
        d.admin('POST', f'/v1/orgs/{suspended["id"]}/suspend')
        keys += [revoked['key'], 'nonsense', 'sk_foreign']
        self.frames = b''.join(
            [frame(k) for k in keys] + [frame(k, flags=PEEK) for k in keys] +
            [frame(keys[0], cost=0), frame(keys[1], cost=4),
             frame(b'h' * 32, kind=CHECK_HASH), frame(b''),
             frame(keys[0], flags=128)])
        self.requests = b''.join(
            f'{method} {path} HTTP/1.1\r\nHost: a\r\n{header}: {key}\r\n'
            f'X-Stile-Cost: {cost}\r\n\r\n'.encode()
            for method in ('GET', 'POST')
            for path in ('/v1/check', '/v1/check/nginx')
            for header in ('X-API-Key', 'Authorization')
            for key in keys
            for cost in (1, 0))
        self.request_count = self.requests.count(b'\r\n\r\n')
        self.native = [d.native() for _ in range(8)]
        self.http = [d.http() for _ in range(4)]

    def round(self):
        for n in self.native:
            n.send(self.frames)
        for h in self.http:
            h.send(self.requests)
        for n in self.native:
            n.take(len(self.frames) // 2)
        for h in self.http:
            for _ in range(self.request_count):
                h.get()

    def one_by_one(self):
        for n in self.native:
            n.send(self.frames[:128])
            n.take(64)
        for h in self.http:
            h.ask('GET', '/livez')

    def close(self):
        for c in self.native + self.http:
            c.close()


class SteadyState(unittest.TestCase):
    def daemon(self, env=None):
        d = Daemon('workers: 2\nsnapshot_interval: 1s\n', env)
        self.addCleanup(d.close)
        d.start()
        return d

    def workers(self, d):
        found = {}
        for task in os.listdir(f'/proc/{d.pid}/task'):
            with open(f'/proc/{d.pid}/task/{task}/comm') as f:
                name = f.read().strip()
            if name.startswith('worker-'):
                found[name] = int(task)
        return found

    def test_no_allocation_lock_or_formatted_output(self):
        if harness.sanitized():
            self.skipTest('a sanitizer has an allocator of its own')
        if not SHIM.exists():
            self.fail(f'{SHIM} was not built')
        d = Daemon('workers: 2\nsnapshot_interval: 1s\n')
        self.addCleanup(d.close)
        counts = d.top / 'counts'
        counts.write_bytes(bytes(8 * len(CALLS)))
        d.env.update(LD_PRELOAD=str(SHIM), STILE_COUNT_FILE=str(counts))
        d.start()

        def read():
            return dict(zip(CALLS, struct.unpack(f'<{len(CALLS)}Q',
                                                 counts.read_bytes())))
        load = Load(d)
        self.addCleanup(load.close)
        for _ in range(20):
            load.round()
        before = read()
        self.assertGreater(before['seen'], 0, 'the shim saw no worker at all')
        checks = d.metric('checks_total')
        for _ in range(60):
            load.round()
            load.one_by_one()
        after = read()
        self.assertGreater(d.metric('checks_total') - checks, 10_000)
        self.assertEqual(after, before)

    def test_workers_call_io_uring_enter_and_nothing_else(self):
        self.expect_io_uring_enter_alone(self.daemon())

    def test_spinning_workers_do_not_either(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest('needs two CPUs')
        d = Daemon('workers: 1\nspin: 200\n')
        self.addCleanup(d.close)
        d.start()
        self.expect_io_uring_enter_alone(d)
        self.assertGreater(d.metric('spins_total'), 0)

    def expect_io_uring_enter_alone(self, d):
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        load = Load(d)
        self.addCleanup(load.close)
        for _ in range(20):
            load.round()
        traces = []
        for name, task in self.workers(d).items():
            out = d.top / f'trace-{name}'
            p = subprocess.Popen(['strace', '-p', str(task), '-o', str(out)],
                                 stderr=subprocess.PIPE, text=True)
            self.addCleanup(p.stderr.close)
            self.addCleanup(p.wait)
            self.addCleanup(p.kill)
            line = p.stderr.readline()
            if 'attached' not in line:
                self.skipTest(f'strace may not attach here: {line.strip()}')
            traces.append((name, p, out))
        for _ in range(20):
            load.round()
            load.one_by_one()
        total = 0
        for name, p, out in traces:
            p.send_signal(signal.SIGINT)
            p.wait(harness.IO_TIMEOUT_S)
            calls = re.findall(r'^(?:<\.\.\. )?(\w+)', out.read_text(), re.M)
            calls = [c for c in calls if c != 'strace']
            self.assertLessEqual(set(calls), {'io_uring_enter'}, name)
            total += len(calls)
        self.assertGreater(total, 40)

    def test_memory_does_not_grow(self):
        if harness.sanitized():
            self.skipTest('a sanitizer keeps freed memory')
        d = self.daemon()
        load = Load(d)
        self.addCleanup(load.close)

        def anonymous():
            """The least of a second: a snapshot needs a MiB while it runs."""
            least = None
            for _ in range(20):
                with open(f'/proc/{d.pid}/status') as f:
                    now = int(re.search(r'RssAnon:\s+(\d+)', f.read())[1])
                least = now if least is None else min(least, now)
                time.sleep(0.05)
            return least
        for _ in range(50):
            load.round()
        before = anonymous()
        end = time.monotonic() + (60 if harness.SOAK else 2)
        while time.monotonic() < end:
            load.round()
        self.assertLess(anonymous() - before, 1024, 'kB')
