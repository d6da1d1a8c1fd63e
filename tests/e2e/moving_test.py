# SPDX-License-Identifier: MIT
"""Limits of keys that go from table to table while checks come in and the
process dies: from plan to plan, to a limit of the organization's own and back,
raised, and for another number of subjects. Judged from outside, key by key."""

import time
import unittest

from harness import ALLOW, RATE_LIMITED, SOAK, Daemon, now
from limits_test import false_denials, over_admissions
from turning_test import NEVER_LIMITED, Load


class Moving(unittest.TestCase):
    WINDOW_S = 0.5
    LIMIT = 40
    # An act takes a rule to as many tables as it may have at once. Then what it
    # has left behind is let go: a window, what rounds it up, a tick.
    REST_S = WINDOW_S + 2.2
    ROUNDS = 8 if SOAK else 1

    def setUp(self):
        self.d = Daemon('workers: 2\nsnapshot_interval: 1s\n')
        self.addCleanup(self.d.close)
        self.d.start()
        self.limits, self.plan, self.own = {}, 'one', None
        for plan in ('one', 'two'):
            self.d.admin('POST', '/v1/plans', {'name': plan})
            self.put(f'plans/{plan}', plan, self.LIMIT)
        # The second organization stays where it is, in tables of the first.
        self.orgs = [self.d.admin('POST', '/v1/orgs', {
            'name': f'o{i}', 'plan': 'one', 'limit': NEVER_LIMITED})['id']
            for i in range(2)]
        keys = [self.d.key(self.orgs[0]), self.d.key(self.orgs[0]),
                self.d.key(self.orgs[1])]
        self.keys = [k['id'] for k in keys]
        self.load = Load(self.d, keys, [1, 2, 7])
        # Of each organization: (limit, asked_at, known_at), in force from some
        # time between.
        self.changes = [[(self.LIMIT, 0.0, now())], [(self.LIMIT, 0.0, now())]]

    def put(self, where, whose, limit, subjects=100):
        self.d.admin('POST', f'/v1/{where}/limits', {
            'name': 'each', 'level': 'key', 'max_subjects': subjects,
            'limit': f'{limit}/{self.WINDOW_S * 1000:.0f}ms'})
        self.limits[whose] = limit

    def changed(self, do, kill=False):
        asked_at = now()
        do()
        if kill:
            self.load.kill()
        in_force = (self.limits[self.own or self.plan], self.limits['one'])
        for changes, limit in zip(self.changes, in_force):
            changes.append((limit, asked_at, now()))
        time.sleep(self.load.random.uniform(0.1, 0.4))

    def to_plan(self, plan, **how):
        self.plan = plan
        self.changed(lambda: self.d.admin(
            'PATCH', f'/v1/orgs/{self.orgs[0]}', {'plan': plan}), **how)

    def set_own(self, limit, **how):
        self.own = 'own'
        self.changed(lambda: self.put(f'orgs/{self.orgs[0]}', 'own', limit),
                     **how)

    def drop_own(self, **how):
        self.own = None
        self.changed(lambda: self.d.admin(
            'POST', f'/v1/orgs/{self.orgs[0]}/limits/remove',
            {'name': 'each'}), **how)

    def set_plan(self, plan, limit, subjects=100, **how):
        self.changed(lambda: self.put(f'plans/{plan}', plan, limit, subjects),
                     **how)

    def to_and_fro(self):
        for i in range(6):
            self.to_plan('two' if i % 2 == 0 else 'one', kill=i == 3)

    def own_and_back(self):
        self.set_own(30)
        self.drop_own()
        self.set_own(50, kill=True)
        self.to_plan('two')
        self.drop_own()
        self.to_plan('one')

    def raised(self):
        self.set_plan('one', 400)
        self.to_plan('two')
        self.to_plan('one', kill=True)
        self.set_plan('one', 3000)
        self.set_plan('one', self.LIMIT)

    def subjects(self):
        self.set_plan('one', self.LIMIT, 5000)
        self.set_plan('one', self.LIMIT, 100, kill=True)
        self.to_plan('two')
        self.set_plan('one', self.LIMIT, 5000)
        self.to_plan('one')

    def test_what_was_counted_goes_along(self):
        def work():
            for _ in range(self.ROUNDS):
                for act in (self.to_and_fro, self.own_and_back, self.raised,
                            self.subjects):
                    act()
                    time.sleep(self.REST_S)

        self.load.run(work)
        self.assertEqual({a[4] for a in self.load.hammer.answered},
                         {ALLOW, RATE_LIMITED})
        self.assertEqual(self.load.hammer.broken, [])
        for key, changes in zip(self.keys, (self.changes[0], self.changes[0],
                                            self.changes[1])):
            self.judge(key, changes)
        print(f'     seed {self.load.seed}: {len(self.load.hammer.answered)} '
              f'answers, {len(self.changes[0])} changes')

    def of(self, key, reason):
        return [(s, r, c) for s, r, tag, c, why in self.load.hammer.answered
                if tag == key and why == reason]

    def judge(self, key, changes):
        allowed, denied = self.of(key, ALLOW), self.of(key, RATE_LIMITED)
        may = allowed + [(s, r, c) for s, r, tag, c
                         in self.load.hammer.unanswered if tag == key]
        seed = f'seed {self.load.seed}, key {self.keys.index(key)}'
        for i, (limit, _, known_at) in enumerate(changes):
            until = changes[i + 1][1] if i + 1 < len(changes) else now()
            mine = [c for c in allowed if known_at < c[0] and c[1] < until]
            self.assertEqual(over_admissions(mine, limit, self.WINDOW_S), [],
                             f'{seed}, {limit}')
            late = [c for c in denied if known_at < c[0] and c[1] < until]
            self.assertEqual(
                false_denials(late, may, limit, self.WINDOW_S), [],
                f'{seed}, {limit}')
        # Across changes: no more than the highest there was.
        for i in range(len(changes) - 1):
            begin, end = changes[i][1], changes[i + 1][2] + self.WINDOW_S
            highest = max(c[0] for j, c in enumerate(changes)
                          if c[1] < end and
                          (j + 1 == len(changes) or
                           changes[j + 1][2] > begin))
            self.assertEqual(over_admissions(
                [c for c in allowed if begin < c[0] and c[1] < end], highest,
                self.WINDOW_S), [], f'{seed}, {i}')


if __name__ == '__main__':
    unittest.main()
