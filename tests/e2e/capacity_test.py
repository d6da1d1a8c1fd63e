# SPDX-License-Identifier: MIT
"""Full is an answer that names the limit, never a crash or a stall."""

import hashlib
import time
import unittest

from harness import (ALLOW, PEEK, Case, Closed, Daemon, Http, Native,
                     wait_until)


class Records(Case):
    config = 'max_orgs: 2\nmax_projects: 2\nmax_keys: 3\n'

    def full(self, method, path, body, option):
        r = self.d.admin_raw(method, path, body)
        self.assertEqual((r.status, r.json()['error']['code']),
                         (507, 'capacity'))
        self.assertIn(option, r.json()['error']['message'])

    def test_full_names_the_option_and_everything_else_goes_on(self):
        d = self.d
        a, b = d.org('a'), d.org('b')
        self.full('POST', '/v1/orgs', {'name': 'c'}, 'max_orgs')
        d.project(a['id'], 'p')
        d.project(b['id'], 'p')
        self.full('POST', f'/v1/orgs/{a["id"]}/projects', {'name': 'q'},
                  'max_projects')
        keys = [d.key(a['id']) for _ in range(2)]
        hashes = [{'hash': hashlib.sha256(bytes([i])).hexdigest()}
                  for i in range(2)]
        self.full('POST', f'/v1/orgs/{a["id"]}/keys/import', {'keys': hashes},
                  'max_keys')
        # All or nothing: there is still room for one.
        keys.append(d.key(b['id']))
        self.full('POST', f'/v1/orgs/{a["id"]}/keys', {}, 'max_keys')
        for _ in range(2):
            with d.native() as n:
                for key in keys:
                    self.assertEqual(n.check(key['key'], flags=PEEK).reason,
                                     ALLOW)
            d.kill9()
            d.start()
        self.full('POST', '/v1/orgs', {'name': 'c'}, 'max_orgs')


class Start(unittest.TestCase):
    def refused(self, config):
        d = Daemon(config)
        self.addCleanup(d.close)
        self.assertEqual(d.spawn().wait_exit(), 1)
        return d.log()

    def test_what_has_no_room_is_named_with_what_helps(self):
        small = {'request_ids': '', 'usage_cells': 'request_ids: 0\n',
                 'holds': 'request_ids: 0\nusage_cells: 0\n'}
        for option, others in small.items():
            log = self.refused(f'ring_bytes: 1MiB\n{others}')
            self.assertRegex(log, f'no room for {option}: \\d+: lower it, '
                             "raise ring_bytes, or enlarge the arena's tmpfs")

    def test_more_than_a_table_can_have_is_no_option(self):
        for option, most in (('request_ids', 11_000_000),
                             ('usage_cells', 1_970_000)):
            self.assertIn(f'0..{most}',
                          self.refused(f'{option}: {most + 1}\n'))


class Connections(Case):
    config = ('max_connections: 12\nnative: {max_connections: 6}\n'
              'http: {max_connections: 8}\nadmin: {max_connections: 4}\n')

    def alive(self, conn):
        try:
            if isinstance(conn, Native):
                return conn.check('x').reason is not None
            return conn.ask('GET', '/livez').status == 200
        except (Closed, OSError):
            return False

    def open(self, kind, path, count):
        conns = []
        for _ in range(count):
            conn = kind(path)
            self.addCleanup(conn.close)
            conns.append(conn)
        return conns

    def settled(self):
        wait_until(lambda: self.d.metric('connections') == 0,
                   'connections closed')

    def test_more_than_a_listener_takes_are_closed_and_counted(self):
        before = self.d.metric('connections_refused_total')
        conns = self.open(Native, self.d.native_sock, 9)
        self.assertEqual(sum(self.alive(c) for c in conns), 6)
        self.assertEqual(self.d.metric('connections_refused_total') - before,
                         3)
        # The other listener is unharmed.
        conns += self.open(Http, self.d.http_sock, 6)
        self.assertTrue(all(self.alive(c) for c in conns[9:]))
        # 6 + 6 is all there is for both together.
        extra, = self.open(Http, self.d.http_sock, 1)
        self.assertFalse(self.alive(extra))
        for c in conns:
            c.close()
        self.settled()
        again = self.open(Native, self.d.native_sock, 6)
        self.assertEqual(sum(self.alive(c) for c in again), 6)
        for c in again:
            c.close()
        self.settled()

    def test_admin_connections_are_bounded_and_checks_go_on(self):
        conns = self.open(Http, self.d.admin_sock, 10)
        time.sleep(0.1)
        for c in conns:
            try:
                c.put('GET', '/livez')
            except OSError:
                pass
        answers = []
        for c in conns:
            try:
                answers.append(c.get().status)
            except (Closed, OSError):
                answers.append(None)
        self.assertEqual(answers.count(200), 4)
        self.assertLessEqual(set(answers), {200, 503, None})
        with self.d.http() as c:
            self.assertTrue(self.alive(c))
        for c in conns:
            c.close()
        wait_until(lambda: self.d.admin_raw('GET', '/livez').status == 200,
                   'the admin socket serves again')
