# SPDX-License-Identifier: MIT
"""So many requests of one client at the same time: `inflight` of level
address, over all organizations of a plan, whatever becomes of holds and of
the process."""

import random
import threading
import unittest

from harness import ALLOW, Case, Closed, Daemon, wait_until
from native_long import CONCURRENCY, NO_HOLD, Long

UNITS = 1000000  # that each organization has
V4, OTHER_V4 = '192.0.2.1', '192.0.2.2'
V6, SAME_V6, OTHER_V6 = '2001:db8:1:2::1', '2001:db8:1:2:9::9', '2001:db8::1'


class Clients:
    """Two organizations of a plan with `limit` for each client."""

    def __init__(self, daemon, name, limit, **more):
        self.d = daemon
        plan = daemon.admin('POST', '/v1/plans', {'name': name})['id']
        daemon.admin('POST', f'/v1/plans/{plan}/limits', {
            'name': 'client', 'level': 'address', 'limit': limit, **more})
        self.orgs = [daemon.admin('POST', '/v1/orgs', {
            'name': f'{name}-{i}', 'limit': f'{UNITS}/1h', 'plan': plan,
            'credits': 2 * UNITS})['id'] for i in range(2)]
        self.keys = [daemon.key(org)['key'] for org in self.orgs]

    def http(self, address, org=0, **more):
        """The hold, or None: denied."""
        r = self.d.check_http(self.keys[org], X_Forwarded_For=address, **more)
        if r.status == 429 and (r['X-Stile-Reason'], r['X-Stile-Limit']) != (
                'concurrency', 'client'):
            raise AssertionError(f'denied by {r["X-Stile-Limit"]}')
        if r.status not in (200, 429):
            raise AssertionError(f'{r.status}: {r.body}')
        return r['X-Stile-Hold'] if r.status == 200 else None

    def native(self, address, org=0, **more):
        with Long(self.d.native_sock) as n:
            r = n.check(self.keys[org], address=address, **more)
        if r.reason not in (ALLOW, CONCURRENCY):
            raise AssertionError(f'reason {r.reason}')
        return f'{r.hold:016x}' if r.reason == ALLOW else None

    def take(self, address, tries, org=0):
        """The holds of those that pass, by both protocols in turn."""
        ways = (self.http, self.native)
        holds = [ways[i % 2](address, (org + i) % 2) for i in range(tries)]
        return [h for h in holds if h is not None]

    def end(self, hold, what='release', **more):
        return self.d.check_http(None, f'/v1/{what}', X_Stile_Hold=hold,
                                 **more).status

    def end_native(self, hold, *cost):
        with Long(self.d.native_sock) as n:
            return {ALLOW: 200, NO_HOLD: 404}[
                n.settle(int(hold, 16), *cost).reason]

    def shown(self, address, org=0):
        return self.d.admin('GET', f'/v1/orgs/{self.orgs[org]}/limits/show'
                            f'?name=client&address={address}')

    def out(self, address):
        return self.shown(address)['used']


class AtATime(Case):
    config = 'workers: 2\n'

    def clients(self, limit, **more):
        return Clients(self.d, self.id().rsplit('.', 1)[1][:40], limit, **more)

    def test_two_organizations_share_it_and_every_end_makes_room(self):
        c = self.clients('inflight 4 lease 60s')
        held = c.take(V4, 9)
        self.assertEqual((len(held), len(set(held))), (4, 4))
        for org in (0, 1):
            live = c.shown(V4, org)
            self.assertEqual((live['used'], live['remaining']), (4, 0))
        ends = (lambda h: c.end(h), lambda h: c.end(h, 'refund'),
                lambda h: c.end(h, 'settle', X_Stile_Cost='1'),
                lambda h: c.end(h, 'settle', X_Stile_Cost='7'),
                lambda h: c.end_native(h), lambda h: c.end_native(h, 0),
                lambda h: c.end_native(h, 3),
                lambda h: self.d.admin_raw('POST', '/v1/settle',
                                           {'hold': h, 'cost': 1}).status)
        for n, end in enumerate(ends):
            hold = held.pop(0)
            self.assertEqual(end(hold), 200, n)
            self.assertEqual(c.end(hold), 404, n)
            self.assertEqual(c.out(V4), 3, n)
            held += c.take(V4, 3, org=n)
            self.assertEqual(len(held), 4, n)
        for hold in held:
            self.assertEqual(c.end(hold), 200)
        self.assertEqual(c.shown(V4)['remaining'], 4)

    def test_a_client_is_an_ipv4_address_or_a_64(self):
        c = self.clients('inflight 1 lease 60s')
        for one, same, other in ((V4, f'::ffff:{V4}', OTHER_V4),
                                 (V6, SAME_V6, OTHER_V6)):
            hold = c.http(one)
            self.assertIsNone(c.http(same))
            self.assertIsNone(c.native(same, 1))
            self.assertIsNotNone(c.native(other))
            self.assertEqual(c.end(hold), 200)
            self.assertIsNotNone(c.http(same))
        # Nobody is said to ask: nobody is counted.
        self.assertEqual([self.d.check_http(c.keys[0]).status
                          for _ in range(3)], [200] * 3)

    def test_a_denial_names_it(self):
        c = self.clients('inflight 1 lease 60s')
        c.http(V4)
        r = self.d.check_http(c.keys[1], X_Forwarded_For=V4)
        self.assertEqual((r.status, r['X-Stile-Reason'], r['X-Stile-Limit'],
                          r['X-RateLimit-Limit'], r['X-RateLimit-Remaining'],
                          r['Retry-After']),
                         (429, 'concurrency', 'client', '1', '0', '1'))
        self.assertIn('qu="concurrent-requests"', r['RateLimit-Policy'])
        self.assertEqual(c.shown(V4, 1)['denied'], 1)
        self.assertEqual(self.d.usage(c.orgs[1])[0], 0)

    def test_what_the_organization_denies_takes_none(self):
        c = self.clients('inflight 1 lease 60s')
        self.assertIsNotNone(c.http(OTHER_V4, X_Stile_Cost=str(UNITS)))
        for said in ({}, {'X_Stile_Reserve': '1'}):
            r = self.d.check_http(c.keys[0], X_Forwarded_For=V4, **said)
            self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'org'))
            self.assertEqual(c.out(V4), 0)
        self.assertIsNotNone(c.http(V4, 1))

    def test_a_look_takes_none_and_is_told_the_same(self):
        c = self.clients('inflight 1 lease 60s')
        for said, free in ((200, True), (429, False)):
            r = self.d.check_http(c.keys[0], X_Forwarded_For=V4,
                                  X_Stile_Peek='1', X_Stile_Explain='1')
            self.assertEqual(r.status, said)
            r = self.d.admin('POST', '/v1/explain',
                             {'key': c.keys[1], 'address': V4})
            line, = [l for l in r['explain'] if l['name'] == 'client']
            self.assertEqual((line['level'], line['algorithm'],
                              line['allowed'], line['remaining']),
                             ('address', 'concurrency', free, int(free)))
            c.http(V4)
        self.assertEqual(c.out(V4), 1)

    def test_the_same_request_again_takes_no_second(self):
        c = self.clients('inflight 1 lease 60s')
        first = c.http(V4, X_Request_Id='a')
        self.assertEqual(c.http(V4, X_Request_Id='a'), first)
        self.assertEqual(c.out(V4), 1)
        self.assertEqual(c.end(first), 200)
        self.assertEqual(c.out(V4), 0)

    def test_leases_end_by_themselves(self):
        c = self.clients('inflight 2 lease 1s')
        self.assertEqual(len(c.take(V4, 5)), 2)
        wait_until(lambda: len(c.take(V4, 1)) == 1, 'a lease ended')
        wait_until(lambda: c.out(V4) == 0, 'all of them')

    def test_a_shadow_denies_nobody(self):
        c = self.clients('inflight 2 lease 60s', shadow=True)
        held = c.take(V4, 5)
        self.assertEqual(len(held), 5)
        live = c.shown(V4)
        self.assertEqual((live['used'], live['denied']), (2, 3))
        for hold in reversed(held):
            self.assertEqual(c.end(hold), 200)
        self.assertEqual(c.out(V4), 0)

    def test_a_reset_is_refused(self):
        c = self.clients('inflight 1 lease 60s')
        hold = c.http(V4)
        r = self.d.admin_raw('POST', f'/v1/orgs/{c.orgs[0]}/limits/reset',
                             {'name': 'client', 'address': V4})
        self.assertEqual(r.status, 409)
        self.assertIsNone(c.http(V4))
        self.assertEqual(c.end(hold), 200)

    def test_a_full_table_denies_or_passes(self):
        for how, least in (('deny', 503), ('pass', 200)):
            name = f'{how}-table'
            c = Clients(self.d, name, 'inflight 1 lease 60s', max_subjects=1,
                        when_full=how)
            said = [self.d.check_http(c.keys[0],
                                      X_Forwarded_For=f'198.51.{i}.1')
                    for i in range(200)]
            self.assertEqual({r.status for r in said}, {200, least}, how)
            # Those that have a place keep it, and their limit.
            self.assertIsNone(c.http('198.51.0.1'))

    def test_another_limit_takes_what_is_out_as_it_is(self):
        c = self.clients('inflight 3 lease 60s')
        held = c.take(V4, 3)
        plan = self.d.admin('GET', f'/v1/orgs/{c.orgs[0]}')['plan']
        plan = plan['id'] if isinstance(plan, dict) else plan
        where = f'/v1/plans/{plan}/limits'
        said = {'name': 'client', 'level': 'address'}
        self.d.admin('POST', where, {**said, 'limit': 'inflight 1 lease 60s'})
        for hold in held[:2]:
            self.assertEqual(c.end(hold), 200)
            self.assertIsNone(c.http(V4))
        self.d.admin('POST', where, {**said, 'limit': 'inflight 2 lease 60s'})
        self.assertEqual(len(c.take(V4, 3)), 1)
        # Gone, and another: what is out is nobody's any more.
        self.d.admin('POST', f'{where}/remove', {'name': 'client'})
        self.d.admin('POST', where, {**said, 'limit': 'inflight 2 lease 60s'})
        new = c.take(V4, 5)
        self.assertEqual(len(new), 2)
        self.assertEqual(c.end(held[2]), 200)
        self.assertEqual(c.out(V4), 2)


class Deaths(unittest.TestCase):
    LIMIT, ROUNDS = 5, 6

    def setUp(self):
        self.d = Daemon('workers: 2\n')
        self.addCleanup(self.d.close)
        self.d.start()

    def test_a_reboot_of_the_process_knows_every_lease(self):
        c = Clients(self.d, 'kept', f'inflight {self.LIMIT} lease 60s')
        held = c.take(V4, 9)
        self.assertEqual(len(held), self.LIMIT)
        for die in (self.d.kill9, self.d.stop, self.d.kill9):
            die()
            self.d.start()
            self.assertEqual(c.take(V4, 3), [])
            self.assertEqual(c.end(held.pop()), 200)
            held += c.take(V4, 3)
            self.assertEqual(len(held), self.LIMIT)
        for hold in held:
            self.assertEqual(c.end(hold), 200)
        self.assertEqual(c.out(V4), 0)

    def hammer(self, c, seed, known, unsure):
        """Takes and ends until the daemon dies. `known` are those that are
        out for certain, `unsure` those of which only the daemon knows."""
        rng, mine = random.Random(seed), {a: [] for a in known}
        pending = None
        try:
            while True:
                address = rng.choice(list(known))
                if mine[address] and rng.random() < 0.5:
                    pending = (address, mine[address].pop(0))
                    way = c.end if rng.random() < 0.5 else c.end_native
                    if way(pending[1]) != 200:
                        raise AssertionError('a hold of nobody')
                else:
                    pending = (address, None)
                    way = c.http if rng.random() < 0.5 else c.native
                    hold = way(address, rng.randrange(2))
                    if hold is not None:
                        mine[address].append(hold)
                pending = None
        except (OSError, Closed):
            if pending is not None:
                unsure[pending[0]].append(pending[1])
        for address, holds in mine.items():
            known[address] += holds

    def test_kill_9_in_the_middle_leaves_as_many_out_as_there_are_holds(self):
        c = Clients(self.d, 'killed',
                    f'inflight {self.LIMIT} lease 10m')
        seed = random.randrange(2**32)
        print(f'STILE_SEED={seed}')
        rng = random.Random(seed)
        for n in range(self.ROUNDS):
            known = {f'192.0.2.{n}': [], f'2001:db8:{n}::1': []}
            unsure = {a: [] for a in known}
            threads = [threading.Thread(target=self.hammer, args=(
                c, rng.random(), known, unsure)) for _ in range(6)]
            for t in threads:
                t.start()
            # Not to wait for anything: so long is a life.
            threads[0].join(0.05 + 0.3 * rng.random())
            self.d.kill9()
            for t in threads:
                t.join()
            self.d.start()
            for address, holds in known.items():
                out, asked = c.out(address), unsure[address]
                self.assertGreaterEqual(out, len(holds), n)
                self.assertLessEqual(out, len(holds) + len(asked), n)
                self.assertLessEqual(out, self.LIMIT, n)
                holds += c.take(address, self.LIMIT + 3)
                for hold in holds:
                    self.assertEqual(c.end(hold), 200, n)
                # Whose end was asked for, and nobody heard of it.
                for hold in filter(None, asked):
                    self.assertIn(c.end(hold), (200, 404), n)
                # Who was not told of a hold cannot end it.
                out = c.out(address)
                self.assertLessEqual(out, asked.count(None), n)
                self.assertEqual(len(c.take(address, self.LIMIT + 3)),
                                 self.LIMIT - out, n)


if __name__ == '__main__':
    unittest.main()
