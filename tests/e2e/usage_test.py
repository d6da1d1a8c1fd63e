# SPDX-License-Identifier: MIT
"""What was used: rows of usage.db, reports of them, and both exact to the unit
whatever happens to the process."""

import csv
import datetime
import io
import random
import sqlite3
import threading
import time
import unittest

from harness import ALLOW, Daemon, Hammer, frame, wait_until
from stilectl_test import TROUBLE, Ctl

NEVER_LIMITED = '65536/1ms'


def report(d, org, by, **query):
    """All rows of a report, page by page."""
    rows, after = [], ''
    while after is not None:
        more = ''.join(f'&{k}={v}' for k, v in query.items())
        page = d.admin('GET', f'/v1/usage?org={org}&by={by}{more}' +
                       (f'&after={after}' if after else ''))
        rows += page['rows']
        after = page['next']
    return rows


def units(rows):
    return sum(r['units'] for r in rows)


def stored(d):
    """{key id: units} in the database, as any other program sees it."""
    db = sqlite3.connect(f'file:{d.state}/usage.db?mode=ro', uri=True)
    try:
        return dict(db.execute('SELECT key, sum(units) FROM usage '
                               'GROUP BY key'))
    finally:
        db.close()


class Exact(unittest.TestCase):
    KILLS = 12

    def setUp(self):
        self.d = Daemon('usage_interval: 1s\nsnapshot_interval: 1s\n')
        self.addCleanup(self.d.close)
        self.d.start()
        self.seed = random.randrange(1 << 32)
        self.random = random.Random(self.seed)

    def load(self, keys, during):
        """Runs `during` while checks of all costs come in. Returns the units
        of each key that were surely allowed, and those that may have been."""
        hammer, done = Hammer(self.d.native_sock, 16), threading.Event()

        def pick():
            key, cost = self.random.choice(keys), self.random.randint(1, 9)
            return key['id'], cost, frame(key['key'], cost=cost)

        thread = threading.Thread(target=hammer.run, args=(pick, done.is_set))
        thread.start()
        try:
            during()
        finally:
            done.set()
            thread.join()
            hammer.close()
        least, unsure = ({k['id']: 0 for k in keys} for _ in range(2))
        for _, _, tag, cost, reason in hammer.answered:
            least[tag] += cost if reason == ALLOW else 0
        for _, _, tag, cost in hammer.unanswered:
            unsure[tag] += cost
        return least, unsure

    def kill_again_and_again(self):
        for _ in range(self.KILLS):
            time.sleep(self.random.uniform(0.05, 0.6))
            self.d.kill9()
            self.d.start()

    def test_kill_9_under_load_loses_and_doubles_nothing(self):
        org = self.d.org('o', NEVER_LIMITED)
        project = self.d.project(org['id'], 'p')
        keys = [self.d.key(org['id'], project=project['id'] if i % 2 else None)
                for i in range(6)]
        least, unsure = self.load(keys, self.kill_again_and_again)
        total, by_key = self.d.usage(org['id'])
        # What was counted and what was collected of it: the same.
        rows = {r['key']: r['units'] for r in report(self.d, org['id'], 'key')}
        self.assertEqual(rows, by_key, f'seed {self.seed}')
        self.assertEqual(sum(rows.values()), total)
        for by in ('project', 'route', 'hour'):
            self.assertEqual(units(report(self.d, org['id'], by)), total)
        for key, n in rows.items():
            self.assertGreaterEqual(n, least[key])
            self.assertLessEqual(n, least[key] + unsure[key])
        self.d.stop()
        self.assertEqual(stored(self.d), by_key)

    def test_report_is_exact_the_moment_one_asks(self):
        org = self.d.org('o', NEVER_LIMITED)
        key = self.d.key(org['id'])['key']
        spent, end = 0, time.monotonic() + 2.5
        with self.d.native() as n:
            while time.monotonic() < end:
                for _ in range(self.random.randint(1, 50)):
                    cost = self.random.randint(1, 9)
                    self.assertEqual(n.check(key, cost=cost).reason, ALLOW)
                    spent += cost
                self.assertEqual(units(report(self.d, org['id'], 'key')),
                                 spent)
        status = self.d.admin('GET', '/v1/status')['usage']
        self.assertGreaterEqual(status['collections'], 1)
        self.assertIsNone(status['last_error'])

    def test_rows_survive_a_lost_arena_and_go_on_from_there(self):
        org = self.d.org('o', NEVER_LIMITED)
        key = self.d.key(org['id'])
        with self.d.native() as n:
            n.check(key['key'], cost=7)
        self.d.stop()
        for path in self.d.runtime.iterdir():
            path.unlink()
        self.d.start()
        with self.d.native() as n:
            n.check(key['key'], cost=5)
        self.assertEqual(units(report(self.d, org['id'], 'key')), 12)
        self.d.stop()
        self.assertEqual(stored(self.d), {key['id']: 12})

    def test_collected_by_itself(self):
        org = self.d.org('o', NEVER_LIMITED)
        key = self.d.key(org['id'])
        with self.d.native() as n:
            n.check(key['key'], cost=7)
        wait_until(lambda: stored(self.d) == {key['id']: 7}, 'it is collected')
        self.assertEqual((self.d.state / 'usage.db').stat().st_mode & 0o777,
                         0o600)
        self.assertEqual(self.d.metric('usage_failed'), 0)

    def test_damaged_database_stops_nobody(self):
        org = self.d.org('o', NEVER_LIMITED)
        key = self.d.key(org['id'])
        with self.d.native() as n:
            n.check(key['key'], cost=7)
        self.d.stop()
        path = self.d.state / 'usage.db'
        path.write_bytes(b'not a database' * 1000)
        self.d.start()
        with self.d.native() as n:
            n.check(key['key'], cost=5)
        wait_until(lambda: self.d.metric('usage_failures_total') >= 2,
                   'it is told')
        self.assertEqual(self.d.log().count('usage_failed'), 1)
        self.assertEqual(
            self.d.admin_raw('GET', '/v1/usage?org=o&by=key').status, 500)
        path.rename(path.with_suffix('.away'))
        wait_until(lambda: path.exists() and
                   stored(self.d) == {key['id']: 5}, 'a new one is made')
        self.assertEqual(units(report(self.d, 'o', 'key')), 5)


class Retention(unittest.TestCase):
    """Rows of other hours are put into the database while nobody serves."""

    def begin(self, config):
        self.d = Daemon('usage_interval: 1s\n' + config)
        self.addCleanup(self.d.close)
        self.d.start()
        self.org = self.d.org('o', NEVER_LIMITED)['id']
        self.key = self.d.key(self.org)
        with self.d.native() as n:
            n.check(self.key['key'], cost=7)
        self.d.stop()

    def age(self, hours_ago):
        """Rows that are so old; each has as many units as it is hours old."""
        now = int(time.time()) // 3600
        db = sqlite3.connect(f'{self.d.state}/usage.db')
        with db:
            db.executemany(
                'INSERT INTO usage VALUES(?,?,?,"","",1,?,0,0,0,0,0,0,0)',
                [(now - h, self.org, self.key['id'], h) for h in hours_ago])
        db.close()

    def left(self):
        rows = report(self.d, self.org, 'hour',
                      **{'from': '2000-01-01T00:00:00Z'})
        return sorted(r['units'] for r in rows)

    def kept(self, config, days):
        # The youngest that goes is of the hour before that of `days` ago; an
        # hour may turn meanwhile.
        last = days * 24 - 1
        self.begin(config)
        self.age([3, 24, last, last + 2, 2 * last, 100_000])
        self.d.start()
        wait_until(lambda: self.left() == [3, 7, 24, last],
                   'the old rows are gone')
        self.assertEqual(self.d.metric('usage_pruned_total'), 3)
        # And those that come later, while it runs.
        self.age([last - 1, last + 3])
        wait_until(lambda: self.d.metric('usage_pruned_total') == 4,
                   'the next one is gone')
        self.assertEqual(self.left(), [3, 7, 24, last - 1, last])
        self.assertEqual(stored(self.d)[self.key['id']], sum(self.left()))

    def test_rows_go_after_90_days(self):
        self.kept('', 90)

    def test_rows_go_after_what_is_configured(self):
        self.kept('usage_retention: 2d\n', 2)

    def test_rows_stay_for_ever_if_told_so(self):
        self.begin('usage_retention: 0s\n')
        self.age([3, 90 * 24 + 1, 100_000])
        self.d.start()
        with self.d.native() as n:
            n.check(self.key['key'], cost=7)
        wait_until(lambda: stored(self.d)[self.key['id']] ==
                   14 + 3 + 90 * 24 + 1 + 100_000, 'it was collected')
        self.assertEqual(self.d.metric('usage_pruned_total'), 0)


class Reports(Ctl):
    config = 'usage_interval: 1s\n'

    def spend(self, key, cost):
        with self.d.native() as n:
            self.assertEqual(n.check(key['key'], cost=cost).reason, ALLOW)

    def setUp(self):
        self.name = self.org(limit='60000/1h')
        self.project = self.json('project', 'create', '--org', self.name,
                                 'a, "b"')
        self.empty = self.json('project', 'create', '--org', self.name, 'c')
        self.keys = [self.key(self.name, *args) for args in (
            [], ['--project', self.project['id'], '--name', 'first'],
            ['--project', self.project['id']])]
        for i, key in enumerate(self.keys):
            self.spend(key, 10 ** i)

    def test_by_project(self):
        r = self.json('usage', '--org', self.name, '--by', 'project')
        self.assertEqual((r['org'], r['by'], r['from'], r['to']),
                         (self.name, 'project', None, None))
        self.assertEqual({x['project']: (x['name'], x['units'])
                          for x in r['rows']},
                         {None: (None, 1),
                          self.project['id']: ('a, "b"', 110),
                          self.empty['id']: ('c', 0)})
        text = self.good('usage', '--org', self.name, '--by', 'project')
        self.assertRegex(text, r'\APROJECT +NAME +CHECKS +UNITS +RETURNED +'
                               r'DENIED +BUDGET\n')
        self.assertRegex(text, r'(?m)^- +- +\d+ +1 +0 +0 +-$')

    def test_by_key(self):
        rows = self.json('usage', '--org', self.name, '--by', 'key')['rows']
        self.assertEqual({x['key']: (x['name'], x['project'], x['units'])
                          for x in rows},
                         {self.keys[0]['id']: ('', None, 1),
                          self.keys[1]['id']: ('first', self.project['id'],
                                               10),
                          self.keys[2]['id']: ('', self.project['id'], 100)})

    def test_by_hour_and_route(self):
        for by, member in (('hour', 'hour'), ('route', 'route')):
            rows = self.json('usage', '--org', self.name, '--by', by)['rows']
            self.assertEqual(units(rows), 111)
            self.assertIn(member, rows[0])
        before = datetime.datetime.now(datetime.timezone.utc)
        rows = self.json('usage', '--org', self.name, '--by', 'hour')['rows']
        hours = [(before - datetime.timedelta(hours=ago)).strftime(
            '%Y-%m-%dT%H:00:00Z') for ago in (0, 1)]
        self.assertIn(rows[-1]['hour'], hours)

    def test_from_and_to(self):
        def asked(*args):
            r = self.json('usage', '--org', self.name, '--by', 'key', *args)
            return units(r['rows'])
        self.assertEqual(asked('--from', '-2h'), 111)
        self.assertEqual(asked('--from', '-7d', '--to', '-0s'), 111)
        self.assertEqual(asked('--to', '-2h'), 0)
        self.assertEqual(asked('--from', '2001-01-01T00:00:00+01:00'), 111)
        self.assertEqual(asked('--from', '2999-01-01T00:00:00Z'), 0)
        self.assertEqual(asked('--from', '2001-01-01T00:00:00Z', '--to',
                               '2001-01-02T00:00:00Z'), 0)
        for args in (['--from', 'yesterday'], ['--to', '7d'],
                     ['--from', '-7y']):
            self.assertIn('RFC 3339', self.refused(
                'usage', '--org', self.name, '--by', 'key', *args))

    def test_csv(self):
        self.good('project', 'budget', self.project['id'], '500/week',
                  '--index', 1)
        self.spend(self.keys[1], 10)
        text = self.good('usage', '--org', self.name, '--by', 'project',
                         '--csv')
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual({r['project']: (r['name'], r['units'])
                          for r in rows},
                         {'': ('', '1'),
                          self.project['id']: ('a, "b"', '120'),
                          self.empty['id']: ('c', '0')})
        self.assertEqual({r['project']: [r[f] for f in r if 'budget' in f and
                                         f != 'denied_budget']
                          for r in rows},
                         {'': [''] * 6,
                          self.project['id']: ['', '', '', '10', '500',
                                               'week'],
                          self.empty['id']: [''] * 6})
        # The API's own is the same.
        r = self.d.admin_raw('GET', f'/v1/usage?org={self.name}&by=project'
                                    '&format=csv')
        self.assertEqual(r['content-type'], 'text/csv; charset=utf-8')
        self.assertEqual(r.body.decode().split(), text.split())
        text = self.good('usage', '--org', self.name, '--by', 'project')
        self.assertRegex(text, r'(?m) 120 +0 +0 +10 of 500/week$')
        budget, = next(x['budgets'] for x in self.json(
            'usage', '--org', self.name, '--by', 'project')['rows']
            if x['project'] == self.project['id'])
        self.assertEqual((budget['index'], budget['period']), (1, 'week'))

    def test_pages(self):
        rows = [report(self.d, self.name, 'key', limit=n) for n in (1, 2, 9)]
        self.assertEqual([units(r) for r in rows], [111] * 3)
        self.assertEqual(rows[0], rows[2])

    def test_wrong_usage(self):
        for args, word in ((['--by', 'key'], '--org'),
                           (['--org', 'o', '--by', 'day'], 'project, key'),
                           (['--org', 'o', '--from', '-1d'], '--by'),
                           (['--csv'], '--by')):
            self.assertIn(word, self.refused('usage', *args, status=TROUBLE))
        p = self.ctl('--json', 'usage', '--org', 'o', '--by', 'key', '--csv')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('no later', self.refused(
            'usage', '--org', self.name, '--by', 'key', '--from', '-1d',
            '--to', '-2d'))

    def test_totals_are_as_they_were(self):
        r = self.json('usage', '--org', self.name)
        self.assertEqual(set(r), {'orgs', 'keys'})
        self.assertEqual([o['used'] for o in r['orgs']], [111])
        self.assertEqual({k['id']: k['used'] for k in r['keys']},
                         {k['id']: 10 ** i for i, k in enumerate(self.keys)})
