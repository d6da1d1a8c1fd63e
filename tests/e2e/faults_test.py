# SPDX-License-Identifier: MIT
"""A disk that fails: nothing is acknowledged that is not durable, checks go
on, and everything works again once the disk does."""

import resource
import unittest

import harness
from harness import ALLOW, BUILD, INVALID_KEY, Daemon

SHIM = BUILD / 'tests' / 'e2e' / 'fail_calls.so'
# In the order of enum fault in fail_calls.c.
FAULTS = ('write', 'sync', 'rename')


class BadDisk(unittest.TestCase):
    def setUp(self):
        if harness.sanitized():
            self.skipTest('a sanitizer has to be loaded first')
        if not SHIM.exists():
            self.fail(f'{SHIM} was not built')
        self.d = Daemon('snapshot_interval: 0s\nusage_interval: 1s\n')
        self.addCleanup(self.d.close)
        self.switches = self.d.top / 'switches'
        self.switches.write_bytes(bytes(len(FAULTS)))
        self.d.env.update(LD_PRELOAD=str(SHIM),
                          STILE_FAIL_FILE=str(self.switches))
        self.d.start()
        self.addCleanup(self.fail_now)
        self.org = self.d.org('o', '100/1h')
        self.key = self.d.key(self.org['id'])

    def fail_now(self, *which):
        with open(self.switches, 'r+b') as f:
            f.write(bytes(f in which for f in FAULTS))

    def refused(self, method, path, body=None):
        r = self.d.admin_raw(method, path, body)
        self.assertIn(r.status, (500, 503, 507), r.body)
        self.assertTrue(r.json()['error']['message'])

    def checks_go_on(self):
        with self.d.native() as n:
            self.assertEqual(n.check(self.key['key']).reason, ALLOW)
        self.assertEqual(self.d.check_http(self.key['key']).status, 200)

    def names(self):
        return [o['name'] for o in self.d.admin('GET', '/v1/orgs')['orgs']]

    def test_records_on_a_disk_that_fails(self):
        for fault in ('write', 'sync'):
            with self.subTest(fault=fault):
                self.fail_now(fault)
                self.refused('POST', '/v1/orgs', {'name': fault})
                self.refused('POST', f'/v1/orgs/{self.org["id"]}/keys', {})
                self.checks_go_on()
                self.fail_now()
                self.assertNotIn(fault, self.names())
                self.d.org(fault)
                self.d.kill9()
                self.d.start()
                self.assertIn(fault, self.names())
                self.checks_go_on()

    def test_revocation_on_a_disk_that_fails_is_not_acknowledged(self):
        victim = self.d.key(self.org['id'])
        self.fail_now('write')
        self.refused('POST', f'/v1/keys/{victim["id"]}/revoke')
        self.refused('POST', f'/v1/orgs/{self.org["id"]}/suspend')
        self.fail_now()
        self.checks_go_on()
        self.d.admin('POST', f'/v1/keys/{victim["id"]}/revoke')
        for _ in range(2):
            with self.d.native() as n:
                self.assertEqual(n.check(victim['key']).reason, INVALID_KEY)
            self.d.kill9()
            self.d.start()

    def test_usage_on_a_disk_that_fails_waits(self):
        """With `sync` a transaction may be in the file that is said to have
        failed: it must not be written twice."""
        def failures():
            return self.d.metric('usage_failures_total')

        def collected():
            return self.d.admin('GET', '/v1/status')['usage']

        for fault in ('sync', 'write'):
            with self.subTest(fault=fault):
                before = failures()
                self.fail_now(fault)
                self.checks_go_on()
                harness.wait_until(lambda: failures() > before + 1, 'told')
                self.checks_go_on()
                self.fail_now()
                done = collected()['collections']
                harness.wait_until(
                    lambda: collected()['collections'] > done, 'it works')
                rows = self.d.admin('GET', '/v1/usage?org=o&by=key')['rows']
                used, _ = self.d.usage('o')
                self.assertEqual([r['units'] for r in rows], [used])
                self.d.kill9()
                self.d.start()
                rows = self.d.admin('GET', '/v1/usage?org=o&by=key')['rows']
                self.assertEqual([r['units'] for r in rows], [used])

    def test_snapshot_on_a_disk_that_fails_leaves_the_old_one(self):
        self.checks_go_on()
        self.d.admin('POST', '/v1/snapshot')
        before = {p: p.read_bytes() for p in self.d.state.glob('*.snap*')}
        self.assertEqual(len(before), 1)
        for fault in FAULTS:
            with self.subTest(fault=fault):
                self.fail_now(fault)
                self.refused('POST', '/v1/snapshot')
                self.checks_go_on()
                now = {p: p.read_bytes()
                       for p in self.d.state.glob('*.snap*')}
                self.assertEqual(now, before)
                self.assertTrue(self.d.admin(
                    'GET', '/v1/status')['snapshot']['last_error'])
                self.fail_now()
        self.d.admin('POST', '/v1/snapshot')
        self.assertFalse(self.d.admin(
            'GET', '/v1/status')['snapshot']['last_error'])

    def test_stop_on_a_full_disk_says_so_and_loses_nothing(self):
        self.checks_go_on()
        used = self.d.usage(self.org['id'])
        self.fail_now('write')
        import signal
        self.d.process.send_signal(signal.SIGTERM)
        self.assertNotEqual(self.d.wait_exit(), 0)
        self.assertIn('No space left', self.d.log())
        self.fail_now()
        self.d.start()
        self.assertEqual(self.d.usage(self.org['id']), used)


class FileSizeLimit(unittest.TestCase):
    def test_is_an_error_of_the_write_not_the_end(self):
        d = Daemon('snapshot_interval: 0s\n')
        self.addCleanup(d.close)
        d.start()
        key = d.key(d.org('o', '100/1h')['id'])['key']
        before = resource.prlimit(d.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(d.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        answers = [d.admin_raw('POST', '/v1/orgs', {'name': 'p'}),
                   d.admin_raw('POST', '/v1/snapshot')]
        with d.native() as n:
            self.assertEqual(n.check(key).reason, ALLOW)
        resource.prlimit(d.pid, resource.RLIMIT_FSIZE, before)
        for r in answers:
            self.assertIn(r.status, (500, 503, 507), r.body)
        d.org('p')
        d.admin('POST', '/v1/snapshot')
