# SPDX-License-Identifier: MIT
"""The first use of a trial is told once, whenever the daemon dies."""

import unittest

from harness import Daemon, wait_until

ROUTES = ['r%d' % i for i in range(6)]


class Trials(unittest.TestCase):
    def test_each_is_granted_once_across_kills(self):
        config = 'routes: {%s}' % ', '.join(
            '%s: {trial: 30}' % r for r in ROUTES)
        with Daemon(config=config) as d:
            org = d.admin('POST', '/v1/orgs', {'name': 'trials',
                                               'credits': 0})['id']
            key = d.key(org)['key']

            def shown():
                return d.admin('GET', f'/v1/orgs/{org}/credits')

            def ledger():
                lines = d.admin('GET', f'/v1/orgs/{org}/ledger')['ledger']
                return [(x['change'], x['why']) for x in lines]

            self.assertEqual((shown()['rest'], shown()['available']),
                             (0, 180))
            for i, route in enumerate(ROUTES):
                with d.http() as h:
                    self.assertEqual(h.ask('GET', '/v1/check', {
                        'X-API-Key': key, 'X-Stile-Route': route,
                        'X-Stile-Cost': '2'}).status, 200)
                now = shown()
                self.assertEqual((now['rest'], now['available']),
                                 (28 * (i + 1), 180 - 30 * (i + 1)))
                if i % 2:
                    d.kill9()
                    d.start()
                    self.assertEqual(shown(), now)
            wait_until(lambda: len(ledger()) >= 6, 'all are in the ledger')
            self.assertEqual(ledger(), [(30, 'trial')] * 6)
            self.assertEqual(shown()['rest'], 6 * 30 - 6 * 2)
            d.stop()
            d.start()
            self.assertEqual(ledger(), [(30, 'trial')] * 6)
            events = d.admin('GET', '/v1/events?limit=1000')['events']
            self.assertEqual(sorted((e['kind'], e['body']['route'])
                                    for e in events),
                             [('credits.trial', r) for r in ROUTES])


if __name__ == '__main__':
    unittest.main()
