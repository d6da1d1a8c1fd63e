# SPDX-License-Identifier: MIT
"""stilectl with many keys: imports, and lists over several pages."""

import json
import signal
import subprocess

import harness
from harness import wait_until
from stilectl_test import OK, PROGRAM, REFUSED, TROUBLE, Ctl, sha256_hex


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
