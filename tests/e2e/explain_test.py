# SPDX-License-Identifier: MIT
"""Why a check is answered as it is: in the check itself, and by stilectl."""

from harness import ALLOW, PEEK
from native_long import EXPLAIN, Long, long_frame
from stilectl_test import NO_KEY, Ctl, OK, REFUSED, TROUBLE

ASK = {'X-Stile-Explain': '1'}


class Explained(Ctl):
    config = 'workers: 1\n'

    def check(self, key, **headers):
        with self.d.http() as c:
            return c.ask('GET', '/v1/check', {
                'X-API-Key': key, **ASK,
                **{k.replace('_', '-'): str(v) for k, v in headers.items()}})

    def lines(self, response):
        return {x['name']: x for x in response.json()['explain']}

    def setUp(self):
        self.o = self.org()
        self.k = self.key(self.o)
        self.good('limit', 'set', '--org', self.o, 'org', '10/1h')
        self.good('limit', 'set', '--org', self.o, 'each', 'gcra', '5/1h',
                  'burst', '4', '--level', 'key')
        self.good('limit', 'set', '--org', self.o, 'strict', '1/1h',
                  '--level', 'route', '--shadow')

    def test_a_check_is_explained_and_counted(self):
        r = self.check(self.k['key'], X_Stile_Cost=3, X_Stile_Route='/ocr')
        self.assertEqual((r.status, r['X-Stile-Charged']), (200, '3'))
        lines = self.lines(r)
        self.assertEqual(list(lines), ['org', 'each', 'strict'])
        self.assertEqual([x['remaining'] for x in lines.values()], [10, 4, 1])
        self.assertEqual([x['allowed'] for x in lines.values()],
                         [True, True, False])
        r = self.check(self.k['key'], X_Stile_Cost=3)
        self.assertEqual((r.status, r['X-Stile-Limit']), (429, 'each'))
        lines = self.lines(r)
        self.assertEqual(list(lines), ['org', 'each'])
        self.assertEqual(lines['org']['remaining'], 7)
        self.assertEqual([x['decided'] for x in lines.values()],
                         [False, True])
        r = self.check(self.k['key'], X_Stile_Peek=1)
        self.assertEqual(self.lines(r)['each']['remaining'], 1)

    def test_an_unknown_key_has_no_explanation(self):
        r = self.check(NO_KEY)
        self.assertEqual(r.status, 401)
        self.assertNotIn('explain', r.json())

    def test_many_at_once_are_all_explained(self):
        self.good('limit', 'set', '--org', self.o, 'each', 'off')
        clients = [self.d.http() for _ in range(40)]
        for c in clients:
            c.put('GET', '/v1/check', {'X-API-Key': self.k['key'], **ASK})
        answers = [c.get() for c in clients]
        for c in clients:
            c.close()
        left = sorted(self.lines(r)['org']['remaining'] for r in answers)
        self.assertEqual(left, 30 * [0] + list(range(1, 11)))
        self.assertEqual(sum(r.status == 200 for r in answers), 10)

    def test_native_tells_what_http_does(self):
        with Long(self.d.native_sock) as n:
            for said, flags in (({}, PEEK), ({'cost': 4}, 0), ({'cost': 1}, 0),
                                ({'cost': 1, 'route': b'/ocr'}, PEEK)):
                http = self.check(self.k['key'], X_Stile_Peek=1, **{
                    'X_Stile_' + k.capitalize(): v.decode()
                    if isinstance(v, bytes) else v for k, v in said.items()})
                r = n.check(self.k['key'], flags=EXPLAIN | flags,
                            request_id=7, **said)
                timeless = [[{**x, 'reset_ms': 0, 'retry_ms': 0} for x in y]
                            for y in (r.explain, http.json()['explain'])]
                self.assertEqual(*timeless)
                self.assertEqual(r.reason == ALLOW, http.status == 200)
            self.assertEqual(n.check(self.k['key'], flags=PEEK).explain, [])
            self.assertEqual(n.check(NO_KEY, flags=EXPLAIN).explain, [])

    def test_many_native_ones_at_once_are_all_explained(self):
        self.good('limit', 'set', '--org', self.o, 'each', 'off')
        count = 100
        with Long(self.d.native_sock) as n:
            n.send(b''.join(
                long_frame(self.k['key'], i, flags=EXPLAIN * (i % 3 != 0))
                for i in range(count)))
            got = [n.get() for _ in range(count)]
        self.assertEqual({r.request_id for r in got}, set(range(count)))
        self.assertEqual(sum(r.reason == ALLOW for r in got), 10)
        for r in got:
            self.assertEqual([x['name'] for x in r.explain],
                             ['org'] if r.request_id % 3 else [])

    def test_explain_counts_nothing(self):
        for _ in range(3):
            table = self.good('explain', '-', '--cost', 2, '--route', '/ocr',
                              stdin=self.k['key'])
            self.assertRegex(table, r'\Aallow\n')
            self.assertRegex(table, r'(?m)^each +key +gcra +4 +0 +4 .*yes$')
            self.assertRegex(table, r'(?m)^strict +route .*no \(shadow\)$')
        p = self.ctl('explain', '--key-id', self.k['id'], '--cost', 5)
        self.assertEqual((p.returncode, p.stderr), (REFUSED, ''))
        self.assertRegex(p.stdout, r'\Adeny \(429\): ')
        self.assertRegex(p.stdout, r'(?m)^each .*NO, and decides$')
        answer = self.json('explain', '--key-id', self.k['id'])
        self.assertEqual((answer['key'], answer['org']),
                         (self.k['id'], self.o))

    def test_explain_keeps_no_key(self):
        self.assertEqual(self.ctl('explain', '-',
                                  stdin=self.k['key']).returncode, OK)
        self.assertEqual(self.ctl('explain', NO_KEY).returncode, REFUSED)
        for secret in (self.k['key'], NO_KEY):
            self.assertNotIn(secret, self.d.log())
            self.assertNotIn(secret, self.good('audit'))

    def test_mistakes(self):
        for args in ([], [self.k['id'], '--key-id', self.k['id']],
                     ['a', 'b'], ['a', '--cost', 'x']):
            self.refused('explain', *args, status=TROUBLE)
        self.refused('explain', '--key-id', 'none')
        self.refused('explain', '--key-id', self.k['id'], '--address', 'x')
        self.refused('limit', 'show', 'org', status=TROUBLE)
        self.assertIn('counts for a key', self.refused(
            'limit', 'show', '--org', self.o, 'each'))

    def test_a_subject_is_shown_and_reset(self):
        whose = ('--org', self.o, 'each', '--key', self.k['id'])
        self.assertEqual(self.check(self.k['key'], X_Stile_Cost=4).status, 200)
        self.assertEqual(self.check(self.k['key']).status, 429)
        got = self.json('limit', 'show', *whose)
        self.assertEqual((got['used'], got['remaining'], got['denied']),
                         (4, 0, 1))
        self.assertRegex(self.good('limit', 'show', *whose), r'USED +4\n')
        self.assertRegex(self.good('limit', 'reset', *whose), r'USED +0\n')
        self.assertEqual(self.check(self.k['key'], X_Stile_Cost=4).status, 200)
        last = self.json('audit')[-1]
        self.assertEqual((last['action'], last['subject']),
                         ('limit.reset', self.o))
        self.assertIn('event=limit_reset', self.d.log())
        self.assertEqual(
            self.json('limit', 'show', '--org', self.o, 'org')['used'], 8)
        self.good('limit', 'reset', '--org', self.o, 'org')
        self.assertEqual(
            self.json('limit', 'show', '--org', self.o, 'org')['used'], 0)

    def test_a_label_with_every_character(self):
        label = '/a b&c=d?%2F#+'
        self.check(self.k['key'], X_Stile_Route=label)
        got = self.json('limit', 'show', '--org', self.o, 'strict',
                        '--route', label)
        self.assertEqual(got['used'], 1)

    def test_requests_in_flight_stay(self):
        self.good('limit', 'set', '--org', self.o, 'fly', 'inflight', 2,
                  'lease', '30s')
        self.check(self.k['key'])
        self.assertEqual(self.json('limit', 'show', '--org', self.o,
                                   'fly')['used'], 1)
        self.assertIn('in flight', self.refused('limit', 'reset', '--org',
                                                self.o, 'fly'))
