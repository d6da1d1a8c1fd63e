# SPDX-License-Identifier: MIT
"""stilectl as operators and scripts use it: the real program, a real daemon."""

import datetime
import hashlib
import json
import os
import re
import subprocess
import time

import harness
from harness import BUILD, Case

PROGRAM = str(BUILD / 'stilectl')
OK, REFUSED, TROUBLE = 0, 1, 2
KEY = r'il_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}'
NO_KEY = 'il_00000000_' + 43 * '0'


def run(*args, stdin='', env=None, cwd=None, **options):
    options.setdefault('stdout', subprocess.PIPE)
    options.setdefault('stderr', subprocess.PIPE)
    return subprocess.run(
        [PROGRAM, *map(str, args)], input=stdin, text=True, cwd=cwd,
        errors='surrogateescape', timeout=harness.START_TIMEOUT_S,
        env=dict(os.environ, LC_ALL='C.UTF-8', **(env or {})), **options)


def sha256_hex(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Ctl(Case):
    def ctl(self, *args, stdin='', **options):
        return run('--dir', self.d.dir, *args, stdin=stdin, **options)

    def good(self, *args, stdin=''):
        """Standard output of a command that has to succeed."""
        p = self.ctl(*args, stdin=stdin)
        self.assertEqual(p.returncode, OK, p.stderr)
        return p.stdout

    def json(self, *args, stdin=''):
        p = self.ctl('--json', *args, stdin=stdin)
        self.assertEqual((p.returncode, p.stderr), (OK, ''))
        return json.loads(p.stdout)

    def refused(self, *args, stdin='', status=REFUSED):
        """The one sentence of a command that has to fail."""
        p = self.ctl(*args, stdin=stdin)
        self.assertEqual((p.returncode, p.stdout), (status, ''), p.stderr)
        self.assertRegex(p.stderr, r'\Astilectl: [^\n]+\n\Z')
        return p.stderr

    def org(self, **options):
        name = self.id().rsplit('.', 1)[1]
        args = [x for k, v in options.items() for x in ('--' + k, v)]
        return self.json('org', 'create', name, *args)['id']

    def key(self, org, *args):
        return self.json('key', 'create', '--org', org, *args)


class Organizations(Ctl):
    def test_create_prints_the_record(self):
        o = self.json('org', 'create', 'acme', '--limit', '7/2s')
        self.assertRegex(o['id'], r'^[0-9A-Za-z]{8}$')
        self.assertEqual((o['name'], o['state'], o['limit']),
                         ('acme', 'active', {'limit': 7, 'window_ms': 2000}))
        text = self.good('org', 'show', 'acme')
        for title, value in (('ID', o['id']), ('NAME', 'acme'),
                             ('STATE', 'active'), ('LIMIT', '7/2s'),
                             ('USED', '0')):
            self.assertRegex(text, rf'(?m)^{title} +{value}$')
        self.assertEqual(self.json('org', 'show', o['id']), o)

    def test_default_limit(self):
        o = self.json('org', 'create', 'plain')
        self.assertEqual(o['limit'], {'limit': 100, 'window_ms': 60000})

    def test_taken_name_and_unknown_organization(self):
        self.json('org', 'create', 'once')
        self.assertIn('taken', self.refused('org', 'create', 'once'))
        for args in (['show'], ['suspend'], ['resume']):
            self.assertIn('no organization',
                          self.refused('org', *args, 'nowhere'))
        self.refused('org', 'limit', 'nowhere', '1/1s')

    def test_limits(self):
        org = self.org()
        for text, limit, window_ms in (
                ('200/60s', 200, 60000), ('1/1ms', 1, 1), ('5/90', 5, 90000),
                ('65536/31d', 65536, 31 * 86400000),
                ('8388607/1d', 8388607, 86400000), ('3/2h', 3, 7200000)):
            o = self.json('org', 'limit', org, text)
            self.assertEqual(o['limit'],
                             {'limit': limit, 'window_ms': window_ms})
        for text in ('0/60s', '8388608/60s', '1/0s', '1/32d', 'x', '5', '5/',
                     '/5', '1.5/60s', '5/5y', '5/60s x'):
            self.assertIn('limit', self.refused('org', 'limit', org, text))
            self.refused('org', 'create', 'never', '--limit', text)
        self.refused('org', 'show', 'never')

    def test_suspend_and_resume(self):
        org = self.org()
        key = self.key(org)['key']
        for _ in range(2):
            o = self.json('org', 'suspend', org)
            self.assertEqual(o['state'], 'suspended')
            p = self.ctl('check', '-', stdin=key)
            self.assertEqual(p.returncode, REFUSED)
            self.assertTrue(p.stdout.startswith('deny (403)'))
        for _ in range(2):
            self.assertEqual(self.json('org', 'resume', org)['state'],
                             'active')
        self.assertEqual(self.ctl('check', '-', stdin=key).returncode, OK)

    def test_strange_names(self):
        names = ['é 日本 🦀', 'it\'s "quoted"', 'a/b?c=d&e#f%20', '..', '.',
                 '-', '--limit', '%', '\\', 'x' * 100, '日' * 33]
        for name in names:
            o = self.json('org', 'create', '--', name)
            self.assertEqual(o['name'], name)
            self.assertEqual(self.json('org', 'show', '--', name)['id'],
                             o['id'])
            self.json('project', 'create', '--org', name, '--', name)
            k = self.key(name, '--project', name, '--name', name)
            self.assertEqual(k['name'], name)
            self.assertEqual(
                [x['id'] for x in self.json('key', 'list', '--org', name)],
                [k['id']])
            self.assertEqual(
                self.json('usage', '--org', name)['orgs'][0]['name'], name)
        listed = {o['name'] for o in self.json('org', 'list')}
        self.assertLessEqual(set(names), listed)
        table = self.good('org', 'list').split('\n')
        for name in names:
            self.assertTrue(any(f'  {name}  ' in line for line in table), name)

    def test_names_that_are_refused(self):
        for name in ('x' * 101, '日' * 34, 'a\nb', 'a\tb', '\x7f', '\x85'):
            self.assertIn('name', self.refused('org', 'create', name))
        # Not UTF-8: cannot be said in JSON at all.
        self.assertIn('UTF-8', self.refused('org', 'create', 'a\udcff',
                                            status=TROUBLE))

    def test_id_comes_before_a_name_that_looks_like_it(self):
        a = self.json('org', 'create', 'the first')
        b = self.json('org', 'create', a['id'])
        self.assertEqual(self.json('org', 'show', a['id'])['id'], a['id'])
        self.assertEqual(self.json('org', 'show', b['id'])['id'], b['id'])


class Keys(Ctl):
    def test_key_alone_on_standard_output(self):
        org = self.org()
        p = self.ctl('key', 'create', '--org', org)
        self.assertEqual(p.returncode, OK)
        self.assertRegex(p.stdout, rf'\A{KEY}\n\Z')
        self.assertIn(p.stdout[3:11], p.stderr)
        self.assertNotIn(p.stdout.strip(), p.stderr)
        k = self.key(org, '--name', 'n')
        self.assertRegex(k['key'], rf'\A{KEY}\Z')
        self.assertEqual((k['id'], k['name'], k['org'], k['project']),
                         (k['key'][3:11], 'n', org, None))

    def test_key_is_shown_only_once(self):
        org = self.org()
        key = self.key(org)['key']
        for args in (['key', 'list'], ['key', 'list', '--org', org],
                     ['key', 'show', key[3:11]], ['usage', '--org', org],
                     ['status'], ['metrics']):
            self.assertNotIn(key[12:], self.good(*args))

    def test_project(self):
        org = self.org()
        p = self.json('project', 'create', '--org', org, 'web')
        self.assertEqual((p['name'], p['org']), ('web', org))
        self.assertEqual(self.json('project', 'list', '--org', org), [p])
        self.assertRegex(self.good('project', 'list', '--org', org),
                         rf'\AID +NAME +ORG +BUDGETS +CREATED *\n{p["id"]}  web  ')
        self.assertIn('taken', self.refused('project', 'create', '--org', org,
                                            'web'))
        for name in ('web', p['id']):
            self.assertEqual(self.key(org, '--project', name)['project'],
                             p['id'])
        self.assertIn('no such project', self.refused(
            'key', 'create', '--org', org, '--project', 'other'))

    def test_expiry(self):
        org = self.org()
        now = datetime.datetime.now(datetime.timezone.utc)

        def expires_in(when):
            at = self.key(org, '--expires', when)['expires_at']
            return (datetime.datetime.fromisoformat(at.replace('Z', '+00:00'))
                    - now).total_seconds()
        for when, seconds in (('+30d', 30 * 86400), ('+1h', 3600),
                              ('+90m', 5400), ('+600', 600), ('+60s', 60),
                              ('+100000ms', 100)):
            self.assertAlmostEqual(expires_in(when), seconds, delta=50)
        for when, at in (
                ('2040-01-31T12:00:00Z', '2040-01-31T12:00:00Z'),
                ('2040-01-31t12:00:00z', '2040-01-31T12:00:00Z'),
                ('2040-02-29T01:00:00+02:00', '2040-02-28T23:00:00Z')):
            self.assertEqual(self.key(org, '--expires', when)['expires_at'],
                             at)
        for when in ('+', '+x', '+5y', '30d', 'tomorrow', '-1d', '2040-01-31',
                     '2041-02-29T00:00:00Z', '2040-13-01T00:00:00Z',
                     '2040-01-31T12:00:00', '+99999999999999999999d'):
            self.assertIn('--expires', self.refused(
                'key', 'create', '--org', org, '--expires', when,
                status=TROUBLE))
        for when in ('2001-01-01T00:00:00Z', '+0s'):
            self.assertIn('after now', self.refused(
                'key', 'create', '--org', org, '--expires', when))

    def test_revoke(self):
        k = self.key(self.org())
        self.assertEqual(self.ctl('check', '-', stdin=k['key']).returncode, OK)
        for _ in range(2):
            r = self.json('key', 'revoke', k['id'])
            self.assertEqual(r['state'], 'revoked')
            self.assertIsNotNone(r['revoked_at'])
        self.assertEqual(self.ctl('check', '-', stdin=k['key']).returncode,
                         REFUSED)
        self.assertRegex(self.good('key', 'show', k['id']),
                         r'(?m)^STATE +revoked$')
        self.assertIn('no such key', self.refused('key', 'revoke', 'nowhere0'))

    def test_rotate(self):
        org = self.org()
        old = self.key(org, '--name', 'web')
        p = self.ctl('key', 'rotate', old['id'])
        self.assertEqual(p.returncode, OK)
        self.assertRegex(p.stdout, rf'\A{KEY}\n\Z')
        self.assertIn(f'Key {old["id"]} is revoked.', p.stderr)
        self.assertEqual(self.json('key', 'show', p.stdout[3:11])['name'],
                         'web')
        self.assertEqual(self.ctl('check', '-', stdin=old['key']).returncode,
                         REFUSED)
        r = self.json('key', 'rotate', p.stdout[3:11], '--grace', '1h')
        self.assertIsNone(r['old']['revoked_at'])
        self.assertIsNotNone(r['old']['expires_at'])
        for key in (p.stdout, r['new']['key']):
            self.assertEqual(self.ctl('check', '-', stdin=key).returncode, OK)
        p = self.ctl('key', 'rotate', r['new']['id'], '--grace', '1h')
        self.assertIn('stays valid until', p.stderr)
        self.assertIn('revoked', self.refused('key', 'rotate', old['id']))
        self.assertIn('grace', self.refused('key', 'rotate', r['new']['id'],
                                            '--grace', 'long'))
        self.assertIn('no such key', self.refused('key', 'rotate', 'x'))

    def test_list(self):
        org = self.org()
        made = [self.key(org) for _ in range(3)]
        self.key(self.json('org', 'create', 'neighbour')['id'])
        table = self.good('key', 'list', '--org', org).split('\n')
        self.assertRegex(table[0], r'^ID +NAME +ORG +PROJECT +STATE +USED')
        self.assertEqual([line[:8] for line in table[1:-1]],
                         [k['id'] for k in made])
        self.assertEqual(len({line.index('active') for line in table[1:-1]}),
                         1)
        self.assertGreaterEqual(len(self.json('key', 'list')), 4)
        self.assertIn('no organization',
                      self.refused('key', 'list', '--org', 'nowhere'))
        # Nothing of an array that never came
        self.refused('key', 'list', '--org', 'nowhere', '--json')

    def test_key_that_cannot_be_written_is_told(self):
        org = self.org()
        for json_option in ([], ['--json']):
            with open('/dev/full', 'w') as full:
                p = self.ctl('key', 'create', '--org', org, *json_option,
                             stdout=full)
            self.assertEqual(p.returncode, TROUBLE)
            self.assertIn('revoke it', p.stderr)
            self.assertNotIn('shown', p.stderr)
        p = subprocess.run(
            ['sh', '-c', 'exec "$@" >&-', 'sh', PROGRAM, '--dir',
             str(self.d.dir), 'key', 'create', '--org', org],
            stderr=subprocess.PIPE, text=True, timeout=30)
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('revoke it', p.stderr)


class Checks(Ctl):
    def test_allow_and_deny(self):
        org = self.org(limit='3/1h')
        key = self.key(org)['key']
        p = self.ctl('check', key)
        self.assertEqual((p.returncode, p.stderr), (OK, ''))
        self.assertRegex(p.stdout, rf'\Aallow\norg +{org}\nkey_id +'
                         rf'{key[3:11]}\nlimit_name +org\nlimit +3\n'
                         r'remaining +2\nreset +\d+\ncharged +1\n\Z')
        answer = self.json('check', '-', '--cost', '2', stdin=key)
        self.assertAlmostEqual(answer.pop('reset'), time.time() + 3600,
                               delta=60)
        self.assertEqual(answer, {
            'verdict': 'allow', 'status': 200, 'error': None, 'org': org,
            'project': None, 'key_id': key[3:11], 'limit_name': 'org',
            'limit': 3, 'remaining': 0, 'retry_after_s': None, 'charged': 2,
            'hold': None, 'hold_expires_s': None, 'credits': None,
            'budget': None})
        p = self.ctl('check', '-', '--json', stdin=key + '\r\n')
        self.assertEqual(p.returncode, REFUSED)
        answer = json.loads(p.stdout)
        self.assertEqual((answer['verdict'], answer['status'],
                          answer['remaining']), ('deny', 429, 0))
        self.assertIn(answer['retry_after_s'], range(3500, 3601))
        p = self.ctl('check', '-', '--cost', '4', stdin=key)
        self.assertEqual(p.returncode, REFUSED)
        self.assertTrue(p.stdout.startswith('deny (429): Cost'))
        self.assertEqual(self.json('org', 'show', org)['used'], 3)

    def test_peek_counts_nothing(self):
        org = self.org(limit='1/1h')
        key = self.key(org)['key']
        for _ in range(2):
            self.good('check', '-', '--peek', stdin=key)
        self.assertEqual(self.json('org', 'show', org)['used'], 0)

    def test_unknown_key_is_denied(self):
        for key in ('nonsense', NO_KEY, 'k' * 255):
            p = self.ctl('check', '-', stdin=key)
            self.assertEqual(p.returncode, REFUSED)
            self.assertTrue(p.stdout.startswith('deny (401)'), p.stdout)
            self.assertNotIn(key, p.stdout + p.stderr)

    def test_no_verdict_is_trouble(self):
        key = self.key(self.org())['key']
        for cost in ('0', 'x', '-1', '1.5', '99999999999999999999'):
            p = self.ctl('check', '-', '--cost', cost, stdin=key)
            self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
            self.assertIn('400', p.stderr)
        for args in (['--route', 'a\r\nX-API-Key: b'], ['--cost', '1\n2'],
                     ['--route', 'r' * 1025]):
            self.refused('check', '-', *args, stdin=key, status=TROUBLE)
        for text in ('', '\n', 'a\nb\n', 'a\0b', 'k' * 256, 'k' * 100000):
            self.refused('check', '-', stdin=text, status=TROUBLE)

    def test_says_what_a_proxy_may_say_and_tells_what_it_is_told(self):
        org = self.org(credits=40)
        project = self.json('project', 'create', '--org', org, 'p',
                            '--budget', '30/day')['id']
        self.good('limit', 'set', '--org', org, 'work', 'inflight 1')
        self.good('limit', 'set', '--org', org, 'client', '5/1h', '--level',
                  'address')
        key = self.key(org, '--project', project, '--scope', 'a')['key']
        check = ('check', '-', '--address', '192.0.2.1', '--request-id', 'x',
                 '--cost', 5)
        answer = self.json(*check, '--scope', 'a', stdin=key)
        hold = answer['hold']
        self.assertRegex(hold, r'\A[0-9a-f]{16}\Z')
        self.assertEqual(
            [answer[f] for f in ('limit_name', 'charged', 'hold_expires_s',
                                 'credits', 'budget')],
            ['work', 5, 60, 35, 25])
        answer = self.json(*check, stdin=key)
        self.assertEqual((answer['charged'], answer['hold']), (0, hold))
        p = self.ctl(*check, '--scope', 'b', stdin=key)
        self.assertTrue(p.stdout.startswith('deny (403)'), p.stdout)
        p = self.ctl('check', '-', stdin=key)
        self.assertIn('Too many requests in flight', p.stdout)
        self.assertRegex(p.stdout, r'\nlimit_name +work\n')
        self.good('settle', hold)
        p = self.ctl('check', '-', '--address', '192.0.2.1', stdin=key)
        self.assertRegex(p.stdout, r'\nlimit_name +client\n')
        self.good('check', '-', '--address', '192.0.2.2', stdin=key)

    def test_route_is_taken(self):
        key = self.key(self.org())['key']
        self.good('check', '-', '--route', 'convert', stdin=key)

    def test_key_hash(self):
        key = 'sk_some_other_system'
        self.assertEqual(self.good('key', 'hash', stdin=key + '\n'),
                         sha256_hex(key) + '\n')
        self.assertEqual(self.json('key', 'hash', stdin=key),
                         {'hash': sha256_hex(key)})


class Server(Ctl):
    def test_usage(self):
        org = self.org(limit='9/1h')
        first, second = self.key(org, '--name', 'first'), self.key(org)
        self.good('check', '-', '--cost', '3', stdin=first['key'])
        self.good('check', '-', '--cost', '4', stdin=second['key'])
        u = self.json('usage', '--org', org)
        self.assertEqual((u['orgs'][0]['used'], u['orgs'][0]['in_window']),
                         (7, 7))
        self.assertEqual({k['id']: k['used'] for k in u['keys']},
                         {first['id']: 3, second['id']: 4})
        text = self.good('usage', '--org', org)
        self.assertRegex(text, rf'(?m)^{org}  test_usage +7 +7  9/1h$')
        self.assertRegex(text, rf'(?m)^{first["id"]}  first  - +3  ')
        self.assertRegex(self.good('usage'), rf'(?m)^{org} ')
        self.assertIn(org, [o['id'] for o in self.json('usage')['orgs']])
        self.refused('usage', '--org', 'nowhere', '--json')

    def test_status(self):
        s = self.json('status')
        self.assertEqual((s['pid'], s['ready']), (self.d.pid, True))
        text = self.good('status')
        self.assertRegex(text, rf'(?m)^pid +{self.d.pid}$')
        self.assertRegex(text, r'(?m)^ready +yes$')
        row = re.search(r'(?m)^checks\.allow +([\d ]+)$', text)[1].split()
        self.assertEqual(len(row), len(s['workers']))

    def test_snapshot(self):
        self.assertGreater(self.json('snapshot')['bytes'], 0)
        self.assertRegex(self.good('snapshot'), r'(?m)^bytes +\d+$')

    def test_backup(self):
        path = self.d.top / 'backup.db'
        self.assertEqual(self.json('backup', path), {'path': str(path)})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertIn('overwrite', self.refused('backup', path))
        p = self.ctl('backup', 'near.db', cwd=self.d.top)
        self.assertEqual(p.returncode, OK, p.stderr)
        self.assertTrue((self.d.top / 'near.db').exists())
        self.assertIn('/nonexistent/x', self.refused('backup',
                                                     '/nonexistent/x'))

    def test_metrics(self):
        text = self.good('metrics')
        self.assertIn('# TYPE stile_checks_total counter', text)
        self.refused('metrics', '--json', status=TROUBLE)

    def test_status_of_a_full_disk_is_trouble(self):
        for args in (['status'], ['org', 'list', '--json'], ['metrics']):
            with open('/dev/full', 'w') as full:
                p = self.ctl(*args, stdout=full)
            self.assertEqual(p.returncode, TROUBLE, args)
            self.assertIn('No space left', p.stderr)
