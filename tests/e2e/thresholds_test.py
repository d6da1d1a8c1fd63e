# SPDX-License-Identifier: MIT
"""Thresholds of budgets are told once each, whenever the daemon dies."""

import unittest

from harness import ALLOW, Daemon, wait_until


class Thresholds(unittest.TestCase):
    def test_each_is_told_once_across_kills(self):
        with Daemon() as d:
            org = d.org('thresholds', '1000/1h')['id']
            projects = []
            for i in range(6):
                p = d.project(org, f'p{i}')['id']
                d.admin('POST', f'/v1/projects/{p}/budget',
                        {'budget': '100/month'})
                key = d.key(org, project=p)['key']
                with d.native() as n:
                    for cost in (49, 2, 29, 20):
                        self.assertEqual(n.check(key, cost=cost).reason,
                                         ALLOW)
                projects.append(p)
                if i % 2:
                    d.kill9()
                    d.start()

            def told():
                events = d.admin('GET', '/v1/events?limit=1000')['events']
                return [sorted(e['body']['threshold'] for e in events
                               if e['project'] == p) for p in projects]
            wait_until(lambda: told() == [[50, 80, 100]] * 6, 'all are told')
            d.stop()
            d.start()
            self.assertEqual(told(), [[50, 80, 100]] * 6)


if __name__ == '__main__':
    unittest.main()
