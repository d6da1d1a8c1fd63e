# SPDX-License-Identifier: MIT
"""Reservations and leases over both protocols: what is held is charged once,
and ends as it is settled, whatever happens meanwhile."""

from harness import ALLOW, RATE_LIMITED, Case, wait_until
from native_long import (AS_RESERVED, BUDGET, CONCURRENCY, CREDITS, NO_HOLD,
                         RESERVE, REPEATED, Long)


def credits_left(daemon, org):
    return daemon.admin('GET', f'/v1/orgs/{org}')['credits']


class OverHttp:
    """The same questions in HTTP's words."""

    def __init__(self, daemon):
        self.d = daemon

    def reserve(self, key, cost, hold='1', **more):
        r = self.d.check_http(key, X_Stile_Cost=str(cost),
                              X_Stile_Reserve=hold, **more)
        return r.status, r['X-Stile-Hold'], int(r['X-Stile-Charged'] or 0)

    def settle(self, hold, cost=None):
        """(status, units charged)"""
        said = {} if cost is None else {'X_Stile_Cost': str(cost)}
        return self.end('settle', hold, **said)

    def refund(self, hold):
        return self.end('refund', hold)

    def release(self, hold):
        return self.end('release', hold)

    def end(self, what, hold, **said):
        r = self.d.check_http(None, f'/v1/{what}', X_Stile_Hold=hold, **said)
        return r.status, int(r['X-Stile-Charged'] or 0)


class OverNative:
    STATUS = {ALLOW: 200, RATE_LIMITED: 429, CONCURRENCY: 429, BUDGET: 402,
              CREDITS: 402, NO_HOLD: 404}

    def __init__(self, daemon):
        self.d = daemon

    def reserve(self, key, cost, hold_ms=0):
        with Long(self.d.native_sock) as n:
            r = n.check(key, cost=cost, flags=RESERVE, hold_ms=hold_ms)
        return self.STATUS[r.reason], r.hold or None, r.charged

    def settle(self, hold, cost=AS_RESERVED):
        with Long(self.d.native_sock) as n:
            r = n.settle(hold, cost)
        return self.STATUS[r.reason], r.charged

    def refund(self, hold):
        return self.settle(hold, 0)

    release = settle


class OverAdmin:
    """The same by the operator."""

    def __init__(self, daemon):
        self.d = daemon

    def reserve(self, key, cost, hold=None, **more):
        r = self.d.admin('POST', '/v1/checks', {
            'key': key, 'cost': cost, 'reserve': True, 'hold_time': hold,
            **more})
        return r['status'], r['hold'], r['charged']

    def settle(self, hold, cost=None):
        r = self.d.admin_raw('POST', '/v1/settle',
                             {'hold': hold, 'cost': cost})
        if r.status != 200:
            return r.status, 0
        body = r.json()
        return (200 if body['reason'] == 'allow' else 402), body['charged']

    def refund(self, hold):
        return self.settle(hold, 0)

    release = settle


class Holds(Case):
    CREDITS, BUDGET, LIMIT = 200, 90, 1000

    def setUp(self):
        self.org = self.d.admin('POST', '/v1/orgs', {
            'name': self.id().rsplit('.', 1)[1], 'credits': self.CREDITS,
            'limit': f'{self.LIMIT}/1h'})['id']
        self.d.admin('POST', f'/v1/orgs/{self.org}/projects',
                     {'name': 'p', 'budget': f'{self.BUDGET}/month'})
        self.key = self.d.key(self.org, project='p')['key']

    def left(self):
        """(rate, budget, credits)"""
        r = self.d.check_http(self.key, X_Stile_Peek='1')
        return tuple(int(r[f'X-{n}-Remaining']) for n in (
            'RateLimit', 'Stile-Budget', 'Stile-Credits'))

    def assertGone(self, rate, units):
        self.assertEqual(self.left(), (self.LIMIT - rate, self.BUDGET - units,
                                       self.CREDITS - units))

    def ways(self):
        return OverHttp(self.d), OverNative(self.d), OverAdmin(self.d)

    def test_settled_at_less_at_the_same_and_at_more(self):
        rate = units = 0
        for way in self.ways():
            for cost in (0, 1, 4, 5, 6, 9):
                self.assertGone(rate, units)
                status, hold, charged = way.reserve(self.key, 5)
                self.assertEqual((status, charged), (200, 5))
                rate += 5  # as it was when it was admitted
                self.assertGone(rate, units + 5)
                self.assertEqual(way.settle(hold, cost), (200, cost))
                units += cost
                self.assertGone(rate, units)
                self.assertEqual(way.settle(hold, cost), (404, 0))
        self.assertGone(rate, units)

    def test_refund_and_release(self):
        for way in self.ways():
            before = self.left()
            _, hold, _ = way.reserve(self.key, 7)
            self.assertEqual(way.refund(hold), (200, 0))
            self.assertEqual(self.left()[1:], before[1:])
            self.assertEqual(way.release(hold), (404, 0))
            _, hold, _ = way.reserve(self.key, 7)
            self.assertEqual(way.release(hold), (200, 7))
            self.assertEqual(way.refund(hold), (404, 0))
            self.assertEqual(self.left()[1:], tuple(x - 7 for x in before[1:]))

    def test_one_protocol_settles_what_the_other_reserved(self):
        gone = 0
        for i, here in enumerate(self.ways()):
            for k, there in enumerate(self.ways()):
                _, hold, _ = here.reserve(self.key, 9)
                number = hold if isinstance(hold, int) else int(hold, 16)
                hold = (number if isinstance(there, OverNative)
                        else f'{number:016x}')
                self.assertEqual(there.settle(hold, i + k), (200, i + k))
                self.assertEqual(there.settle(hold, i + k), (404, 0))
                gone += i + k
        self.assertGone(81, gone)

    def test_a_settlement_stays_within_budget_and_credits(self):
        for way in self.ways():
            gone = self.BUDGET - self.left()[1]
            _, hold, _ = way.reserve(self.key, 5)
            status, charged = way.settle(hold, 1000)
            # The reason says what did not reach, `charged` how far it did.
            self.assertEqual((status, charged), (402, self.BUDGET - gone))
            self.assertEqual(self.left()[1:], (0, self.CREDITS - self.BUDGET))
            self.assertEqual(way.reserve(self.key, 1)[0], 402)
            project = self.d.admin(
                'GET', f'/v1/orgs/{self.org}/projects')['projects'][0]
            self.d.admin('POST', f'/v1/projects/{project["id"]}/budget',
                         {'budget': f'{self.BUDGET + 10}/month'})
            self.BUDGET += 10

    def test_what_nobody_settles_is_given_back(self):
        for way, ms in zip(self.ways(), ('1500ms', 1500, '1500ms')):
            before = self.left()
            status, hold, _ = way.reserve(self.key, 8, ms)
            self.assertEqual(status, 200)
            self.assertEqual(self.left()[1], before[1] - 8)
            wait_until(lambda: self.left()[1:] == before[1:], 'it expired')
            self.assertEqual(way.settle(hold, 8), (404, 0))

    def test_an_operator_settles_what_the_proxy_reserved(self):
        left = credits_left(self.d, self.org)
        status, hold, charged = OverHttp(self.d).reserve(self.key, 5)
        self.assertEqual((status, charged), (200, 5))
        self.assertEqual(credits_left(self.d, self.org), left - 5)
        r = self.d.admin('POST', '/v1/settle', {'hold': hold, 'cost': 2})
        self.assertEqual((r['charged'], r['reason'], r['hold']),
                         (2, 'allow', hold))
        r = self.d.admin_raw('POST', '/v1/settle', {'hold': hold})
        self.assertEqual(r.status, 404)
        self.assertEqual(OverHttp(self.d).settle(hold, 1)[0], 404)
        self.assertEqual(credits_left(self.d, self.org), left - 2)

    def test_holds_outlive_the_process(self):
        http, native, admin = self.ways()
        kept = [(http, http.reserve(self.key, 5)[1], 2),
                (admin, admin.reserve(self.key, 5)[1], 4),
                (native, native.reserve(self.key, 5)[1], 9)]
        for end in (self.d.kill9, self.d.stop, self.d.kill9):
            end()
            self.d.start()
            way, hold, cost = kept.pop()
            self.assertEqual(way.settle(hold, cost), (200, cost))
            self.assertEqual(way.settle(hold, cost), (404, 0))
        self.assertGone(15, 15)

    def test_a_repeated_reservation_names_the_same_hold(self):
        def reserve():
            return self.d.check_http(self.key, X_Stile_Cost='5',
                                     X_Stile_Reserve='1', X_Request_Id='once')

        first, second = reserve(), reserve()
        self.assertEqual(first['X-Stile-Hold'], second['X-Stile-Hold'])
        self.assertEqual((first['X-Stile-Charged'], second['X-Stile-Charged'],
                          second['X-Stile-Repeated']), ('5', '0', '1'))
        self.assertGone(5, 5)
        http = OverHttp(self.d)
        self.assertEqual(http.settle(first['X-Stile-Hold'], 1), (200, 1))
        self.assertGone(5, 1)


    def test_a_request_is_one_over_http_and_over_the_admin_api(self):
        r = self.d.check_http(self.key, X_Stile_Cost='5', X_Stile_Reserve='1',
                              X_Request_Id='both')
        again = OverAdmin(self.d).reserve(self.key, 5, request_id='both')
        self.assertEqual(again, (200, r['X-Stile-Hold'], 0))
        self.assertGone(5, 5)


class Keeping(Case):
    config = 'hold_expiry: keep\nhold_ttl: 1s\n'

    def test_what_nobody_settles_is_kept_where_it_is_said_so(self):
        org = self.d.admin('POST', '/v1/orgs', {
            'name': 'keep', 'credits': 10, 'limit': '100/1h'})['id']
        self.d.admin('POST', f'/v1/orgs/{org}/limits',
                     {'name': 'one', 'limit': 'inflight 1 lease 1s'})
        key = self.d.key(org)['key']
        http = OverHttp(self.d)
        _, hold, _ = http.reserve(key, 4)
        self.assertEqual(self.d.check_http(key).status, 429)
        # It expires: the lease ends, the units stay.
        wait_until(lambda: self.d.check_http(key).status == 200, 'it expired')
        self.assertEqual(http.settle(hold, 0), (404, 0))
        self.assertEqual(credits_left(self.d, org), 5)


class Flight(Case):
    def setUp(self):
        self.org = self.d.org(self.id().rsplit('.', 1)[1], '1000/1h')['id']
        self.keys = [self.d.key(self.org)['key'] for _ in range(2)]

    def limit(self, text, **more):
        self.d.admin('POST', f'/v1/orgs/{self.org}/limits',
                     {'name': 'flight', 'limit': text, **more})

    def test_so_many_at_a_time_and_a_release_makes_room(self):
        self.limit('inflight 3 lease 60s')
        ways, key = (OverHttp(self.d), OverNative(self.d)), self.keys[0]
        held = []
        for i in range(3):
            r = self.d.check_http(self.keys[i % 2])
            self.assertEqual(r.status, 200)
            held.append(r['X-Stile-Hold'])
        self.assertEqual(len(set(held)), 3)
        used = self.d.usage(self.org)[0]
        for _ in range(3):
            r = self.d.check_http(key)
            self.assertEqual((r.status, r['X-Stile-Reason'],
                              r['X-Stile-Limit']),
                             (429, 'concurrency', 'flight'))
            self.assertEqual(r.json()['error'], 'Too many requests in flight')
            self.assertIn('qu="concurrent-requests"', r['RateLimit-Policy'])
            self.assertGreaterEqual(int(r['Retry-After']), 1)
            with self.d.native() as n:
                r = n.check(key)
            self.assertEqual((r.reason, r.limit, r.remaining, r.window_ms),
                             (CONCURRENCY, 3, 0, 0))
        self.assertEqual(self.d.usage(self.org)[0], used)
        for way in ways:
            hold = held.pop()
            self.assertEqual(
                way.release(hold if way is ways[0] else int(hold, 16)),
                (200, 1))
            r = self.d.check_http(key)
            self.assertEqual(r.status, 200)
            held.append(r['X-Stile-Hold'])
            self.assertEqual(self.d.check_http(key).status, 429)

    def test_refund_gives_back_the_lease_too(self):
        self.limit('inflight 1 lease 60s')
        http = OverHttp(self.d)
        for _ in range(20):
            r = self.d.check_http(self.keys[0])
            self.assertEqual(r.status, 200)
            self.assertEqual(self.d.check_http(self.keys[1]).status, 429)
            self.assertEqual(http.refund(r['X-Stile-Hold']), (200, 0))

    def test_each_key_has_its_own_where_it_is_said_so(self):
        self.limit('inflight 1 lease 60s', level='key')
        for key in self.keys:
            self.assertEqual(self.d.check_http(key).status, 200)
            self.assertEqual(self.d.check_http(key).status, 429)

    def test_leases_end_by_themselves(self):
        self.limit('inflight 2 lease 1s')
        key = self.keys[0]
        while self.d.check_http(key).status == 200:
            pass
        wait_until(lambda: self.d.check_http(key).status == 200,
                   'a lease ended')

    def test_a_lease_that_ends_gives_no_units_back(self):
        self.d.admin('POST', f'/v1/orgs/{self.org}/credits', {'amount': 10})
        self.limit('inflight 1 lease 1s')
        key = self.keys[0]
        first = self.d.check_http(key, X_Stile_Cost='4')
        self.assertEqual(first['X-Stile-Credits-Remaining'], '6')
        wait_until(lambda: self.d.check_http(key).status == 200,
                   'the lease ended')
        self.assertEqual(credits_left(self.d, self.org), 5)
        self.assertEqual(OverHttp(self.d).refund(first['X-Stile-Hold']),
                         (404, 0))

    def test_leases_outlive_the_process_and_end_after_it(self):
        self.limit('inflight 2 lease 60s')
        key = self.keys[0]
        held = [self.d.check_http(key)['X-Stile-Hold'] for _ in range(2)]
        self.d.kill9()
        self.d.start()
        self.assertEqual(self.d.check_http(key).status, 429)
        self.assertEqual(OverHttp(self.d).release(held[0]), (200, 1))
        self.assertEqual(self.d.check_http(key).status, 200)
        self.assertEqual(self.d.check_http(key).status, 429)

    def test_a_native_client_of_short_frames_can_be_limited_too(self):
        """It learns no hold, so its leases last as long as they may."""
        self.limit('inflight 1 lease 1s')
        with self.d.native() as n:
            self.assertEqual(n.check(self.keys[0]).reason, ALLOW)
            self.assertEqual(n.check(self.keys[0]).reason, CONCURRENCY)
            wait_until(lambda: n.check(self.keys[0]).reason == ALLOW,
                       'the lease ended')


class Once(Case):
    def setUp(self):
        self.org = self.d.org(self.id().rsplit('.', 1)[1], '1000/1h')['id']
        self.key = self.d.key(self.org)
        self.other = self.d.key(self.org)

    def ask(self, request_id, cost='3', key=None, **more):
        return self.d.check_http((key or self.key)['key'], X_Stile_Cost=cost,
                                 X_Request_Id=request_id, **more)

    def used(self):
        return self.d.usage(self.org)[0]

    def test_the_same_request_is_charged_once(self):
        first = self.ask('a')
        self.assertEqual((first['X-Stile-Charged'], first['X-Stile-Repeated']),
                         ('3', None))
        for _ in range(5):
            r = self.ask('a')
            self.assertEqual((r.status, r['X-Stile-Charged'],
                              r['X-Stile-Repeated']), (200, '0', '1'))
            self.assertEqual(r['X-RateLimit-Remaining'], '997')
            self.assertEqual(r['X-Stile-Org'], self.org)
        self.assertEqual(self.used(), 3)

    def test_another_cost_key_or_id_is_another_request(self):
        for n, said in enumerate((
                {}, {'cost': '4'}, {'key': self.other})):
            r = self.ask('b', **said)
            self.assertEqual(r['X-Stile-Repeated'], None, n)
        self.assertIsNone(self.ask('B')['X-Stile-Repeated'])
        self.assertEqual(self.used(), 3 + 4 + 3 + 3)

    def test_who_it_is_is_looked_at_anew(self):
        self.assertEqual(self.ask('c').status, 200)
        self.d.admin('POST', f'/v1/orgs/{self.org}/suspend')
        self.assertEqual(self.ask('c').status, 403)
        self.d.admin('POST', f'/v1/orgs/{self.org}/resume')
        self.assertEqual(self.ask('c')['X-Stile-Repeated'], '1')
        self.d.admin('POST', f'/v1/keys/{self.key["id"]}/revoke')
        self.assertEqual(self.ask('c').status, 401)

    def test_a_denial_is_not_remembered(self):
        org = self.d.org('denials', '3/500ms')['id']
        key = self.d.key(org)
        self.assertEqual(self.ask('d', key=key).status, 200)
        self.assertEqual(self.ask('e', key=key).status, 429)
        self.assertEqual(self.ask('d', key=key)['X-Stile-Repeated'], '1')
        wait_until(lambda: self.ask('e', key=key).status == 200,
                   'the window moved on')
        self.assertEqual(self.ask('e', key=key)['X-Stile-Repeated'], '1')
        self.assertEqual(self.d.usage(org)[0], 6)

    def test_native_repeats_are_told(self):
        with Long(self.d.native_sock) as n:
            key = self.key['key']
            first = n.check(key, cost=2, once=b'0123456789abcdef')
            again = n.check(key, cost=2, once=b'0123456789abcdef')
        self.assertEqual((first.charged, first.flags), (2, 0))
        self.assertEqual((again.reason, again.charged, again.flags),
                         (ALLOW, 0, REPEATED))
        self.assertEqual(self.used(), 2)

    def test_repeats_are_known_after_a_death(self):
        self.assertEqual(self.ask('f').status, 200)
        self.d.kill9()
        self.d.start()
        self.assertEqual(self.ask('f')['X-Stile-Repeated'], '1')
        self.assertEqual(self.used(), 3)
