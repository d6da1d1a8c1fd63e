# SPDX-License-Identifier: MIT
"""The metrics page, for Prometheus."""

import shutil
import subprocess

from harness import Case, ask


class Metrics(Case):
    def test_promtool_accepts_the_page(self):
        if not shutil.which('promtool'):
            self.skipTest('promtool is not installed (package prometheus)')
        org = self.d.org('quoted "name" \\ here')
        self.d.check_http(self.d.key(org['id'])['key'])
        r = ask(self.d.admin_sock, '/metrics')
        self.assertEqual(r.status, 200)
        self.assertIn('text/plain; version=0.0.4', r['Content-Type'])
        p = subprocess.run(['promtool', 'check', 'metrics'], input=r.body,
                           capture_output=True)
        self.assertEqual((p.returncode, p.stdout + p.stderr), (0, b''))

    def test_verdicts_and_bytes_are_counted(self):
        org = self.d.org('counted', '2/1h')
        key = self.d.key(org['id'])['key']
        before = self.d.metrics()
        with self.d.native() as n:
            for _ in range(5):
                n.check(key)
            n.check('nobody')
        after = self.d.metrics()
        grown = {}
        for name in after:
            if 'checks_total' in name:
                reason = name.split('"')[1]
                n = after[name] - before.get(name, 0)
                grown[reason] = grown.get(reason, 0) + n
        self.assertEqual({k: v for k, v in grown.items() if v},
                         {'allow': 2, 'rate_limited': 3, 'invalid_key': 1})
        for name, count in (('received_bytes_total', 6 * 128),
                            ('sent_bytes_total', 6 * 64)):
            grew = sum(after[k] - before.get(k, 0) for k in after
                       if k.split('{')[0] == 'stile_' + name)
            self.assertEqual(grew, count, name)

    def test_there_is_no_secret_and_no_key_in_it(self):
        key = self.d.key(self.d.org('private')['id'])
        self.d.check_http(key['key'])
        self.assertNotIn(key['key'].encode(),
                         ask(self.d.admin_sock, '/metrics').body)
