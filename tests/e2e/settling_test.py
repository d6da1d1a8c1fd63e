# SPDX-License-Identifier: MIT
"""Reservations that are settled up and down, given back or forgotten by many
at the same time, across kill -9: in the end what was settled is what is gone,
and everything that counts agrees."""

import os
import random
import threading
import time
import unittest

from harness import ALLOW, SOAK, Daemon, now, wait_until
from native_long import NO_HOLD, RESERVE, LongReply, long_frame, settle_frame
from rules_test import LongHammer, pools

TTL_S = 2
EXPIRED_S = 2  # the daemon looks once a second


class Settler(LongHammer):
    """Remembers holds, and what it has settled them at."""

    def __init__(self, path, count, keys, rng):
        super().__init__(path, count)
        self.keys, self.random = keys, rng
        self.holds, self.settled, self.late, self.picked = [], 0, 0, 0
        self.reserving = True

    def pick(self):
        self.picked += 1
        if self.picked % 16 == 0:
            time.sleep(0.002)
        if self.holds and self.random.random() < 0.5:
            hold, cost = self.holds.pop(self.random.randrange(
                len(self.holds)))
            # All of it, less, nothing, or more.
            cost = self.random.choice((cost, cost // 2, 0, cost * 2 + 1))
            return 'settle', cost, settle_frame(0, hold, cost)
        cost = self.random.randint(1, 9)
        # Some are never settled: those are let go.
        tag = 'reserve' if self.random.random() < 0.9 else 'forget'
        return tag, cost, long_frame(self.random.choice(self.keys)['key'],
                                     cost=cost, flags=RESERVE,
                                     route=self.random.choice((b'', b'a')))

    def told(self, tag, cost, data):
        r = LongReply(data)
        if tag == 'settle':
            assert r.reason in (ALLOW, NO_HOLD), r.reason
            if r.reason == NO_HOLD:
                self.late += 1
                return
            assert r.charged == cost, (r.charged, cost)
            self.settled += cost
        elif r.reason == ALLOW and tag == 'reserve':
            assert r.hold != 0 and r.charged == cost
            self.holds.append((r.hold, cost))


class Settling(unittest.TestCase):
    KILLS = 40 if SOAK else 4

    def gone(self, org, project):
        """Units, as everybody counts them who does."""
        by = {}
        for what in ('key', 'project', 'route'):
            page = self.d.admin('GET', f'/v1/usage?org={org}&by={what}')
            by[what] = sum(r['units'] - r['returned'] for r in page['rows'])
            if what == 'project':
                row, = [r for r in page['rows'] if r['project'] == project]
                by['budget'], = [b['used'] for b in row['budgets']]
        by['credits'] = pools(self.d, org)
        return by

    def test_what_is_settled_is_what_is_gone(self):
        seed = int(os.environ.get('STILE_SEED', random.randrange(1 << 32)))
        rng = random.Random(seed)
        self.d = d = Daemon(f'workers: 2\nhold_ttl: {TTL_S}s\n'
                            'usage_interval: 1s\nsnapshot_interval: 1s\n'
                            'routes: {a: 1}\nholds: 65536\n')
        self.addCleanup(d.close)
        d.start()
        org = d.admin('POST', '/v1/orgs', {
            'name': 'o', 'limit': '65536/1ms', 'credits': 10**9})['id']
        project = d.admin('POST', f'/v1/orgs/{org}/projects', {
            'name': 'p', 'budget': '1000000000/month'})['id']
        keys = [d.key(org, project='p') for _ in range(3)]
        hammer = Settler(d.native_sock, 16, keys, rng)
        self.addCleanup(hammer.close)
        done, errors = threading.Event(), []

        def kill():
            try:
                for _ in range(self.KILLS):
                    time.sleep(rng.uniform(0.3, 1.0))
                    d.kill9()
                    d.start()
            except BaseException as e:
                errors.append(e)
            finally:
                done.set()

        thread = threading.Thread(target=kill)
        thread.start()
        hammer.run(hammer.pick, done.is_set)
        thread.join()
        if errors:
            raise errors[0]
        self.assertEqual(hammer.broken, [])
        unsure = sum(c for _, _, tag, c in hammer.unanswered
                     if tag == 'settle')
        # What nobody has settled comes back.
        ended = now()
        wait_until(lambda: now() > ended + TTL_S + EXPIRED_S,
                   'the last hold has expired')
        wait_until(lambda: len(set(self.gone(org, project).values())) == 1,
                   f'all agree: {self.gone(org, project)}, seed {seed}')
        gone = self.gone(org, project)['credits']
        print(f'     seed {seed}: {hammer.settled} units settled, {gone} '
              f'gone, {hammer.late} too late, {len(hammer.answered)} answers, '
              f'{len(hammer.unanswered)} unanswered')
        self.assertIn(gone, range(hammer.settled,
                                  hammer.settled + unsure + 1), seed)


if __name__ == '__main__':
    unittest.main()
