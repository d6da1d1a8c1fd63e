# SPDX-License-Identifier: MIT
"""What changes by itself or by an operator while checks come in and the process
dies: periods of budgets turn over, pools of credits expire, limits of plans go
up and down. Judged from outside; at the end everything that counts agrees."""

import bisect
import itertools
import os
import random
import threading
import time
import unittest

from clock_test import DAY, Case as ClockCase
from harness import ALLOW, RATE_LIMITED, SOAK, Daemon, now, wait_until
from limits_test import false_denials, over_admissions
from native_long import BUDGET, CREDITS, long_frame
from rules_test import LongHammer, pools

CONFIG = 'usage_interval: 1s\nsnapshot_interval: 1s\nclock_settle: 0s\n'
NEVER_LIMITED = '65536/1ms'


class Load:
    """Checks of all costs from one thread, for as long as another one does
    something."""

    CONNECTIONS = 16

    def __init__(self, daemon, keys, costs):
        self.seed = int(os.environ.get('STILE_SEED',
                                       random.randrange(1 << 32)))
        self.random = random.Random(self.seed)
        self.d, self.keys, self.costs = daemon, keys, costs
        self.hammer = LongHammer(daemon.native_sock, self.CONNECTIONS)
        self.errors = []
        self.picked = 0

    def pick(self):
        self.picked += 1
        if self.picked % 16 == 0:
            time.sleep(0.002)
        key, cost = self.random.choice(self.keys), self.random.choice(
            self.costs)
        return key['id'], cost, long_frame(key['key'], cost=cost)

    def run(self, during):
        done = threading.Event()

        def work():
            try:
                during()
            except BaseException as e:
                self.errors.append(e)
            finally:
                done.set()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            self.hammer.run(self.pick, done.is_set)
        finally:
            thread.join()
            self.hammer.close()
        if self.errors:
            raise self.errors[0]

    def of(self, reason, begin=0.0, end=float('inf')):
        """(sent_at, received_at, cost) of those answered so in that time."""
        return [(s, r, c) for s, r, _, c, why in self.hammer.answered
                if why == reason and begin < s and r < end]

    def lost(self):
        return [(s, r, c) for s, r, _, c in self.hammer.unanswered]

    def saw(self, reason):
        """To be waited for: one of the cheapest checks, sent after now, was
        answered so."""
        since, at, cheapest = now(), len(self.hammer.answered), min(self.costs)

        def seen():
            nonlocal at
            while at < len(self.hammer.answered):
                sent_at, _, _, cost, why = self.hammer.answered[at]
                at += 1
                if sent_at > since and (cost, why) == (cheapest, reason):
                    return True
            return False
        return seen

    def kill(self):
        self.d.kill9()
        self.d.start()


def units(checks):
    return sum(c for _, _, c in checks)


class Sums:
    """Units of checks by the time at which they were sent or answered."""

    def __init__(self, checks, by):
        checks = sorted(checks, key=lambda c: c[by])
        self.times = [c[by] for c in checks]
        self.sums = [0, *itertools.accumulate(c[2] for c in checks)]

    def until(self, time_s):
        return self.sums[bisect.bisect_right(self.times, time_s)]


class Agree:
    """Of one organization with a project: the sums."""

    def assertAgree(self, load, org):
        used, by_key = load.d.usage(org)
        allowed, lost = load.of(ALLOW), load.lost()
        self.assertEqual(load.hammer.broken, [])
        self.assertEqual(sum(by_key.values()), used)
        self.assertIn(used, range(units(allowed),
                                  units(allowed) + units(lost) + 1))

        def rows():
            page = load.d.admin('GET', f'/v1/usage?org={org}&by=key')
            return sum(r['units'] for r in page['rows'])
        wait_until(lambda: rows() == used, 'rows of usage agree')
        print(f'     seed {load.seed}: {used} units, '
              f'{len(load.hammer.answered)} answers, {len(lost)} unanswered')
        return used

    def budget_used(self, d, org, project):
        page = d.admin('GET', f'/v1/usage?org={org}&by=project')
        row, = [r for r in page['rows'] if r['project'] == project]
        budget, = row['budgets']
        return budget['used']


class Periods(ClockCase, Agree):
    PERIODS = 30 if SOAK else 5
    CAP = 300

    def test_each_period_is_spent_once_and_wholly(self):
        d = self.daemon(CONFIG)
        org = d.admin('POST', '/v1/orgs', {
            'name': 'o', 'limit': NEVER_LIMITED, 'credits': 10**9})['id']
        project = d.admin('POST', f'/v1/orgs/{org}/projects', {
            'name': 'p', 'budget': f'{self.CAP}/day'})['id']
        load = Load(d, [d.key(org, project='p') for _ in range(3)],
                    [1, 2, 5])
        turned = [now()]

        def turn():
            for i in range(1, self.PERIODS + 1):
                wait_until(load.saw(BUDGET), 'the budget is used up')
                if i == 2 or SOAK and i % 3 == 0:
                    load.kill()
                    wait_until(load.saw(BUDGET), 'it still is')
                turned.append(now())
                if i == self.PERIODS:
                    return
                # The next one opens while nothing is left of this.
                begins = load.saw(ALLOW)
                self.step(i * DAY)
                if i == 4:
                    load.kill()
                wait_until(begins, 'the next period begins')

        load.run(turn)
        self.assertEqual({a[4] for a in load.hammer.answered},
                         {ALLOW, BUDGET})
        # Between two turns lies one period, from its first unit to its last.
        for begin, end in zip(turned, turned[1:]):
            spent = units(load.of(ALLOW, begin, end))
            # Of what was under way at a turn either period may be the one.
            unsure = units(c for c in load.lost() if begin < c[0] < end)
            unsure += units((s, r, c) for s, r, c in load.of(ALLOW)
                            if s <= begin < r or s < end <= r)
            self.assertIn(self.CAP, range(spent, spent + unsure + 1),
                          f'seed {load.seed}')
        used = self.assertAgree(load, org)
        self.assertEqual(used, self.CAP * self.PERIODS)
        self.assertEqual(pools(d, org), used)
        self.assertEqual(self.budget_used(d, org, project), self.CAP)
        wait_until(lambda: set(self.told(d)) == {50, 80, 100},
                   'thresholds are told')
        self.assertLessEqual(max(map(self.told(d).count, (50, 80, 100))),
                             self.PERIODS)

    def told(self, d):
        events = d.admin('GET', '/v1/events?limit=1000')['events']
        return [e['body']['threshold'] for e in events]


class Pools(unittest.TestCase, Agree):
    """Credits that expire while they are spent."""

    GRANTS = 60 if SOAK else 6
    # In turn: one that is used up, and one of which nearly all lapses.
    AMOUNTS, LIFE_S, EVERY_S = (150, 10**6), 1.0, 0.6
    # When a pool is made is told to the millisecond, and the civil clock may
    # be drawn to the wall clock meanwhile.
    LAX_S = 0.02

    def alive(self, begin, end):
        """Units that there were at some time between, of those granted."""
        return sum(g[2] for g in self.grants if g[0] < end and
                   g[1] + self.LIFE_S + self.LAX_S > begin)

    def surely(self, begin, end):
        """Pools that were there all the time between."""
        return [g for g in self.grants if g[1] < begin and
                g[0] + self.LIFE_S - self.LAX_S > end]

    def ledger(self, d, org):
        lines, after = [], 0
        while after is not None:
            page = d.admin('GET', f'/v1/orgs/{org}/ledger?after={after}')
            lines += page['ledger']
            after = page['next']
        return lines

    def test_no_credit_is_spent_twice_or_late_or_denied(self):
        d = Daemon('workers: 2\n' + CONFIG)
        self.addCleanup(d.close)
        d.start()
        org = d.admin('POST', '/v1/orgs', {
            'name': 'o', 'limit': NEVER_LIMITED, 'credits': 1})['id']
        project = d.admin('POST', f'/v1/orgs/{org}/projects', {
            'name': 'p', 'budget': '1000000/month'})['id']
        load = Load(d, [d.key(org, project='p') for _ in range(3)],
                    [1, 2, 5])
        load.CONNECTIONS = 4
        self.grants = []  # (asked_at, known_at, units)

        def grant():
            for i in range(self.GRANTS):
                asked_at, amount = now(), self.AMOUNTS[i % 2]
                d.admin('POST', f'/v1/orgs/{org}/credits', {
                    'amount': amount,
                    'expires_in': f'{round(self.LIFE_S * 1000)}ms'})
                self.grants.append((asked_at, now(), amount))
                if i % 3 == 1:
                    load.kill()
                time.sleep(self.EVERY_S)
            time.sleep(self.LIFE_S)

        load.run(grant)
        self.assertEqual({a[4] for a in load.hammer.answered},
                         {ALLOW, CREDITS})
        self.judge(load)
        used = self.assertAgree(load, org)
        self.assertEqual(self.budget_used(d, org, project), used)
        rest = d.admin('GET', f'/v1/orgs/{org}/credits')['rest']
        wait_until(lambda: sum(c['change'] for c in self.ledger(d, org)) -
                   d.admin('GET', f'/v1/orgs/{org}/credits')['rest'] == used,
                   'what was granted is used, lapsed or left')
        self.assertEqual(rest, 0)

    def judge(self, load):
        allowed = load.of(ALLOW)
        sent, received = Sums(allowed, 0), Sums(allowed, 1)
        edges = sorted([g[0] for g in self.grants] +
                       [g[1] + self.LIFE_S + self.LAX_S for g in self.grants])
        for i, begin in enumerate(edges):
            for end in edges[i + 1:]:
                # At least so many were sent and answered between. The first
                # unit is that of the organization itself.
                self.assertLessEqual(received.until(end) - sent.until(begin),
                                     1 + self.alive(begin, end),
                                     f'seed {load.seed}')
        may = allowed + load.lost()
        sent, received = Sums(may, 0), Sums(may, 1)
        for sent_at, received_at, cost in load.of(CREDITS):
            there = self.surely(sent_at, received_at)
            if not there:
                continue
            gone = (sent.until(received_at) -
                    received.until(min(g[0] for g in there)))
            self.assertLess(sum(g[2] for g in there) - gone, cost,
                            f'seed {load.seed}: denied at {sent_at}')


class Plans(unittest.TestCase, Agree):
    """A plan's window goes up and down, and organizations from plan to plan."""

    WINDOW_S = 0.5
    CHANGES = 40 if SOAK else 6

    def test_limits_that_come_and_go(self):
        d = Daemon('workers: 2\n' + CONFIG)
        self.addCleanup(d.close)
        d.start()
        self.d = d
        self.limits = {'small': 40, 'large': 400}
        for plan in self.limits:
            d.admin('POST', '/v1/plans', {'name': plan})
            self.set_limit(plan)
        org = d.admin('POST', '/v1/orgs', {
            'name': 'o', 'plan': 'small', 'credits': 10**9})['id']
        project = d.admin('POST', f'/v1/orgs/{org}/projects', {
            'name': 'p', 'budget': '1000000000/month'})['id']
        load = Load(d, [d.key(org, project='p') for _ in range(3)], [1, 2, 7])
        plan = 'small'
        # (limit, asked_at, known_at): in force from some time between.
        self.changes = [(self.limits[plan], 0.0, now())]

        def change():
            nonlocal plan
            for i in range(self.CHANGES):
                time.sleep(load.random.uniform(0.2, 1.0))
                asked_at = now()
                if i % 2 == 0:
                    self.limits[plan] = load.random.choice(
                        (10, 20, 100, 300, 1000))
                    self.set_limit(plan)
                else:
                    plan = 'large' if plan == 'small' else 'small'
                    d.admin('PATCH', f'/v1/orgs/{org}', {'plan': plan})
                self.changes.append((self.limits[plan], asked_at, now()))
                if i % 4 == 2:
                    load.kill()
            time.sleep(1)

        load.run(change)
        self.assertEqual({a[4] for a in load.hammer.answered},
                         {ALLOW, RATE_LIMITED})
        self.judge(load)
        used = self.assertAgree(load, org)
        self.assertEqual(pools(d, org), used)
        self.assertEqual(self.budget_used(d, org, project), used)

    def set_limit(self, plan):
        self.d.admin('POST', f'/v1/plans/{plan}/limits', {
            'name': 'org',
            'limit': f'{self.limits[plan]}/{self.WINDOW_S * 1000:.0f}ms'})

    def judge(self, load):
        allowed, lost = load.of(ALLOW), load.lost()
        denied = load.of(RATE_LIMITED)
        begins = [c[1] for c in self.changes]
        for i, (limit, _, known_at) in enumerate(self.changes):
            until = begins[i + 1] if i + 1 < len(begins) else now()
            # Whoever is admitted under this limit is with it in the window.
            mine = [c for c in allowed
                    if known_at < c[0] and c[1] < until]
            self.assertEqual(over_admissions(mine, limit, self.WINDOW_S), [],
                             f'seed {load.seed}, {limit}')
            late = [c for c in denied if known_at < c[0] and c[1] < until]
            self.assertEqual(
                false_denials(late, allowed + lost, limit, self.WINDOW_S), [],
                f'seed {load.seed}, {limit}')
        # Across changes: no more than the highest there was.
        for i in range(len(self.changes) - 1):
            begin, end = self.changes[i][1], self.changes[i + 1][2]
            end += self.WINDOW_S
            highest = max(c[0] for j, c in enumerate(self.changes)
                          if c[1] < end and
                          (j + 1 == len(self.changes) or
                           self.changes[j + 1][2] > begin))
            self.assertEqual(over_admissions(
                [c for c in allowed if begin < c[0] and c[1] < end], highest,
                self.WINDOW_S), [], f'seed {load.seed}')


if __name__ == '__main__':
    unittest.main()
