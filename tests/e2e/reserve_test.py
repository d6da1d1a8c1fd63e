# SPDX-License-Identifier: MIT
"""Reservations by the operator beside those of the proxies: by stilectl, from
several clients at a time, over kill -9 and another number of workers. What was
used is what is gone from the credits and from the budget, to the unit."""

import os
import random
import threading
import unittest

from harness import Closed, Daemon, wait_until
from holds_test import OverAdmin, OverHttp, OverNative
from stilectl_test import Ctl, REFUSED, TROUBLE


class ByStilectl(Ctl):
    def setUp(self):
        self.o = self.org(limit='50/1h', credits='100')
        self.k = self.key(self.o)

    def test_reserve_and_settle(self):
        who = ('--key-id', self.k['id'])
        out = self.good('reserve', *who, '--cost', 20, '--hold-time', '1h',
                        '--request-id', 'job-17')
        self.assertRegex(out, r'\Aallow\n')
        self.assertRegex(out, r'(?m)^CHARGED +20$')
        again = self.json('reserve', *who, '--cost', 20, '--hold-time', '1h',
                          '--request-id', 'job-17')
        self.assertEqual((again['repeated'], again['charged']), (True, 0))
        self.assertIn(again['hold'], out)
        self.good('settle', again['hold'], '--cost', 12)
        got = self.json('charge', '-', '--peek', stdin=self.k['key'])
        self.assertEqual((got['credits'], got['remaining']), (88, 30))

    def test_charge_and_what_is_refused(self):
        who = ('--key-id', self.k['id'])
        self.assertEqual(self.json('charge', *who, '--cost', 50)['charged'],
                         50)
        p = self.ctl('charge', *who)
        self.assertEqual(p.returncode, REFUSED)
        self.assertRegex(p.stdout, r'\Adeny \(429\): ')
        self.good('org', 'suspend', self.o)
        p = self.ctl('reserve', *who)
        self.assertEqual(p.returncode, REFUSED)
        self.assertRegex(p.stdout, r'\Adeny \(403\): ')

    def test_mistakes(self):
        who = ('--key-id', self.k['id'])
        for args in ([], ['a', *who], [*who, '--cost', 'x']):
            self.refused('reserve', *args, status=TROUBLE)
            self.refused('charge', *args, status=TROUBLE)
        self.refused('reserve', *who, '--peek', status=TROUBLE)
        self.refused('reserve', *who, '--hold-time', '99d')
        self.refused('reserve', '--key-id', 'none')


class Exact(unittest.TestCase):
    """Credits, budget and usage agree after all of it."""
    CREDITS = 10_000_000
    ROUNDS, WORKERS = 6, (1, 3, 2)
    CLIENTS, EACH = 3, 80

    def setUp(self):
        self.d = Daemon(self.config(0))
        self.addCleanup(self.d.close)
        self.d.start()
        self.org = self.d.admin('POST', '/v1/orgs', {
            'name': 'acme', 'credits': self.CREDITS,
            'limit': '1000000/1h'})['id']
        self.project = self.d.admin(
            'POST', f'/v1/orgs/{self.org}/projects',
            {'name': 'p', 'budget': f'{self.CREDITS}/month'})
        self.key = self.d.key(self.org, project='p')['key']
        seed = os.environ.get('STILE_SEED') or str(random.getrandbits(32))
        print('seed', seed, flush=True)
        self.random = random.Random(int(seed))

    def config(self, n):
        return (f'workers: {self.WORKERS[n % len(self.WORKERS)]}\n'
                'holds: 4096\nrequest_id_ttl: 10m\n')

    def reserving(self, seed, held):
        """Over the admin API and HTTP, until the daemon dies. What was asked
        and not answered stays in `held` without a hold."""
        rng = random.Random(seed)
        admin, http = OverAdmin(self.d), OverHttp(self.d)
        for _ in range(self.EACH):
            cost, once = rng.randint(1, 9), f'{rng.getrandbits(64):x}'
            held[once] = (cost, None)
            try:
                if rng.randint(0, 1):
                    status, hold, _ = admin.reserve(self.key, cost, '1h',
                                                    request_id=once)
                else:
                    status, hold, _ = http.reserve(self.key, cost, '1h',
                                                   X_Request_Id=once)
            except (OSError, Closed):
                return
            self.answers.append(status)
            held[once] = (cost, hold)

    def settle_all(self, held):
        """Returns what they were charged in the end."""
        native = OverNative(self.d)
        ways = OverAdmin(self.d), OverHttp(self.d)
        sum_ = 0
        for once, (cost, hold) in held.items():
            # Asked again it names its hold, made before or now.
            status, again, _ = ways[0].reserve(self.key, cost, '1h',
                                               request_id=once)
            self.assertEqual(status, 200)
            self.assertIn(hold, (None, again))
            real = self.random.randint(0, 12)
            way = self.random.randint(0, 2)
            if way == 2:
                got = native.settle(int(again, 16), real)
            else:
                got = ways[way].settle(again, real)
            self.assertEqual(got, (200, real))
            self.assertEqual(ways[1].settle(again, 1), (404, 0))
            sum_ += real
        return sum_

    def usage(self):
        """(units, returned) of the rows, when all is in them."""
        report = self.d.admin('GET', f'/v1/usage?org={self.org}&by=key')
        return (sum(r['units'] for r in report['rows']),
                sum(r['returned'] for r in report['rows']))

    def test_totals_agree_over_kills_and_other_numbers_of_workers(self):
        charged = 0
        for n in range(1, self.ROUNDS + 1):
            self.answers, held = [], [{} for _ in range(self.CLIENTS)]
            threads = [threading.Thread(
                target=self.reserving,
                args=(self.random.getrandbits(32), mine)) for mine in held]
            for t in threads:
                t.start()
            enough = self.random.randint(20, self.CLIENTS * self.EACH - 20)
            wait_until(lambda: len(self.answers) >= enough, 'reservations')
            self.d.kill9()
            for t in threads:
                t.join()
            self.assertEqual(set(self.answers), {200})
            self.d.config.write_text(self.config(n))
            self.d.start()
            for mine in held:
                charged += self.settle_all(mine)
            r = self.d.admin('POST', '/v1/checks',
                             {'key': self.key, 'peek': True})
            self.assertEqual((self.CREDITS - r['credits'],
                              self.CREDITS - r['budget']),
                             (charged, charged))
            units, returned = self.usage()
            self.assertEqual(units - returned, charged)
