# SPDX-License-Identifier: MIT
"""Plans, limits, budgets, access and credits as operators type them."""

import json
import re

from harness import wait_until
from stilectl_test import Ctl, OK, REFUSED, TROUBLE


class Plans(Ctl):
    def test_a_plan_from_beginning_to_end(self):
        plan = self.json('plan', 'create', 'startup')
        self.assertEqual((plan['orgs'], plan['limits']), (0, []))
        self.good('plan', 'limit', 'set', 'startup', 'org', '500/60s')
        table = self.good('plan', 'limit', 'set', 'startup', 'per-key',
                          'gcra', '10/1s', 'burst', '5', '--level', 'key',
                          '--shadow')
        self.assertRegex(table, r'(?m)^per-key +key +gcra 10/1s burst 5 +all '
                                r'+yes +no +deny +- +plan$')
        org = self.json('org', 'create', 'on a plan', '--plan', 'startup')
        self.assertEqual((org['plan'], org['limit']['limit']),
                         ('startup', 500))
        self.assertRegex(self.good('plan', 'list'),
                         r'(?m)^\w{8} +startup +1 +\d')
        self.assertIn('have this plan', self.refused('plan', 'remove',
                                                     'startup'))
        moved = self.json('org', 'plan', org['id'], 'default')
        self.assertEqual((moved['plan'], moved['limit']['limit']),
                         ('default', 100))
        text = self.good('plan', 'show', 'startup')
        self.assertRegex(text, r'(?m)^NAME +startup$')
        self.assertRegex(text, r'(?m)^per-key +key +')
        self.good('plan', 'limit', 'remove', 'startup', 'per-key')
        self.assertEqual([x['name'] for x in self.json(
            'plan', 'show', 'startup')['limits']], ['org'])
        self.good('plan', 'remove', 'startup')
        self.assertIn('no plan', self.refused('plan', 'show', 'startup'))

    def test_usage_mistakes(self):
        for args in (['plan', 'limit', 'set', 'default', 'x'],
                     ['plan', 'limit'], ['plan', 'limit', 'remove', 'x'],
                     ['limit', 'set', 'x', '1/1s'], ['limit', 'list']):
            self.refused(*args, status=TROUBLE)
        self.assertIn('"plan limit set"',
                      self.refused('plan', 'limit', 'sett', status=TROUBLE))


class Limits(Ctl):
    def limits(self, org):
        return {x['name']: x for x in
                self.json('limit', 'list', '--org', org)['limits']}

    def test_limits_of_one_organization(self):
        org = self.org()
        self.assertEqual(self.limits(org)['org']['source'], 'default')
        self.good('limit', 'set', '--org', org, 'calls', 'inflight 5 lease 30s',
                  '--level', 'route', '--route', '/ocr', '--requests',
                  '--when-full', 'pass', '--max-subjects', '1000')
        got = self.limits(org)['calls']
        self.assertEqual(
            got, {'name': 'calls', 'level': 'route',
                  'limit': 'inflight 5 lease 30s', 'route': '/ocr',
                  'shadow': False, 'requests': True, 'when_full': 'pass',
                  'max_subjects': 1000, 'source': 'org'})
        self.good('limit', 'remove', '--org', org, 'calls')
        self.assertEqual(set(self.limits(org)), {'org'})
        self.assertIn('no such limit', self.refused(
            'limit', 'remove', '--org', org, 'calls'))

    def test_what_is_enforced_is_what_is_listed(self):
        org = self.org()
        key = self.key(org)['key']
        self.good('limit', 'set', '--org', org, 'org', '3/1h')
        answers = [self.ctl('check', '-', stdin=key).returncode
                   for _ in range(4)]
        self.assertEqual(answers, [OK, OK, OK, REFUSED])
        self.good('limit', 'remove', '--org', org, 'org')
        self.assertEqual(self.ctl('check', '-', stdin=key).returncode, OK)

    def test_a_limit_that_was_taken_away_is_listed_as_off(self):
        org = self.org()
        self.good('plan', 'limit', 'set', 'default', 'calls', '9/1h')
        text = self.good('limit', 'set', '--org', org, 'calls', 'off')
        self.assertRegex(text, r'(?m)^calls +- +off +- +- +- +- +- +org$')
        answer = self.json('limit', 'list', '--org', org)
        self.assertEqual(([x['name'] for x in answer['limits']],
                          answer['off']), (['org'], ['calls']))
        self.good('limit', 'remove', '--org', org, 'calls')
        answer = self.json('limit', 'list', '--org', org)
        self.assertEqual(([x['name'] for x in answer['limits']],
                          answer['off']), (['org', 'calls'], []))
        self.good('plan', 'limit', 'remove', 'default', 'calls')

    def test_limits_that_are_refused(self):
        org = self.org()
        for words in (['5'], ['gcra', '5'], ['0/1s'], ['inflight', '0'],
                      ['gcra', '2000000/1ms'], ['off', 'off']):
            self.assertIn('', self.refused('limit', 'set', '--org', org, 'x',
                                           *words))
        self.refused('limit', 'set', '--org', org, 'Big', '5/1s')
        self.refused('limit', 'set', '--org', org, 'x', '5/1s', '--level', 'y')
        self.assertIn('whole number', self.refused(
            'limit', 'set', '--org', org, 'x', '5/1s', '--max-subjects', 'y',
            status=TROUBLE))
        self.assertEqual(set(self.limits(org)), {'org'})

    def test_limits_outlive_the_daemon(self):
        org = self.org()
        self.good('limit', 'set', '--org', org, 'k', 'gcra 7/1s burst 3',
                  '--level', 'key')
        before = self.limits(org)
        self.d.kill9()
        self.d.start()
        self.assertEqual(self.limits(org), before)


class Keys(Ctl):
    def test_access_of_a_key(self):
        org = self.org()
        key = self.key(org, '--scope', 'read', '--scope', 'write',
                       '--route', '/ocr', '--network', '10.0.0.0/8',
                       '--network', '2001:db8::/32')
        self.assertEqual(key['scopes'], ['read', 'write'])
        text = self.good('key', 'show', key['id'])
        self.assertRegex(text, r'(?m)^SCOPES +read,write$')
        self.assertRegex(text, r'(?m)^ROUTES +/ocr$')
        self.assertRegex(text, r'(?m)^NETWORKS +10\.0\.0\.0/8,2001:db8::/32$')
        plain = self.key(org)
        self.assertRegex(self.good('key', 'show', plain['id']),
                         r'(?m)^SCOPES +all$')
        self.assertIn('network', self.refused(
            'key', 'create', '--org', org, '--network', '10.0.0.1/8'))
        self.assertIn('twice', self.refused(
            'check', '-', '--route', 'a', '--route', 'b', status=TROUBLE))

    def test_disable_and_enable(self):
        key = self.key(self.org())
        self.assertEqual(self.json('key', 'disable', key['id'])['state'],
                         'disabled')
        p = self.ctl('check', '-', stdin=key['key'])
        self.assertTrue(p.stdout.startswith('deny (401)'), p.stdout)
        self.assertEqual(self.json('key', 'enable', key['id'])['state'],
                         'active')
        self.assertEqual(self.ctl('check', '-', stdin=key['key']).returncode,
                         OK)
        self.good('key', 'revoke', key['id'])
        self.refused('key', 'enable', key['id'])


class Budgets(Ctl):
    def test_budgets_of_a_project(self):
        org = self.org()
        p = self.json('project', 'create', '--org', org, 'web', '--budget',
                      '1000/month')
        self.assertEqual(p['budgets'],
                         [{'index': 0, 'budget': '1000/month'}])
        text = self.good('project', 'budget', p['id'], '50/day', '--index', 1)
        self.assertRegex(text, r'(?m)^BUDGETS +1000/month,50/day$')
        p = self.json('project', 'budget', p['id'], 'none')
        self.assertEqual([b['index'] for b in p['budgets']], [1])
        for text in ('5', '5/year', '-5/day', 'x'):
            self.refused('project', 'budget', '--', p['id'], text)

    def test_billing_day(self):
        org = self.org()
        o = self.json('org', 'billing', org, '--day', 31, '--timezone',
                      'Europe/Berlin')
        self.assertEqual((o['anchor_day'], o['timezone']),
                         (31, 'Europe/Berlin'))
        self.refused('org', 'billing', org, '--day', 32)
        self.refused('org', 'billing', org, '--timezone', 'Nowhere/At all')
        self.refused('org', 'billing', org)


class Credits(Ctl):
    def test_credits_from_grant_to_ledger(self):
        org = self.json('org', 'create', 'payer', '--credits', 100)
        self.assertEqual(org['credits'], 100)
        self.good('credits', 'grant', 'payer', 50, '--kind', 'trial',
                  '--route', '/ocr', '--expires', '+30d')
        pools = self.json('credits', 'list', 'payer')
        self.assertEqual([p['kind'] for p in pools['pools']],
                         ['trial', 'pack'])
        self.assertEqual(pools['rest'], 150)
        self.good('credits', 'subscribe', 'payer', 1000)
        table = self.good('credits', 'overage', 'payer', 'on', '--max', 20)
        self.assertRegex(table, r'(?m)^ *\d+ +subscription +all +1000 +0 '
                                r'+1000 +1000 ')
        self.assertRegex(table, r'(?m)^ *\d+ +overage +all +20 +0 +20 +20 ')
        pack = next(p['id'] for p in pools['pools'] if p['kind'] == 'pack')
        self.good('credits', 'revoke', 'payer', pack)
        self.refused('credits', 'revoke', 'payer', pack)
        self.good('credits', 'overage', 'payer', 'off')
        lines = [(x['change'], x['why']) for x in
                 self.json('credits', 'ledger', 'payer')]
        self.assertEqual(lines, [
            (100, 'grant'), (50, 'grant'), (1000, 'subscription'),
            (-50, 'subscribed'), (20, 'overage'), (-100, 'revoked'),
            (-20, 'overage changed')])

    def test_credits_that_are_refused(self):
        org = self.org()
        self.assertIsNone(self.json('org', 'show', org)['credits'])
        self.refused('credits', 'grant', org, 'x', status=TROUBLE)
        self.refused('credits', 'overage', org, 'maybe', status=TROUBLE)
        self.refused('credits', 'grant', org, 5, '--kind', 'overage')
        self.refused('credits', 'subscribe', org, 0)
        self.refused('credits', 'list', 'nobody at all')


class Trials(Ctl):
    config = 'routes: {sheet: {trial: 30}}'

    def ledger(self):
        return [(x['change'], x['why']) for x in
                self.json('credits', 'ledger', 'trier')]

    def test_a_route_gives_a_trial_that_only_it_is_paid_from(self):
        org = self.json('org', 'create', 'trier', '--credits', 0)
        self.assertEqual(org['credits'], 0)
        self.assertRegex(self.good('credits', 'list', 'trier'),
                         r'(?m)^ *\d+ +trial +sheet +0 +0 +0 +- +30 ')
        self.assertEqual(self.ledger(), [])
        key = self.json('key', 'create', '--org', 'trier')['key']
        check = ('check', '-', '--cost', 20, '--route')
        for route, said in (('other', 'deny (402): Insufficient credits'),
                            ('sheet', 'allow'),
                            ('sheet', 'deny (402): Insufficient credits')):
            self.assertEqual(self.ctl(*check, route, stdin=key)
                             .stdout.splitlines()[0], said)
        self.assertRegex(self.good('credits', 'list', 'trier'),
                         r'(?m)^ *\d+ +trial +sheet +30 +20 +10 +- +0 ')
        wait_until(self.ledger, 'the trial in the ledger')
        self.assertEqual(self.ledger(), [(30, 'trial')])
        self.assertEqual(self.json('org', 'show', 'trier')['credits'], 10)
        event, = self.json('events')
        self.assertEqual((event['kind'], event['org'], event['body']['route'],
                          event['body']['amount']),
                         ('credits.trial', org['id'], 'sheet', 30))
        self.assertIn('or has had one', self.refused(
            'credits', 'grant', 'trier', 5, '--kind', 'trial',
            '--route', 'sheet'))
        self.good('credits', 'subscribe', 'trier', 100)
        self.assertEqual(self.ledger(),
                         [(30, 'trial'), (100, 'subscription'),
                          (-10, 'subscribed')])


class Trail(Ctl):
    def test_audit_tells_who_changed_what(self):
        org = self.org()
        self.good('org', 'suspend', org)
        self.good('limit', 'set', '--org', org, 'x', '5/1s')
        lines = [x for x in self.json('audit') if x['subject'] == org]
        self.assertEqual([x['action'] for x in lines],
                         ['org.suspend', 'limit.set'])
        self.assertEqual(json.loads(lines[1]['detail']),
                         {'name': 'x', 'limit': '5/1s'})
        later = self.json('audit', '--after', lines[0]['id'])
        self.assertEqual(later[0]['id'], lines[1]['id'])
        self.assertTrue(re.search(r'limit\.set +' + org,
                                  self.good('audit')))

    def test_many_lines_arrive_in_pages(self):
        org = self.org()
        before = len(self.json('audit'))
        for _ in range(1005 - before):
            self.d.admin('POST', f'/v1/orgs/{org}/resume')
        ids = [x['id'] for x in self.json('audit')]
        self.assertEqual(len(ids), 1005)
        self.assertEqual(ids, sorted(set(ids)))

    def test_no_events_yet(self):
        self.assertEqual(self.json('events'), [])
        self.assertEqual(self.json('events', '--after', 7), [])
        self.refused('events', '--after', 'x')
