# SPDX-License-Identifier: MIT
"""Limits of every kind over the wire, several at a time, and what is left of
them after the death of the process."""

import os
import random
import time
import unittest

from harness import (ALLOW, RATE_LIMITED, SOAK, Case, Daemon, Hammer, now,
                     wait_until)
from limits_test import Killer
from native_long import BUDGET, CREDITS, FULL, Long, address_bytes, long_frame


def pools(d, org):
    """Units gone from all pools of credits together."""
    return sum(p['used'] for p in d.admin(
        'GET', f'/v1/orgs/{org}/credits')['pools'])


class Rules(Case):
    def setUp(self):
        self.org = self.d.org(self.id().rsplit('.', 1)[1], '1000/1h')['id']
        self.key = self.d.key(self.org)['key']

    def limit(self, name, text, org=None, **more):
        self.d.admin('POST', f'/v1/orgs/{org or self.org}/limits',
                     {'name': name, 'limit': text, **more})

    def used(self, org=None):
        return self.d.usage(org or self.org)[0]

    def said(self, r, name):
        """What an explained answer says of a rule."""
        line, = [x for x in r.json()['explain'] if x['name'] == name]
        return line

    def test_gcra_passes_its_burst_and_then_its_rate(self):
        self.limit('burst', 'gcra 1/1h burst 5')
        with Long(self.d.native_sock) as n:
            n.send(long_frame(self.key, cost=1) * 8)
            answers = [n.get() for _ in range(8)]
        self.assertEqual([r.reason for r in answers],
                         [ALLOW] * 5 + [RATE_LIMITED] * 3)
        for r in answers[5:]:
            self.assertEqual((r.limit_name, r.limit, r.remaining),
                             ('burst', 5, 0))
            self.assertIn(r.retry_ms, range(3_590_000, 3_600_001))
        r = self.d.check_http(self.key)
        self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'burst'))
        self.assertIn(int(r['Retry-After']), range(3590, 3601))
        self.assertEqual(self.used(), 5)

    def test_gcra_retry_is_the_instant_at_which_it_passes(self):
        self.limit('rate', 'gcra 10/2s burst 2')
        with self.d.native() as n:
            begin, allowed = now(), 0
            while now() - begin < 1.5:
                r = n.check(self.key)
                if r.reason == ALLOW:
                    allowed += 1
                    continue
                self.assertIn(r.retry_ms, range(1, 201))
                time.sleep(r.retry_ms / 1000)
                self.assertEqual(n.check(self.key).reason, ALLOW)
                allowed += 1
            took = now() - begin
        self.assertLessEqual(allowed, 2 + took / 0.2)

    def test_a_burst_is_charged_by_cost_or_by_request(self):
        self.limit('units', 'gcra 1/1h burst 5')
        self.limit('requests', '2/1h', requests=True)
        for cost, status, name in (('6', 429, 'units'), ('3', 200, None),
                                   ('3', 429, 'units'), ('2', 200, None),
                                   ('1', 429, 'units')):
            r = self.d.check_http(self.key, X_Stile_Cost=cost)
            self.assertEqual((r.status, r['X-Stile-Limit']), (status, name))
        self.limit('units', 'off')
        r = self.d.check_http(self.key, X_Stile_Cost='9')
        self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'requests'))
        self.assertEqual(self.used(), 5)

    def test_the_rule_with_the_longest_wait_is_told(self):
        self.limit('short', '2/10s')
        self.limit('long', '2/100s')
        for _ in range(2):
            self.assertEqual(self.d.check_http(self.key).status, 200)
        r = self.d.check_http(self.key)
        self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'long'))
        self.assertIn(int(r['Retry-After']), range(90, 101))
        self.assertEqual(r['RateLimit-Policy'], '"long";q=2;w=100')

    def test_a_shadow_only_counts(self):
        self.limit('shadow', '3/1h', shadow=True)
        for n in range(6):
            r = self.d.check_http(self.key, X_Stile_Explain='1')
            self.assertEqual((r.status, r['X-Stile-Limit']), (200, None))
            # The numbers of the answer are those of rules that deny.
            self.assertEqual(r['X-RateLimit-Limit'], '1000')
        line = self.said(r, 'shadow')
        self.assertEqual((line['shadow'], line['allowed'], line['limit'],
                          line['remaining']), (True, False, 3, 0))
        self.assertEqual(self.used(), 6)
        # It has counted what would have passed it, so it can be made to deny.
        self.limit('shadow', '3/1h')
        r = self.d.check_http(self.key)
        self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'shadow'))

    def test_rules_of_keys_and_routes(self):
        other = self.d.key(self.org)['key']
        self.limit('each', '2/1h', level='key')
        self.limit('convert', '3/1h', route='convert')
        for key in (self.key, other):
            self.assertEqual([self.d.check_http(key).status
                              for _ in range(3)], [200, 200, 429])
        self.limit('each', 'off')
        said = [self.d.check_http(key, X_Stile_Route=route).status
                for route in ('convert', 'another', 'convert')
                for key in (self.key, other)]
        self.assertEqual(said, [200, 200, 200, 200, 200, 429])
        self.assertEqual(self.used(), 9)

    def test_the_limit_whose_table_is_full_is_named(self):
        self.limit('each', 'gcra 5/1h burst 5', level='route', max_subjects=1)
        self.limit('all', '1000/1h', level='route')
        routes = 0
        while True:
            r = self.d.check_http(self.key, X_Stile_Route=f'r{routes}')
            if r.status != 200:
                break
            routes += 1
            self.assertLess(routes, 200)
        self.assertEqual((r.status, r['X-Stile-Reason'], r['X-Stile-Limit']),
                         (503, 'full', 'each'))
        self.assertEqual((r['X-RateLimit-Limit'], r['X-RateLimit-Remaining'],
                          r['Retry-After']), ('5', '0', '1'))
        with Long(self.d.native_sock) as n:
            a = n.check(self.key, route=b'r%d' % routes)
        self.assertEqual((a.reason, a.limit_name, a.limit, a.remaining,
                          a.retry_ms), (FULL, 'each', 5, 0, 0))
        self.assertEqual(self.used(), routes)

    def test_the_largest_window_of_a_key(self):
        self.d.admin('PATCH', f'/v1/orgs/{self.org}', {'limit': '900000/1h'})
        self.limit('each', '65536/1h', level='key')
        said = [self.d.check_http(self.key, X_Stile_Cost=cost).status
                for cost in ('60000', '5537', '5536', '1')]
        self.assertEqual(said, [200, 429, 200, 429])

    # ---- addresses: one table for all organizations of a plan

    def two_of_a_plan(self, **more):
        name = self.id().rsplit('.', 1)[1]
        plan = self.d.admin('POST', '/v1/plans', {'name': name})['id']
        self.d.admin('POST', f'/v1/plans/{plan}/limits', {
            'name': 'address', 'level': 'address', 'limit': '3/1h', **more})
        orgs = [self.d.admin('POST', '/v1/orgs', {
            'name': f'{name}-{i}', 'limit': '6/1h', 'plan': plan})['id']
            for i in range(2)]
        return orgs, [self.d.key(org)['key'] for org in orgs]

    def from_address(self, key, address, cost=1):
        """The same by both protocols, in turn."""
        if random.random() < 0.5:
            return self.d.check_http(key, X_Forwarded_For=address,
                                     X_Stile_Cost=str(cost)).status
        with Long(self.d.native_sock) as n:
            r = n.check(key, cost=cost, address=address)
        return {ALLOW: 200, RATE_LIMITED: 429}[r.reason]

    def test_an_address_is_shared_by_the_organizations_of_a_plan(self):
        orgs, (one, two) = self.two_of_a_plan()
        v4 = '192.0.2.1'
        self.assertEqual([self.from_address(k, a) for k, a in (
            (one, v4), (two, v4), (two, '::ffff:192.0.2.1'), (one, v4),
            (two, v4))], [200, 200, 200, 429, 429])
        self.assertEqual(self.from_address(one, '192.0.2.2'), 200)
        r = self.d.check_http(one, X_Forwarded_For=v4)
        self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'address'))
        # Denied checks have left nothing with either organization.
        self.assertEqual([self.used(org) for org in orgs], [2, 2])

    def test_an_ipv6_client_is_its_64(self):
        orgs, (one, two) = self.two_of_a_plan()
        self.assertEqual([self.from_address(k, a) for k, a in (
            (one, '2001:db8:1:2::1'), (two, '2001:db8:1:2:ffff:9::9'),
            (one, '2001:db8:1:2::'), (two, '2001:db8:1:2:8000::'),
            (one, '2001:db8:1:2::1'), (one, '2001:db8:1:3::1'),
            (two, '2001:db8::1'))], [200, 200, 200, 429, 429, 200, 200])
        self.assertEqual([self.used(org) for org in orgs], [3, 2])

    def test_what_the_organization_denies_is_not_the_addresses(self):
        _, (one, two) = self.two_of_a_plan()
        v4 = '198.51.100.1'
        self.assertEqual(self.from_address(one, '198.51.100.2', 3), 200)
        self.assertEqual(self.from_address(one, '198.51.100.3', 3), 200)
        for _ in range(9):
            self.assertEqual(self.from_address(one, v4), 429)
        self.assertEqual(self.from_address(two, v4, 3), 200)
        self.assertEqual(self.from_address(two, v4), 429)

    def test_an_address_of_which_nothing_is_said_is_not_counted(self):
        _, (one, _) = self.two_of_a_plan()
        self.assertEqual([self.d.check_http(one).status for _ in range(7)],
                         [200] * 6 + [429])
        self.assertEqual(address_bytes('192.0.2.1')[10:12], b'\xff\xff')

    def test_a_shadow_of_addresses_only_counts(self):
        _, (one, _) = self.two_of_a_plan(shadow=True)
        for n in range(6):
            r = self.d.check_http(one, X_Forwarded_For='203.0.113.1',
                                  X_Stile_Explain='1')
            self.assertEqual(r.status, 200)
        self.assertEqual((self.said(r, 'address')['shadow'],
                          self.said(r, 'address')['allowed']), (True, False))


class LongHammer(Hammer):
    REPLY_BYTES = 128


class Together(unittest.TestCase):
    """Everything that a check charges, against what was answered, across
    kill -9: key, budget and credits agree to the unit."""

    KEYS, CONNECTIONS = 4, 32

    def setUp(self):
        self.seed = int(os.environ.get('STILE_SEED',
                                       random.randrange(1 << 32)))
        self.random = random.Random(self.seed)
        self.d = Daemon('usage_interval: 1s\nsnapshot_interval: 1s\n'
                        'routes: {image: 3, extract: {scope: documents}}\n')
        self.addCleanup(self.d.close)
        self.d.start()

    def make(self, credits, budget):
        self.org = self.d.admin('POST', '/v1/orgs', {
            'name': 'all', 'limit': '50000/1s', 'credits': credits})['id']
        for limit in ({'name': 'each', 'limit': 'gcra 1000/1s burst 100',
                       'level': 'key'},
                      {'name': 'image', 'limit': '3000/500ms',
                       'route': 'image'},
                      {'name': 'address', 'limit': '20000/1s',
                       'level': 'address'},
                      {'name': 'shadow', 'limit': '5/1s', 'shadow': True}):
            self.d.admin('POST', f'/v1/orgs/{self.org}/limits', limit)
        self.project = self.d.admin(
            'POST', f'/v1/orgs/{self.org}/projects',
            {'name': 'p', 'budget': f'{budget}/month'})['id']
        self.keys = [self.d.key(self.org, project='p', scopes=['documents'])
                     for _ in range(self.KEYS)]

    def pick(self):
        key = self.random.choice(self.keys)
        route, cost, price = self.random.choice((
            (b'image', 0, 3), (b'image', 2, 2), (b'extract', 0, 1),
            (b'', 0, 1), (b'', 7, 7), (b'else', 0, 1)))
        address = self.random.choice((None, '192.0.2.1', '2001:db8::1'))
        return key['id'], price, long_frame(
            key['key'], cost=cost, route=route, address=address)

    def budget_used(self):
        page = self.d.admin(
            'GET', f'/v1/usage?org={self.org}&by=project')
        row, = [r for r in page['rows'] if r['project'] == self.project]
        budget, = row['budgets']
        return budget['used'], row['units']

    def run_and_kill(self, seconds):
        hammer = LongHammer(self.d.native_sock, self.CONNECTIONS)
        self.addCleanup(hammer.close)
        end = now() + seconds
        killer = Killer(self.d, 0.4)
        killer.start()
        try:
            hammer.run(self.pick, lambda: now() > end)
        finally:
            killer.stop()
        return hammer, killer.kills

    def judge(self, hammer, kills):
        least = {k['id']: 0 for k in self.keys}
        unsure = dict(least)
        for _, _, tag, cost, reason in hammer.answered:
            least[tag] += cost if reason == ALLOW else 0
        for _, _, tag, cost in hammer.unanswered:
            unsure[tag] += cost
        used, by_key = self.d.usage(self.org)
        print(f'     seed {self.seed}: {sum(least.values())} units answered '
              f'as allowed, {used} used, {kills} kills, '
              f'{len(hammer.answered)} answers, {len(hammer.unanswered)} '
              'unanswered')
        self.assertEqual(sum(by_key.values()), used)
        for key in least:
            self.assertIn(by_key[key], range(
                least[key], least[key] + unsure[key] + 1))
        self.assertEqual(pools(self.d, self.org), used)
        wait_until(lambda: self.budget_used() == (used, used),
                   'budget and rows of usage agree with what was used')
        return used

    def test_charged_together_or_not_at_all_across_kills(self):
        self.make(10**9, 10**9)
        hammer, kills = self.run_and_kill(120 if SOAK else 6)
        self.assertGreaterEqual(kills, 3)
        self.assertEqual(hammer.broken, [])
        self.assertEqual({a[4] for a in hammer.answered},
                         {ALLOW, RATE_LIMITED})
        self.assertGreater(self.judge(hammer, kills), 1000)

    def test_what_runs_out_runs_out_exactly(self):
        for credits, budget, reason in ((150, 10**6, CREDITS),
                                        (10**6, 150, BUDGET)):
            with self.subTest(reason=reason):
                if reason == BUDGET:
                    self.d.close()
                    self.setUp()
                self.make(credits, budget)
                hammer, kills = self.run_and_kill(3)
                self.assertIn(reason, {a[4] for a in hammer.answered})
                self.assertEqual(self.judge(hammer, kills), 150)


class Renamed(unittest.TestCase):
    def test_what_was_used_stays_with_the_names_of_routes(self):
        """A restart with routes in another order, and one of them gone."""
        both = 'routes: {a: 2, b: 3}\nusage_interval: 1s\n'
        d = Daemon(both)
        self.addCleanup(d.close)
        d.start()
        org = d.org('renamed', '1000/1h')['id']
        key = d.key(org)['key']
        told = {}
        for routes, prices in (('{a: 2, b: 3}', {'a': 2, 'b': 3}),
                               ('{b: 5, c: 7, a: 2}',
                                {'a': 2, 'b': 5, 'c': 7}),
                               ('{c: 1}', {'c': 1, 'a': 1})):
            d.config.write_text(both.replace('{a: 2, b: 3}', routes))
            d.stop() if told else d.kill9()
            d.start()
            for name, price in prices.items():
                r = d.check_http(key, X_Stile_Route=name)
                self.assertEqual(r['X-Stile-Charged'], str(price))
                name = name if name in routes else 'other'
                told[name] = told.get(name, 0) + price
            wait_until(lambda: {r['route']: r['units'] for r in d.admin(
                'GET', f'/v1/usage?org={org}&by=route')['rows']} == told,
                told)
