# SPDX-License-Identifier: MIT
"""stilectl as operators and scripts use it: the real program, a real daemon."""

import datetime
import hashlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time
import unittest
from pathlib import Path

import harness
from harness import BUILD, ROOT, Case, Daemon, wait_until
from secrets_test import memory_of

PROGRAM = str(BUILD / 'stilectl')
COMPLETION = ROOT / 'tools' / 'stilectl.bash-completion'
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


def commands():
    """The names in `stilectl --help`."""
    listed = re.search(r'\ncommands .*?:\n(.*?)\n\n', run('--help').stdout,
                       re.S)[1]
    return [re.match(r'  ([a-z]+( [a-z]+)?)  ', line)[1]
            for line in listed.split('\n')]


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
                ('65536/31d', 65536, 31 * 86400000), ('3/2h', 3, 7200000)):
            o = self.json('org', 'limit', org, text)
            self.assertEqual(o['limit'],
                             {'limit': limit, 'window_ms': window_ms})
        for text in ('0/60s', '65537/60s', '1/0s', '1/32d', 'x', '5', '5/',
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
                         rf'\AID +NAME +ORG +CREATED *\n{p["id"]}  web  ')
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
                         rf'{key[3:11]}\nlimit +3\nremaining +2\n')
        answer = self.json('check', '-', '--cost', '2', stdin=key)
        self.assertAlmostEqual(answer.pop('reset'), time.time() + 3600,
                               delta=60)
        self.assertEqual(answer, {
            'verdict': 'allow', 'status': 200, 'error': None, 'org': org,
            'project': None, 'key_id': key[3:11], 'limit': 3, 'remaining': 0,
            'retry_after_s': None})
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

    def test_route_is_taken(self):
        key = self.key(self.org())['key']
        self.good('check', '-', '--route', 'convert', stdin=key)

    def test_key_hash(self):
        key = 'sk_some_other_system'
        self.assertEqual(self.good('key', 'hash', stdin=key + '\n'),
                         sha256_hex(key) + '\n')
        self.assertEqual(self.json('key', 'hash', stdin=key),
                         {'hash': sha256_hex(key)})


class Import(Ctl):
    def lines(self, *names):
        return ''.join(sha256_hex(self.id() + n) + f' {n}\n' for n in names)

    def import_(self, *args, stdin=''):
        return self.ctl('key', 'import', *args, stdin=stdin)

    def test_both_kinds_of_lines(self):
        org = self.org()
        self.json('project', 'create', '--org', org, 'web')
        self.json('project', 'create', '--org', org, 'other')
        rich = json.dumps({'hash': sha256_hex('rich'), 'name': 'rich é',
                           'project': 'other',
                           'expires_at': '2040-01-01T00:00:00Z'})
        poor = json.dumps({'hash': sha256_hex('poor'), 'name': None})
        text = (f'# exported\n\n   \n{sha256_hex("a")}\n\t{sha256_hex("b")} '
                f'\tname of b \r\n{rich}\n{poor}\n{sha256_hex("last")} last')
        p = self.import_('--org', org, '--project', 'web', '--expires', '+1d',
                         stdin=text)
        self.assertEqual((p.returncode, p.stdout), (OK, '5 keys imported\n'),
                         p.stderr)
        keys = self.json('key', 'list', '--org', org)
        self.assertEqual([k['name'] for k in keys],
                         ['', 'name of b', 'rich é', '', 'last'])
        projects = {p['id']: p['name']
                    for p in self.json('project', 'list', '--org', org)}
        self.assertEqual([projects[k['project']] for k in keys],
                         ['web', 'web', 'other', 'web', 'web'])
        self.assertEqual([k['expires_at'] == '2040-01-01T00:00:00Z'
                          for k in keys], [False, False, True, False, False])
        for key in ('a', 'b', 'rich', 'poor', 'last'):
            self.assertEqual(self.ctl('check', '-', stdin=key).returncode, OK)

    def test_file_and_json(self):
        org = self.org()
        path = self.d.top / 'keys.txt'
        path.write_text(self.lines('a', 'b'))
        answer = self.json('key', 'import', '--org', org, path)
        self.assertEqual(answer, {'imported': 2, 'ids': [
            k['id'] for k in self.json('key', 'list', '--org', org)]})
        self.assertEqual(self.json('key', 'import', '--org', org, '-'),
                         {'imported': 0, 'ids': []})
        for file in ('/nonexistent', self.d.top):
            p = self.import_('--org', org, file)
            self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))

    def test_bad_line_is_told_by_number_and_nothing_is_in(self):
        org = self.org()
        good = self.lines('a', 'b')
        key = 'sk_live_secret_typed_by_mistake'
        for bad, status in (
                (key, TROUBLE), ('ab12', TROUBLE),
                (sha256_hex('x')[:-1] + 'g', TROUBLE),
                (sha256_hex('x') + '0', TROUBLE), ('{', TROUBLE),
                ('{}', TROUBLE), ('[]', TROUBLE),
                ('{"hash":"%s"} x' % sha256_hex('x'), TROUBLE),
                ('{"hash":"%s","nonsense":"1"}' % sha256_hex('x'), TROUBLE),
                ('{"hash":"%s","name":1}' % sha256_hex('x'), TROUBLE),
                (sha256_hex('x') + ' \udcff', TROUBLE),
                (sha256_hex('x') + ' a\0b', TROUBLE), ('y' * 5000, TROUBLE),
                (sha256_hex('x') + ' ' + 'n' * 101, REFUSED),
                (sha256_hex('x') + ' a\x01b', REFUSED),
                (sha256_hex(self.id() + 'a'), REFUSED),
                ('{"hash":"%s","project":"none"}' % sha256_hex('x'), REFUSED),
                ('{"hash":"%s","expires_at":"soon"}' % sha256_hex('x'),
                 REFUSED)):
            p = self.import_('--org', org, stdin='# 1\n' + good + bad + '\n')
            self.assertEqual((p.returncode, p.stdout), (status, ''), bad)
            self.assertIn('line 4', p.stderr, bad)
            self.assertIn('imported so far: 0, none from line 2 on', p.stderr)
            self.assertNotIn(key, p.stderr)
        self.assertEqual(self.json('key', 'list', '--org', org), [])

    def test_batches_are_all_or_nothing(self):
        org = self.org()
        text = self.lines(*map(str, range(12_000)))
        # Line 10,500 again on line 11,001
        repeated = text.split('\n')
        repeated[11_000] = repeated[10_499]
        p = self.import_('--org', org, stdin='\n'.join(repeated))
        self.assertEqual(p.returncode, REFUSED)
        self.assertIn('line 11001 was refused', p.stderr)
        self.assertIn('imported so far: 10000, none from line 10001 on',
                      p.stderr)
        rest = text.split('\n', 10_000)[10_000]
        p = self.import_('--org', org, stdin=rest)
        self.assertEqual((p.returncode, p.stdout), (OK, '2000 keys imported\n'))
        self.assertEqual(len(self.json('key', 'list', '--org', org)), 12_000)

    def test_interrupt_tells_where_it_stopped(self):
        org = self.org()
        p = subprocess.Popen([PROGRAM, '--dir', str(self.d.dir), 'key',
                              'import', '--org', org], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        with p:
            p.stdin.write(self.lines(*map(str, range(10_000))))
            p.stdin.flush()  # a whole batch and no more
            wait_until(lambda: len(self.json('key', 'list', '--org', org)) ==
                       10_000, 'the first batch is in')
            p.send_signal(signal.SIGINT)
            # Not communicate(): the end of the input must not be what ends it
            self.assertEqual(p.wait(30), TROUBLE)
            self.assertIn('10000, none from line 10001 on', p.stderr.read())
            p.stdin.close()


class Pages(Ctl):
    COUNT = 2500

    def test_lists_of_any_length(self):
        org = self.org()
        self.good('key', 'import', '--org', org, stdin=''.join(
            sha256_hex(f'page {i}') + f' {i}\n' for i in range(self.COUNT)))
        keys = self.json('key', 'list', '--org', org)
        self.assertEqual([k['name'] for k in keys],
                         [str(i) for i in range(self.COUNT)])
        self.assertEqual(len({k['id'] for k in keys}), self.COUNT)
        table = self.good('key', 'list', '--org', org).split('\n')
        self.assertEqual(len(table), self.COUNT + 2)
        self.assertEqual(sum(line.startswith('ID ') for line in table), 1)
        usage = self.json('usage', '--org', org)
        self.assertEqual([k['id'] for k in usage['keys']],
                         [k['id'] for k in keys])
        self.assertEqual(len(usage['orgs']), 1)
        self.assertEqual(self.good('usage', '--org', org).count('\n'),
                         self.COUNT + 4)

    def test_organizations_in_pages(self):
        with harness.Http(self.d.admin_sock) as c:
            for i in range(1050):
                r = c.ask('POST', '/v1/orgs', {}, b'{"name":"many %d"}' % i)
                self.assertEqual(r.status, 201)
        names = [o['name'] for o in self.json('org', 'list')
                 if o['name'].startswith('many')]
        self.assertEqual(names, [f'many {i}' for i in range(1050)])
        self.assertEqual(len([o for o in self.json('usage')['orgs']
                              if o['name'].startswith('many')]), 1050)

    def test_reader_that_goes_away(self):
        p = subprocess.run(
            ['bash', '-c', '"$@" | head -n 1', 'bash', PROGRAM, '--dir',
             str(self.d.dir), 'key', 'list'], capture_output=True, text=True,
            timeout=30)
        self.assertEqual((p.stdout.count('\n'), p.stderr), (1, ''))


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


class Usage(unittest.TestCase):
    """What needs no daemon."""

    def refused(self, *args, stdin='', env=None):
        p = run('--dir', '/nonexistent', *args, stdin=stdin, env=env)
        self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''), args)
        self.assertRegex(p.stderr, r'\Astilectl: [^\n]+\n\Z')
        return p.stderr

    def test_wrong_usage(self):
        for args, word in (
                ([], 'no command'), (['nonsense'], '--help'),
                (['org'], 'suspend'), (['org', 'nonsense'], '--help'),
                (['org', 'creat', 'x'], '"org create"'),
                (['chek', 'x'], '"check"'), (['revoke', 'x'], '"key revoke"'),
                (['org', 'create'], 'too few'),
                (['org', 'create', 'a', 'b'], 'too many'),
                (['org', 'create', ''], 'empty'),
                (['org', 'limit', 'a'], 'too few'),
                (['project', 'create', 'a'], '--org'),
                (['key', 'create'], '--org'),
                (['key', 'create', '--org', ''], '--org is empty'),
                (['key', 'create', '--org', 'a', '--org', 'b'], 'twice'),
                (['key', 'create', 'name', '--org', 'a'], 'too many'),
                (['key', 'revoke'], 'too few'), (['check'], 'too few'),
                (['org', 'list', '--org', 'a'], 'takes no option --org'),
                (['usage', '--limit', '1/1s'], 'takes no option --limit'),
                (['status', '--json=1'], 'takes no value'),
                (['status', '--jsn'], '--json'), (['status', '-x'], '-x'),
                (['org', 'limit', 'a', '-1/60s'], 'unknown option -1'),
                (['status', '--org'], 'wants a value'),
                (['status'] * 20, 'too many'),
                (['--dir', '/else', 'status'], 'twice'),
                (['help', 'nonsense'], '--help')):
            self.assertIn(word, self.refused(*args), args)
        p = run('--dir', '', 'status')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('--dir is empty', p.stderr)

    def test_options_of_later_versions_are_refused(self):
        for args in (['org', 'create', 'x', '--credits', '5'],
                     ['project', 'create', '--org', 'o', 'p', '--budget',
                      '5/month'],
                     ['key', 'create', '--org', 'o', '--scope', 's'],
                     ['key', 'create', '--org', 'o', '--scope=s']):
            self.assertIn('unknown option --', self.refused(*args))

    def test_version(self):
        p = run('--version')
        self.assertEqual((p.returncode, p.stderr), (OK, ''))
        self.assertRegex(p.stdout, r'\Astilectl \d+\.\d+\.\d+\n\Z')

    def test_help_of_each_command(self):
        for line in run('--help').stdout.split('\n'):
            self.assertLess(len(line), 80)
        names = commands()
        for name in ('org create', 'org list', 'org suspend', 'org resume',
                     'org limit', 'project create', 'key create', 'key list',
                     'key revoke', 'key rotate', 'key import', 'check',
                     'usage', 'status', 'snapshot', 'backup'):
            self.assertIn(name, names)
        for name in names:
            p = run(*name.split(), '--help')
            self.assertEqual((p.returncode, p.stderr), (OK, ''), name)
            self.assertIn(f'usage: stilectl {name}', p.stdout)
            self.assertEqual(run('help', *name.split()).stdout, p.stdout)
            for line in p.stdout.split('\n'):
                self.assertLess(len(line), 80, name)
        for group in ('org', 'project', 'key'):
            p = run(group, '--help')
            self.assertEqual(p.returncode, OK)
            for name in names:
                self.assertEqual(f'  {name} ' in p.stdout,
                                 name.startswith(group + ' '))

    def test_no_daemon(self):
        with tempfile.TemporaryDirectory() as top:
            for args in (['status'], ['check', '-']):
                p = run('--dir', top, *args, stdin='k')
                self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
                self.assertIn('is stiled running', p.stderr)
            for name in ('admin.sock', 'http.sock'):
                with socket.socket(socket.AF_UNIX) as s:
                    s.bind(f'{top}/{name}')
            for args in (['status'], ['check', '-']):
                p = run('--dir', top, *args, stdin='k')
                self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
                self.assertIn('start it', p.stderr)
            p = run('--dir', top + '/' + 'd' * 120, 'status')
            self.assertEqual(p.returncode, TROUBLE)
            self.assertIn('107 bytes', p.stderr)

    def test_where_the_directory_comes_from(self):
        with tempfile.TemporaryDirectory() as top:
            p = run('status', env={'STILE_DIR': '/from/environment'})
            self.assertIn('/from/environment/admin.sock', p.stderr)
            env = {'STILE_DIR': ''}
            p = run('status', env=env, cwd=top)
            self.assertRegex(p.stderr, '/(run|var/lib)/stile/admin.sock')
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(f'{top}/admin.sock')
            p = run('status', env=env, cwd=top)
            self.assertIn(' ./admin.sock', p.stderr)
            p = run('--socket', top + '/x', 'status', env=env, cwd=top)
            self.assertIn(f'{top}/x', p.stderr)


class Permission(Ctl):
    def test_other_users_are_told_so(self):
        if os.geteuid() != 0:
            self.skipTest('another user needs root')
        program = self.d.top / 'stilectl'
        program.write_bytes(Path(PROGRAM).read_bytes())
        program.chmod(0o755)

        def as_nobody(*args):
            return subprocess.run(
                [program, '--dir', self.d.dir, *args], input='k', text=True,
                capture_output=True, timeout=30, user=65534, group=65534,
                extra_groups=[], cwd='/')
        self.d.top.chmod(0o755)
        for args in (['status'], ['check', '-']):
            p = as_nobody(*args)
            self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
            self.assertIn('no permission', p.stderr)
        # A socket that was opened up still lets in nobody else.
        self.d.admin_sock.chmod(0o666)
        p = as_nobody('status')
        self.assertIn(p.returncode, (REFUSED, TROUBLE))
        self.assertEqual(p.stdout, '')
        self.assertIn('user', p.stderr)


class FakeServer:
    """Answers each connection on a Unix socket with the same bytes."""

    def __init__(self, answer=None):
        self.top = tempfile.TemporaryDirectory()
        self.path = self.top.name + '/fake.sock'
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.answer = answer
        self.asked = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                while b'\r\n\r\n' not in conn.recv(1 << 16, socket.MSG_PEEK):
                    pass
                self.asked.set()
                if self.answer is None:
                    conn.recv(1 << 16)
                    while conn.recv(1 << 16):  # until the peer goes
                        pass
                else:
                    conn.recv(1 << 16)
                    conn.sendall(self.answer)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.top.cleanup()


class StrangeServer(unittest.TestCase):
    def answered(self, answer, *args):
        server = FakeServer(answer)
        self.addCleanup(server.close)
        p = run('--socket', server.path, *args, stdin='key')
        self.assertNotEqual(p.returncode, OK)
        self.assertRegex(p.stderr, r'\Astilectl: [^\n]+\n\Z')
        return p

    @staticmethod
    def http(body, status='200 OK'):
        return (f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n'
                f'Connection: close\r\n\r\n{body}').encode()

    def test_answers_that_make_no_sense(self):
        self.assertIn('closed', self.answered(b'', 'status').stderr)
        p = self.answered(self.http('oops', '500 Oops'), 'org', 'list')
        self.assertIn('500', p.stderr)
        p = self.answered(self.http('{"keys":[],"next":"same"}'), 'key',
                          'list')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('next', p.stderr)
        p = self.answered(self.http('{}', '201 Created'), 'key', 'create',
                          '--org', 'o')
        self.assertEqual(p.returncode, TROUBLE)
        self.answered(b'\x01\x02\x03\n\n', 'status')
        p = self.answered(self.http('', '503 Busy'), 'check', '-')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('503', p.stderr)

    def test_messages_cannot_steer_the_terminal(self):
        body = json.dumps({'error': {'code': 'x', 'message':
                                     'a\x1b[2Jb\u009bc'}}, ensure_ascii=False)
        body = body.replace('\\u001b', '\\u001b')
        raw = self.http(body, '400 Bad').replace(
            b'Content-Length: %d' % len(body),
            b'Content-Length: %d' % len(body.encode()))
        p = self.answered(raw, 'status')
        self.assertEqual(p.stderr, 'stilectl: a?[2Jb?c\n')


class Secrecy(Ctl):
    def test_whole_key_is_refused_where_an_id_belongs(self):
        org = self.org()
        key = self.key(org)['key']
        for args in (['key', 'revoke', key], ['key', 'show', key],
                     ['key', 'rotate', key], ['org', 'create', key],
                     ['org', 'show', f'x{key} y'],
                     ['key', 'create', '--org', org, '--name', key],
                     ['key', 'import', '--org', org, key],
                     ['backup', f'/tmp/{key}']):
            text = self.refused(*args, status=TROUBLE)
            self.assertNotIn(key[12:28], text)
            self.assertIn(f'give its id alone: {key[3:11]}', text)
        for args in ([key], ['chek', key], ['key', key], ['help', key],
                     ['status', '--' + key], ['status', key]):
            self.assertNotIn(key[12:28], self.refused(*args, status=TROUBLE))
        foreign = 'sk_live_51H8xY2eZvKYlo2C'
        for args in ([foreign], ['chek', foreign], ['key', foreign],
                     ['help', foreign]):
            self.assertNotIn(foreign, self.refused(*args, status=TROUBLE))
        self.assertNotIn(key[12:28], self.d.log())

    def test_key_leaves_the_list_of_processes(self):
        server = FakeServer()
        self.addCleanup(server.close)
        p = subprocess.Popen([PROGRAM, '--socket', server.path, 'check',
                              NO_KEY])
        with p:
            self.assertTrue(server.asked.wait(20))
            cmdline = Path(f'/proc/{p.pid}/cmdline').read_bytes()
            p.kill()
        self.assertIn(b'check', cmdline)
        self.assertNotIn(b'00000', cmdline)

    def search(self, pid, key):
        found = []
        for where, data in memory_of(pid):
            found += [where for part in (key[12:28], key[-22:-6])
                      if part.encode() in data]
        return found

    def test_no_trace_of_a_key_that_was_checked(self):
        """Held where its last line cannot be written, it has wiped the key."""
        if os.geteuid() != 0:
            self.skipTest('reading /proc/PID/mem needs root')
        if harness.sanitized():
            self.skipTest('a sanitizer keeps freed memory')
        key = self.key(self.org())['key']
        for args, stdin in ((['check', '-'], key), (['check', key], ''),
                            (['key', 'hash'], key)):
            r, w = os.pipe()
            os.set_blocking(w, False)
            try:
                while True:
                    os.write(w, bytes(4096))
            except BlockingIOError:
                os.set_blocking(w, True)
            p = subprocess.Popen([PROGRAM, '--dir', str(self.d.dir), *args],
                                 stdin=subprocess.PIPE, stdout=w)
            os.close(w)
            p.stdin.write(stdin.encode())
            p.stdin.close()
            wchan = Path(f'/proc/{p.pid}/syscall')
            wait_until(lambda: wchan.read_text().startswith('1 0x1 '),
                       'it blocks in write(1, ...)')
            self.assertEqual(self.search(p.pid, key), [], args)
            while os.read(r, 1 << 16):
                pass
            os.close(r)
            self.assertEqual(p.wait(20), OK)

    def terminal(self, then):
        """`key hash` asking on a terminal; then(master) answers."""
        master, slave = pty.openpty()
        p = subprocess.Popen([PROGRAM, 'key', 'hash'], stdin=slave,
                             stdout=subprocess.PIPE, stderr=slave,
                             start_new_session=True, text=True)
        try:
            wait_until(lambda: not termios.tcgetattr(slave)[3] & termios.ECHO,
                       'the terminal does not echo')
            then(master, p)
            out = p.stdout.read()
            status = p.wait(20)
            self.assertTrue(termios.tcgetattr(slave)[3] & termios.ECHO)
            os.set_blocking(master, False)
            return status, out, os.read(master, 1 << 16).decode()
        finally:
            p.stdout.close()
            p.kill()
            p.wait()
            os.close(master)
            os.close(slave)

    def test_key_typed_on_a_terminal_is_not_echoed(self):
        key = 'typed-by-hand'
        status, out, shown = self.terminal(
            lambda master, _: os.write(master, key.encode() + b'\n'))
        self.assertEqual((status, out), (OK, sha256_hex(key) + '\n'))
        self.assertIn('key: ', shown)
        self.assertNotIn(key, shown)

    def test_interrupt_brings_the_echo_back(self):
        status, out, shown = self.terminal(
            lambda _, p: p.send_signal(signal.SIGINT))
        self.assertEqual((status, out), (TROUBLE, ''))


class Completion(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last word."""
        script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_stilectl; printf "%s\\n" "${COMPREPLY[@]}"')
        p = subprocess.run(['bash', '-c', script, 'bash', str(COMPLETION),
                            'stilectl', *words], capture_output=True,
                           text=True, timeout=30)
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        return p.stdout.split()

    def test_parses(self):
        p = subprocess.run(['bash', '-n', str(COMPLETION)],
                           capture_output=True, text=True, timeout=30)
        self.assertEqual((p.returncode, p.stderr), (0, ''))

    def test_knows_exactly_the_commands_and_their_options(self):
        common = re.findall(r'(?m)^  (--[a-z]+)', run('--help').stdout)
        names = commands()
        self.assertEqual(set(self.complete('')),
                         {n.split()[0] for n in names})
        for group in ('org', 'project', 'key'):
            self.assertEqual(set(self.complete(group, '')), {
                n.split()[1] for n in names if n.startswith(group + ' ')})
        for name in names:
            options = re.findall(r'(?m)^  (--[a-z]+)',
                                 run(*name.split(), '--help').stdout)
            self.assertEqual(set(self.complete(*name.split(), '-')),
                             set(options), name)
            self.assertLessEqual(set(common), set(options))

    def test_after_options_and_their_values(self):
        self.assertEqual(self.complete('--dir', '/x', 'org', 'su'),
                         ['suspend'])
        self.assertEqual(self.complete('--json', 'key', 'ro'), ['rotate'])
        self.assertEqual(self.complete('key', 'create', '--org', 'a', '--pr'),
                         ['--project'])
        self.assertEqual(self.complete('key', 'create', '--org', ''), [])
        self.assertEqual(set(self.complete('help', 'key', 'r')),
                         {'revoke', 'rotate'})
        self.assertIn('/etc/passwd', self.complete('key', 'import',
                                                   '/etc/passw'))
        self.assertIn('/etc/passwd', self.complete('--dir', '/etc/passw'))
