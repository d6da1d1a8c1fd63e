# SPDX-License-Identifier: MIT
"""The exact window, judged from outside while the daemon is killed.

A check was decided between the instant at which it was sent and the one at
which its answer arrived. Both judges below only speak up when every instant
inside these brackets would be wrong, so a slow machine raises no alarm."""

import bisect
import random
import threading
import time
import unittest

from harness import (ALLOW, RATE_LIMITED, SOAK, Case, Daemon, Hammer, frame,
                     now)

# Stamps are ticks of 16 us: the window may seem shorter by two of them.
TICKS_S = 0.000033


def over_admissions(allowed, limit, window_s):
    """Sets of checks that certainly lie in one window and hold more than the
    limit. `allowed`: (sent_at, received_at, cost) of each allowed check."""
    found = []
    allowed = sorted(allowed)
    for i, (begin, _, _) in enumerate(allowed):
        units = sum(cost for sent_at, received_at, cost in allowed[i:]
                    if received_at - begin < window_s - TICKS_S)
        if units > limit:
            found.append((begin, units))
    return found


def false_denials(denied, possible, limit, window_s):
    """Denied checks at whose decision the window certainly had room.
    `possible`: (sent_at, received_at, cost) of what may have been counted."""
    found = []
    possible = sorted(possible)
    starts = [p[0] for p in possible]
    longest = max((p[1] - p[0] for p in possible), default=0)
    for sent_at, received_at, cost in denied:
        low = bisect.bisect_left(starts, sent_at - window_s - longest - 1)
        high = bisect.bisect_right(starts, received_at)
        units = sum(c for _, end, c in possible[low:high]
                    if end > sent_at - window_s - TICKS_S)
        if units + cost <= limit:
            found.append((sent_at, units, cost))
    return found


class Judges(unittest.TestCase):
    """The judges themselves."""

    def test_one_too_many_in_a_window_is_found(self):
        checks = [(i * 0.01, i * 0.01 + 0.001, 1) for i in range(11)]
        self.assertEqual(over_admissions(checks[:10], 10, 1.0), [])
        self.assertEqual(len(over_admissions(checks, 10, 1.0)), 1)

    def test_a_bracket_that_reaches_out_of_the_window_is_no_alarm(self):
        checks = [(i * 0.01, i * 0.01 + 0.001, 1) for i in range(10)]
        self.assertEqual(over_admissions(checks + [(0.5, 1.1, 1)], 10, 1.0),
                         [])

    def test_cost_counts(self):
        self.assertTrue(over_admissions([(0, 0.1, 6), (0.2, 0.3, 5)], 10, 1))

    def test_a_denial_with_room_is_found(self):
        counted = [(0.0, 0.001, 9)]
        self.assertTrue(false_denials([(0.5, 0.6, 1)], counted, 10, 1.0))
        self.assertFalse(false_denials([(0.5, 0.6, 2)], counted, 10, 1.0))
        self.assertTrue(false_denials([(1.1, 1.2, 2)], counted, 10, 1.0))
        self.assertFalse(false_denials([(0.9, 1.2, 2)], counted, 10, 1.0))


class Killer(threading.Thread):
    """Kills and starts the daemon again, every interval_s."""

    def __init__(self, daemon, interval_s):
        super().__init__()
        self.daemon_process, self.interval_s = daemon, interval_s
        self.done = threading.Event()
        self.kills = 0
        self.error = None

    def run(self):
        try:
            while not self.done.wait(self.interval_s):
                self.daemon_process.kill9()
                self.daemon_process.start()
                self.kills += 1
        except BaseException as e:  # told by stop()
            self.error = e

    def stop(self):
        self.done.set()
        self.join()
        if self.error:
            raise self.error


class Window(unittest.TestCase):
    CONNECTIONS = 32
    LIMIT = 100
    WINDOW_S = 1.0

    def setUp(self):
        self.d = Daemon()
        self.addCleanup(self.d.close)
        self.d.start()
        self.hammer = Hammer(self.d.native_sock, self.CONNECTIONS)
        self.addCleanup(self.hammer.close)
        self.random = random.Random(7)

    def subject(self, name, costs):
        org = self.d.org(name, f'{self.LIMIT}/{self.WINDOW_S:g}s')
        keys = [self.d.key(org['id'])['key'] for _ in range(3)]
        return org['id'], keys, costs

    def picker(self, subjects):
        ready = [(org, cost, frame(key, cost=cost))
                 for org, keys, costs in subjects
                 for key in keys for cost in costs]
        return lambda: self.random.choice(ready)

    def of(self, org, reason):
        return [(s, r, c) for s, r, tag, c, why in self.hammer.answered
                if tag == org and why == reason]

    def lost(self, org):
        return [(s, r, c) for s, r, tag, c in self.hammer.unanswered
                if tag == org]

    def judge(self, org):
        allowed, lost = self.of(org, ALLOW), self.lost(org)
        denied = self.of(org, RATE_LIMITED)
        self.assertGreater(len(denied), 0, 'the limit was never reached')
        self.assertEqual(over_admissions(allowed, self.LIMIT, self.WINDOW_S),
                         [])
        self.assertEqual(false_denials(denied, allowed + lost, self.LIMIT,
                                       self.WINDOW_S), [])
        used, by_key = self.d.usage(org)
        self.assertEqual(sum(by_key.values()), used)
        units = sum(c for _, _, c in allowed)
        self.assertGreaterEqual(used, units)
        self.assertLessEqual(used, units + sum(c for _, _, c in lost))
        return units, used

    def test_exact_through_kill_and_restart(self):
        subjects = [self.subject('ones', [1]),
                    self.subject('mixed', [1, 2, 5, 17])]
        seconds = 300 if SOAK else 10
        end = now() + seconds
        killer = Killer(self.d, 4 if SOAK else 1.2)
        killer.start()
        try:
            self.hammer.run(self.picker(subjects), lambda: now() > end)
        finally:
            killer.stop()
        self.assertGreaterEqual(killer.kills, 3)
        reasons = {a[4] for a in self.hammer.answered}
        self.assertLessEqual(reasons, {ALLOW, RATE_LIMITED})
        self.assertEqual(self.hammer.broken, [])
        for org, _, costs in subjects:
            units, used = self.judge(org)
            # Kept full, a window admits its limit in each of its lengths.
            floor = 0.5 * self.LIMIT * seconds / self.WINDOW_S
            self.assertGreater(units, floor)
            print(f'     {org}: {units} units answered as allowed, {used} '
                  f'used, {killer.kills} kills')
        print(f'     {len(self.hammer.answered)} answers, '
              f'{len(self.hammer.unanswered)} unanswered')

    def test_usage_equals_the_allowed_checks_to_the_unit(self):
        subjects = [self.subject('ones', [1]),
                    self.subject('mixed', [1, 3, 50])]
        end = now() + 2.5
        self.hammer.run(self.picker(subjects), lambda: now() > end)
        self.assertEqual(self.hammer.unanswered, [])
        for org, _, _ in subjects:
            units, used = self.judge(org)
            self.assertEqual(used, units)

    def test_limit_changed_while_in_use(self):
        org, keys, _ = subject = self.subject('changing', [1])
        changes = []

        def change():
            for limit in (30, 250, 100):
                time.sleep(1.7)
                asked_at = now()
                self.d.admin('PATCH', f'/v1/orgs/{org}',
                             {'limit': f'{limit}/1s'})
                changes.append((limit, asked_at, now()))
            time.sleep(1.7)

        thread = threading.Thread(target=change)
        thread.start()
        self.hammer.run(self.picker([subject]),
                        lambda: not thread.is_alive())
        thread.join()
        self.assertEqual(len(changes), 3)
        allowed = self.of(org, ALLOW)
        denied = self.of(org, RATE_LIMITED)
        ends = [c[1] for c in changes[1:]] + [now()]
        for (limit, _, known_at), end in zip(changes, ends):
            # A window that lies wholly in the time of this limit.
            mine = [c for c in allowed if c[0] >= known_at and c[1] <= end]
            self.assertEqual(over_admissions(mine, limit, 1.0), [], limit)
            late = [c for c in denied if c[0] >= known_at and c[1] <= end]
            self.assertGreater(len(late), 0)
            self.assertEqual(false_denials(late, allowed, limit, 1.0), [],
                             limit)
        self.assertEqual(over_admissions(allowed, 250, 1.0), [])
        used, by_key = self.d.usage(org)
        self.assertEqual(used, len(allowed))


class Shape(Case):
    """What a verdict says, on a window that nothing else touches."""

    def test_order_of_answers(self):
        d = self.d
        org = d.org('order', '1/1h')
        key = d.key(org['id'])['key']
        self.assertEqual(d.check_http(key).status, 200)
        self.assertEqual(d.check_http(key).status, 429)
        d.admin('POST', f'/v1/orgs/{org["id"]}/suspend')
        self.assertEqual(d.check_http(key).status, 403)
        self.assertEqual(d.check_http(key[:-1] + '_').status, 401)
        self.assertEqual(d.check_http(key[:-1] + '_',
                                      X_Stile_Cost='0').status, 400)
        self.assertEqual(d.check_http(key, X_Stile_Cost='1000001').status,
                         400)

    def test_a_denied_check_is_not_counted(self):
        org = self.d.org('denied', '10/1h')
        key = self.d.key(org['id'])['key']
        with self.d.native() as n:
            self.assertEqual(n.check(key, cost=8).remaining, 2)
            for _ in range(5):
                r = n.check(key, cost=3)
                self.assertEqual((r.reason, r.remaining), (RATE_LIMITED, 2))
            self.assertEqual(n.check(key, cost=2).reason, ALLOW)
        self.assertEqual(self.d.usage(org['id'])[0], 10)

    def test_retry_after_is_the_instant_at_which_it_passes(self):
        org = self.d.org('retry', '2/400ms')
        key = self.d.key(org['id'])['key']
        with self.d.native() as n:
            for _ in range(5):
                while (r := n.check(key)).reason == ALLOW:
                    pass
                self.assertEqual(r.reason, RATE_LIMITED)
                self.assertLessEqual(r.retry_ms, 400)
                self.assertGreater(r.retry_ms, 0)
                time.sleep(r.retry_ms / 1000)
                self.assertEqual(n.check(key).reason, ALLOW)

    def test_bounds_of_a_limit(self):
        for limit in ('1/1ms', '65536/31d', '1/31d', '65536/1ms'):
            org = self.d.org('bounds-' + limit.replace('/', '-'), limit)
            key = self.d.key(org['id'])['key']
            with self.d.native() as n:
                r = n.check(key)
                self.assertEqual(r.reason, ALLOW, limit)
                self.assertEqual(r.limit, int(limit.split('/')[0]))
        time.sleep(0.002)
        with self.d.native() as n:
            self.assertEqual(n.check(key, cost=65536).reason, ALLOW)
        for limit in ('0/1s', '8388608/1s', '1/0ms', '1/32d', 'x', '1', '-1/1s'):
            r = self.d.admin_raw('POST', '/v1/orgs',
                                 {'name': 'no', 'limit': limit})
            self.assertEqual((r.status, r.json()['error']['code']),
                             (400, 'invalid_request'), limit)
