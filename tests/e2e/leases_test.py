# SPDX-License-Identifier: MIT
"""Leases whose rule goes, and holds of which there are fewer after a restart:
what is given back late counts nowhere."""

import unittest

from harness import Daemon


class Leases(unittest.TestCase):
    def daemon(self, config):
        d = Daemon(config)
        self.addCleanup(d.close)
        d.start()
        self.d = d
        self.org = d.org('acme', '1000/1h')['id']
        self.key = d.key(self.org)['key']

    def limit(self, text, level='org'):
        self.d.admin('POST', f'/v1/orgs/{self.org}/limits',
                     {'name': 'flight', 'limit': text, 'level': level})

    def remove(self):
        self.d.admin('POST', f'/v1/orgs/{self.org}/limits/remove',
                     {'name': 'flight'})

    def take(self, count):
        """The holds of those that pass, of so many."""
        holds = [self.d.check_http(self.key) for _ in range(count)]
        return [r['X-Stile-Hold'] for r in holds if r.status == 200]

    def release(self, hold):
        return self.d.check_http(None, '/v1/release',
                                 X_Stile_Hold=hold).status

    def test_rule_that_goes_while_leases_are_out(self):
        self.daemon('workers: 1\n')
        for level in ('org', 'key'):
            self.limit('inflight 3 lease 60s', level)
            old = self.take(9)
            self.assertEqual(len(old), 3, level)
            self.remove()
            # Another rule may have its place by now.
            self.limit('inflight 2 lease 60s', level)
            new = self.take(9)
            self.assertEqual(len(new), 2, level)
            for hold in old:
                self.assertEqual(self.release(hold), 200, level)
            self.assertEqual(self.take(9), [], level)
            for hold in new:
                self.assertEqual(self.release(hold), 200, level)
            self.assertEqual(len(self.take(9)), 2, level)
            self.remove()

    def test_fewer_holds_after_a_restart(self):
        self.daemon('workers: 1\nholds: 256\n')
        self.limit('inflight 100 lease 1h')
        old = self.take(200)
        self.assertEqual(len(old), 100)
        # A sixteenth of them, the first, are for the admin API.
        for count, left, room in ((512, 100, 480), (64, 32, 60)):
            self.d.kill9()
            self.d.config.write_text(f'workers: 1\nholds: {count}\n')
            self.d.start()
            # Those that have no place any more gave their lease back; but
            # while all places are taken nobody is given another one.
            taken = [h for h in old if self.release(h) == 200]
            self.assertEqual(len(taken), left, count)
            old = self.take(200)
            self.assertEqual(len(old), min(room, 100), count)
