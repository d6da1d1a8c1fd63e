# SPDX-License-Identifier: MIT
"""The life of the process, and what peers may do to it."""

import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

import harness
from harness import (ALLOW, BUILD, PEEK, SOAK, Case, Closed, Daemon, Http,
                     Native, Stream, ask, frame, wait_until)


def stiled(*args):
    return subprocess.run([str(BUILD / 'stiled'), *args], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=30)


class CommandLine(unittest.TestCase):
    def config(self, text):
        path = self.d.top / 'try.yaml'
        path.write_text(text)
        return stiled('--config', str(path), '--check-config')

    def setUp(self):
        self.d = Daemon()
        self.addCleanup(self.d.close)

    def test_help_and_version(self):
        p = stiled('--help')
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        for option in ('--dir', '--config', '--check-config', '--version'):
            self.assertIn(option, p.stdout)
        p = stiled('--version')
        self.assertEqual(p.returncode, 0)
        self.assertRegex(p.stdout, r'^stiled \d+\.\d+\.\d+\n')

    def test_unknown_option_is_refused(self):
        for args in (['--nonsense'], ['extra'], ['--dir']):
            p = stiled(*args)
            self.assertNotEqual(p.returncode, 0, args)
            self.assertEqual(p.stdout, '')
            self.assertNotEqual(p.stderr, '')

    def test_good_config(self):
        p = self.config('workers: 1\nhttp: {path: web.sock, reset: delta}\n'
                        'default_limit: 5/1s\n')
        self.assertEqual(p.returncode, 0, p.stderr)

    def test_every_fault_of_a_config_is_told_with_its_line(self):
        p = self.config('workers: many\nidle_timeout: 1s\n\nnonsense: 1\n')
        self.assertNotEqual(p.returncode, 0)
        for line, word in ((1, 'workers'), (2, 'idle_timeout'),
                           (4, 'nonsense')):
            self.assertRegex(p.stderr, rf'try\.yaml:{line}: .*{word}')
            self.assertIn('expected', p.stderr)

    def test_config_that_is_missing_or_no_yaml(self):
        self.assertNotEqual(self.config('a: [\n').returncode, 0)
        p = stiled('--config', '/nonexistent/x.yaml', '--check-config')
        self.assertNotEqual(p.returncode, 0)
        self.assertIn('/nonexistent/x.yaml', p.stderr)


class Life(unittest.TestCase):
    def daemon(self, config=None, env=None):
        d = Daemon(config, env)
        self.addCleanup(d.close)
        return d

    def test_second_process_on_the_directory_is_refused(self):
        d = self.daemon().start()
        p = subprocess.run(d.command(), env=d.env, capture_output=True,
                           text=True, timeout=30)
        self.assertNotEqual(p.returncode, 0)
        self.assertNotIn('ready', p.stdout)
        self.assertIn('lock', p.stderr)
        self.assertEqual(ask(d.http_sock, '/readyz').status, 200)

    def test_sockets_have_modes_and_are_gone_after_a_clean_stop(self):
        d = self.daemon().start()
        for path, mode in ((d.native_sock, 0o660), (d.http_sock, 0o660),
                           (d.admin_sock, 0o600)):
            self.assertEqual(path.stat().st_mode & 0o777, mode, path)
        d.stop()
        self.assertEqual(list(d.dir.glob('*.sock')), [])

    def test_stale_sockets_are_replaced(self):
        d = self.daemon().start()
        d.kill9()
        self.assertTrue(d.native_sock.is_socket())
        d.start()
        self.assertEqual(ask(d.http_sock, '/readyz').status, 200)

    def test_what_is_no_socket_is_left_alone(self):
        d = self.daemon()
        d.http_sock.write_text('precious')
        d.spawn()
        self.assertNotEqual(d.wait_exit(), 0)
        self.assertEqual(d.http_sock.read_text(), 'precious')
        self.assertIn('http.sock', d.log())

    def test_state_is_private(self):
        d = self.daemon().start()
        for path in [d.state, *d.state.iterdir()]:
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    def test_no_core_dumps_and_not_dumpable(self):
        d = self.daemon().start()
        with open(f'/proc/{d.pid}/limits') as f:
            core = re.search(r'^Max core file size\s+(\d+)\s+(\d+)', f.read(),
                             re.M)
        self.assertEqual(core.groups(), ('0', '0'))

    def test_probes(self):
        d = self.daemon().start()
        for sock in (d.http_sock, d.admin_sock):
            for path in ('/livez', '/readyz', '/healthz'):
                self.assertEqual(ask(sock, path).status, 200)
            self.assertEqual(ask(sock, '/nothing').status, 404)

    def test_thread_per_worker(self):
        d = self.daemon('workers: 3\n').start()
        names = []
        for task in os.listdir(f'/proc/{d.pid}/task'):
            with open(f'/proc/{d.pid}/task/{task}/comm') as f:
                names.append(f.read().strip())
        self.assertEqual(sorted(n for n in names if n.startswith('worker-')),
                         ['worker-0', 'worker-1', 'worker-2'])

    def allowed_cpus(self, d):
        """Of each worker: the CPUs it may run on."""
        found = {}
        for task in os.listdir(f'/proc/{d.pid}/task'):
            with open(f'/proc/{d.pid}/task/{task}/comm') as f:
                name = f.read().strip()
            if name.startswith('worker-'):
                found[name] = os.sched_getaffinity(int(task))
        return found

    def test_pinned_workers_have_a_cpu_each(self):
        cpus = sorted(os.sched_getaffinity(0))
        d = self.daemon('pin: on\nworkers: 0\n').start()
        workers = self.allowed_cpus(d)
        self.assertEqual([workers[f'worker-{i}'] for i in range(len(workers))],
                         [{cpu} for cpu in cpus[:len(workers)]])
        key = d.key(d.org('pinned')['id'])['key']
        self.assertEqual(d.check_http(key).status, 200)

    def one_cpu(self, config):
        cpu = min(os.sched_getaffinity(0))
        d = Daemon(config, wrapper=['taskset', '-c', str(cpu)])
        self.addCleanup(d.close)
        return d

    def test_pinned_workers_are_refused_where_cpus_are_few(self):
        d = self.one_cpu('pin: on\nworkers: 2\n').spawn()
        self.assertEqual(d.wait_exit(), 1)
        self.assertIn('pin: 2 workers need as many CPUs, and stiled may use '
                      '1: lower workers, or turn pin off', d.log())

    def test_spin_is_ignored_where_workers_leave_no_cpu(self):
        d = self.one_cpu('spin: 1000\n').start()
        self.assertRegex(d.log(), r'event=spin_ignored workers=1 cpus=1 ')
        self.asked_and_answered(d)
        self.assertEqual(d.metric('spins_total'), 0)

    def test_spin_where_there_is_a_cpu_more(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest('needs two CPUs')
        d = self.daemon('workers: 1\nspin: 1000\n').start()
        self.assertNotIn('spin_ignored', d.log())
        self.asked_and_answered(d)
        self.assertGreater(d.metric('spins_total'), 0)
        d.stop()

    def asked_and_answered(self, d):
        key = d.key(d.org('spin')['id'])['key']
        with d.native() as n:
            for _ in range(50):
                self.assertEqual(n.check(key).reason, ALLOW)

    def test_sd_notify(self):
        d = self.daemon()
        path = str(d.top / 'notify')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(harness.START_TIMEOUT_S)
            d.env['NOTIFY_SOCKET'] = path
            d.start()
            seen = s.recv(4096).decode()
            while 'READY=1' not in seen:
                seen += s.recv(4096).decode()
            d.stop()
            while 'STOPPING=1' not in seen:
                seen += s.recv(4096).decode()

    def test_sigint_ends_it_like_sigterm(self):
        d = self.daemon().start()
        d.process.send_signal(signal.SIGINT)
        self.assertEqual(d.wait_exit(), 0)

    def test_sigterm_answers_what_was_sent_before(self):
        """Fill the sockets, send SIGTERM, then read: every check that was
        counted must have been answered, and every answer is whole."""
        d = self.daemon().start()
        org = d.org('o', '65536/1h')
        key = d.key(org['id'])['key']
        conns = [d.native() for _ in range(4)]
        for c in conns:
            self.addCleanup(c.close)
            c.send(b''.join(frame(key, i) for i in range(500)))
        with d.http() as h:
            h.put('GET', '/v1/check', {'X-API-Key': key})
            d.process.send_signal(signal.SIGTERM)
            allowed = 0
            for c in conns:
                self.assertTrue(c.is_closed())
                self.assertEqual(len(c.buffer) % 64, 0, 'a torn reply')
                allowed += sum(c.buffer[i + 1] == ALLOW
                               for i in range(0, len(c.buffer), 64))
            try:
                allowed += h.get().status == 200
            except Closed:
                pass
        self.assertEqual(d.wait_exit(), 0)
        d.start()
        self.assertEqual(d.usage(org['id'])[0], allowed)

    def test_drain_does_not_wait_for_a_peer_that_never_reads(self):
        d = self.daemon('drain_timeout: 1s\n').start()
        with d.native() as n:
            n.sock.setblocking(False)
            try:
                while True:
                    n.sock.send(frame('x') * 100)
            except BlockingIOError:
                pass
            begin = time.monotonic()
            d.stop()
            self.assertLess(time.monotonic() - begin, 10)

    def test_open_connections_do_not_keep_it_alive(self):
        d = self.daemon().start()
        conns = [d.native(), d.http(), Http(d.admin_sock)]
        for c in conns:
            self.addCleanup(c.close)
        conns[1].ask('GET', '/livez')
        begin = time.monotonic()
        d.stop()
        self.assertLess(time.monotonic() - begin, 5)


class Idle(Case):
    def test_idle_connections_stay_open(self):
        """The timeout is at least 60 s; a few seconds close nothing."""
        conns = [self.d.native(), self.d.http()]
        for c in conns:
            self.addCleanup(c.close)
        time.sleep(65 if SOAK else 3)
        conns[0].check('x')
        self.assertEqual(conns[1].ask('GET', '/livez').status, 200)

    @unittest.skipUnless(SOAK, 'takes 75 s; run with --soak')
    def test_idle_connections_end_at_the_timeout(self):
        for open_one in (self.d.native, self.d.http):
            with open_one() as c:
                begin = time.monotonic()
                self.assertTrue(c.is_closed(120))
                self.assertIn(round(time.monotonic() - begin),
                              range(70, 100))


class HttpSocket(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.d.key(cls.d.org('o', '60000/1h')['id'])['key']

    def test_statuses_and_bodies(self):
        for path in ('/v1/check', '/v1/check?x=1'):
            r = self.d.check_http(self.key, path)
            self.assertEqual((r.status, r.body), (200, b''))
            self.assertEqual(r['Content-Length'], '0')
        r = self.d.check_http('bad')
        self.assertEqual(r.status, 401)
        self.assertEqual(r.json(), {'success': False,
                                    'error': 'Invalid API key'})
        r = self.d.check_http('bad', '/v1/check/nginx')
        self.assertEqual((r.status, r.body), (401, b''))
        self.assertEqual(r['X-Stile-Status'], '401')
        r = self.d.check_http(self.key, '/v1/check/nginx', X_Stile_Cost='0')
        self.assertEqual((r.status, r.body), (403, b''))
        self.assertEqual(r['X-Stile-Status'], '400')

    def test_identity_headers_are_always_there(self):
        for key in (self.key, 'bad', None):
            r = self.d.check_http(key)
            for name in ('X-Stile-Org', 'X-Stile-Project', 'X-Stile-Key-Id'):
                self.assertIsNotNone(r[name])

    def test_any_method(self):
        with self.d.http() as c:
            for method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS',
                           'HEAD', 'PROPFIND'):
                r = c.ask(method, '/v1/check', {'X-API-Key': self.key})
                self.assertEqual(r.status, 200, method)
                r = c.ask(method, '/v1/check', {'X-API-Key': 'bad'})
                self.assertEqual(r.status, 401, method)

    def test_keep_alive_and_pipelining(self):
        with self.d.http() as c:
            for i in range(200):
                c.put('GET', '/v1/check', {'X-API-Key': self.key if i % 3
                                           else 'bad'})
            for i in range(200):
                self.assertEqual(c.get().status, 200 if i % 3 else 401)

    def test_answers_without_waiting_for_a_body(self):
        with self.d.http() as c:
            c.send(f'POST /v1/check HTTP/1.1\r\nX-API-Key: {self.key}\r\n'
                   'Content-Length: 1000000\r\n\r\n'.encode())
            self.assertEqual(c.get().status, 200)
            self.assertTrue(c.is_closed())

    def test_head_byte_by_byte(self):
        with self.d.http() as c:
            data = (f'GET /v1/check HTTP/1.1\r\nAuthorization: Bearer '
                    f'{self.key}\r\nX-Stile-Cost: 3\r\n\r\n').encode()
            for i in range(len(data)):
                c.send(data[i:i + 1])
            self.assertEqual(c.get().status, 200)

    def test_half_closed_peer_gets_its_answers(self):
        with self.d.http() as c:
            for _ in range(50):
                c.put('GET', '/v1/check', {'X-API-Key': self.key})
            c.half_close()
            for _ in range(50):
                self.assertEqual(c.get().status, 200)
            self.assertTrue(c.is_closed())

    def test_oversized_heads_are_answered_then_closed(self):
        for head in ('GET /v1/check HTTP/1.1\r\nA: ' + 'a' * 40_000,
                     'GET /' + 'a' * 40_000,
                     'GET /v1/check HTTP/1.1\r\n' + 'A: b\r\n' * 8000):
            with self.d.http() as c:
                try:
                    c.send(head.encode())
                except (BrokenPipeError, ConnectionResetError):
                    pass
                self.assertEqual(c.get().status, 400)
                self.assertTrue(c.is_closed())

    def test_connections_that_stile_ends_take_no_other_with_them(self):
        broken = b'GET / HTTP/1.1\r\nX: \x01\r\n\r\n'
        good = b'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n'
        for _ in range(3000):
            for request, status in ((broken, 400), (good, 200)):
                with self.d.http() as c:
                    c.send(request)
                    self.assertEqual(c.get().status, status)

    def test_close_and_old_versions(self):
        for request, status in (
                ('GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 200),
                ('GET /livez HTTP/1.0\r\n\r\n', 200),
                ('GET /v1/check HTTP/3.0\r\n\r\n', 400),
                ('nonsense\r\n\r\n', 400)):
            with self.d.http() as c:
                c.send(request.encode())
                self.assertEqual(c.get().status, status, request)
                self.assertTrue(c.is_closed())


class Hostile(Case):
    """Whatever arrives: a clear answer or a close, and the others live."""
    config = 'workers: 2\n'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.d.key(cls.d.org('o', '60000/1h')['id'])['key']

    def setUp(self):
        self.others = [(self.d.native(), self.d.http()) for _ in range(4)]
        self.addCleanup(lambda: [c.close() for p in self.others for c in p])
        self.pid = self.d.pid

    def others_live(self):
        self.assertIsNone(self.d.process.poll(), self.d.log())
        for n, h in self.others:
            self.assertEqual(n.check(self.key, flags=PEEK).reason, ALLOW)
            self.assertEqual(h.ask('GET', '/livez').status, 200)
        self.assertEqual(ask(self.d.admin_sock, '/readyz').status, 200)

    def sockets(self):
        return self.d.native_sock, self.d.http_sock, self.d.admin_sock

    def shove(self, path, data, close):
        with Stream(path) as c:
            try:
                c.send(data)
                if close:
                    c.half_close()
                    c.is_closed()
            except OSError:
                pass

    def test_random_bytes(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with self.subTest(seed=seed):
            for i in range(2000 if SOAK else 150):
                for path in self.sockets():
                    size = rng.choice((1, 63, 64, 65, 127, 128, 129, 1000,
                                       5000, 70_000))
                    self.shove(path, rng.randbytes(size), rng.random() < 0.5)
                if i % 25 == 0:
                    self.others_live()
            self.others_live()

    def test_requests_with_flipped_bytes(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        good = {
            self.d.native_sock: frame(self.key, flags=PEEK) * 3,
            self.d.http_sock: (f'GET /v1/check HTTP/1.1\r\nHost: a\r\n'
                               f'X-API-Key: {self.key}\r\nX-Stile-Peek: 1\r\n'
                               '\r\n').encode() * 3,
            self.d.admin_sock: (b'POST /v1/orgs HTTP/1.1\r\nHost: a\r\n'
                                b'Content-Length: 13\r\n\r\n{"name": "o"}')}
        with self.subTest(seed=seed):
            for i in range(3000 if SOAK else 200):
                for path, data in good.items():
                    data = bytearray(data)
                    for _ in range(rng.randrange(1, 5)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    self.shove(path, data[:rng.randrange(1, len(data) + 1)],
                               rng.random() < 0.7)
                if i % 50 == 0:
                    self.others_live()
            self.others_live()

    def test_slow_and_silent_peers_hold_up_nobody(self):
        conns = []
        for path in self.sockets():
            for piece in (b'', b'G', b'GET /v1/check HTTP/1.1\r\nA:'):
                for _ in range(5):
                    c = Stream(path)
                    self.addCleanup(c.close)
                    if piece:
                        c.send(piece)
                    conns.append(c)
        for _ in range(20):
            for c in conns:
                try:
                    c.send(b'a')
                except OSError:
                    pass
            self.others_live()

    def test_peers_that_vanish_with_checks_in_flight(self):
        data = b''.join(frame(self.key, i, flags=PEEK) for i in range(300))
        web = (f'GET /v1/check HTTP/1.1\r\nX-API-Key: {self.key}\r\n'
               'X-Stile-Peek: 1\r\n\r\n').encode() * 100
        for _ in range(100):
            for path, what in ((self.d.native_sock, data),
                               (self.d.http_sock, web)):
                with Stream(path) as c:
                    try:
                        c.send(what)
                    except OSError:
                        pass
        self.others_live()
        wait_until(lambda: self.d.metric('connections') == 8,
                   'dead connections are given back')

    def test_connections_come_and_go_without_a_leak(self):
        def descriptors():
            return len(os.listdir(f'/proc/{self.d.pid}/fd'))
        self.others_live()  # accepted, all of them
        before = descriptors()

        def storm():
            for _ in range(150):
                with Native(self.d.native_sock) as n:
                    n.check(self.key, flags=PEEK)
                ask(self.d.http_sock, '/v1/check', {'X-API-Key': 'x'})
                Stream(self.d.http_sock).close()
        threads = [threading.Thread(target=storm) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.others_live()
        wait_until(lambda: self.d.metric('connections') == 8,
                   'closed connections are given back')
        wait_until(lambda: descriptors() <= before + 1, 'descriptors closed')

    def test_admin_body_larger_than_allowed(self):
        with Http(self.d.admin_sock) as c:
            try:
                c.send(b'POST /v1/orgs HTTP/1.1\r\nHost: a\r\n'
                       b'Content-Length: 999999999999\r\n\r\n')
                self.assertEqual(c.get().status, 413)
            except OSError:
                self.fail('closed without an answer')
        self.others_live()


class Stopped(unittest.TestCase):
    def test_flood_of_connections_then_sigterm(self):
        d = Daemon('max_connections: 64\n')
        self.addCleanup(d.close)
        d.start()
        conns = []
        for _ in range(200):
            try:
                conns.append(d.native())
            except OSError:
                break
        for c in conns:
            self.addCleanup(c.close)
        d.stop()
