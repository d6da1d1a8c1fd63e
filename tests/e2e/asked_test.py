# SPDX-License-Identifier: MIT
"""What a check may say besides its key, and the forms of the answers."""

from harness import ALLOW, BAD_REQUEST, PEEK, Case, Http, ask, frame
from native_long import (MORE, NO_HOLD, NOT_COUNTED, long_frame,
                         settle_frame)


class Asked(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.org = cls.d.org('acme', '1000/1h')
        cls.key = cls.d.key(cls.org['id'])['key']

    def http(self, headers=(), path='/v1/check', method='POST'):
        return ask(self.d.http_sock, path, headers, method)

    def test_headers_that_steer_a_check_are_taken(self):
        r = self.http({'X-API-Key': self.key, 'X-Stile-Route': 'convert',
                       'X-Request-Id': 'b8c4', 'X-Forwarded-For':
                       '192.0.2.1, [2001:db8::1]:443'})
        self.assertEqual((r.status, r['X-Stile-Charged']), (200, '1'))
        r = self.http({'X-API-Key': self.key, 'X-Stile-Cost': '7'})
        self.assertEqual((r.status, r['X-Stile-Charged']), (200, '7'))

    def test_malformed_headers_are_bad_requests(self):
        # Each is told by its name, and what it has to be.
        for name, value, what in (
                ('X-Stile-Cost', '0', '1 to 1000000'),
                ('X-Stile-Peek', '2', '0 or 1'),
                ('X-Stile-Explain', 'yes', '0 or 1'),
                ('X-Stile-Reserve', '2', '30s'),
                ('X-Stile-Reserve', '30', '30s'),
                ('X-Stile-Route', 'r' * 64, '1 to 63'),
                ('X-Stile-Scope', 'a\tb', '1 to 63'),
                ('X-Stile-Hold', '0' * 15 + '1', '/v1/settle'),
                ('X-Request-Id', 'i' * 129, '128 bytes'),
                ('X-Forwarded-For', '192.0.2.1, me', 'IPv4 or IPv6')):
            r = self.http({'X-API-Key': self.key, name: value})
            self.assertEqual((r.status, r['X-Stile-Reason']),
                             (400, 'bad_request'), name)
            error = r.json()['error']
            self.assertIn(what, error, name)
            self.assertIn('Cost' if name == 'X-Stile-Cost' else name, error)

    def test_malformed_headers_of_a_settlement_are_named(self):
        hold = '00000a0000000001'
        for path, headers, what in (
                ('settle', {}, 'X-Stile-Hold must be'),
                ('settle', {'X-Stile-Hold': 'x'}, 'X-Stile-Hold must be'),
                ('settle', {'X-Stile-Hold': hold, 'X-Stile-Cost': '-1'},
                 'Cost must be a whole number from 0'),
                ('refund', {'X-Stile-Hold': hold, 'X-Stile-Cost': '1'},
                 'X-Stile-Cost is for'),
                ('release', {'X-Stile-Hold': hold, 'X-Stile-Peek': '1'},
                 'X-Stile-Peek is for')):
            r = self.http(headers, '/v1/' + path)
            self.assertEqual(r.status, 400, path)
            self.assertIn(what, r.json()['error'])

    def test_nothing_is_settled_that_is_not_held(self):
        hold = {'X-Stile-Hold': '00000a0000000001'}
        for path in ('/v1/settle', '/v1/refund', '/v1/release'):
            r = self.http(hold, path)
            self.assertEqual((r.status, r['X-Stile-Reason']),
                             (404, 'no_hold'), path)
            self.assertEqual(self.http({'X-API-Key': self.key}, path).status,
                             400, path)

    def test_frames_of_all_types_on_one_connection(self):
        with self.d.native() as n:
            for cut in (1, 100, 128, 200, 384, 10_000):
                data = (frame(self.key, 1, flags=PEEK) +
                        long_frame(self.key, 2, 3, bytes([cut % 256]) * 16,
                                   b'convert') +
                        settle_frame(3, 0xa0000000001, 1) +
                        frame(self.key, 4, flags=PEEK) +
                        long_frame(self.key, 5, route=b'r' * 64))
                for at in range(0, len(data), cut):
                    n.send(data[at:at + cut])
                r = n.get()
                self.assertEqual((r.type, r.request_id), (129, 1))
                r, more = n.get(), MORE.unpack(n.take(64))
                self.assertEqual((r.type, r.request_id, r.reason),
                                 (131, 2, ALLOW))
                self.assertEqual(more, (b'org'.ljust(24, b'\0'), 0, 0,
                                        0 if cut == 384 else 3, NOT_COUNTED,
                                        NOT_COUNTED, cut == 384, 0, bytes(6)))
                r, more = n.get(), n.take(64)
                self.assertEqual((r.type, r.request_id, r.reason),
                                 (133, 3, NO_HOLD))
                self.assertEqual(more, bytes(64))
                self.assertEqual(n.get().request_id, 4)
                r, more = n.get(), n.take(64)
                self.assertEqual((r.type, r.reason, r.detail),
                                 (131, BAD_REQUEST, 6))


class Nested(Case):
    config = 'http: {errors: nested}\n'
    kind = 'application/json'
    limited = {'error': {'code': 'RATE_LIMITED',
                         'message': 'Rate limit exceeded',
                         'details': {'limit': 'org'}}}

    def test_each_denial_has_the_configured_form(self):
        key = self.d.key(self.d.org('small', '1/1h')['id'])['key']
        with Http(self.d.http_sock) as c:
            self.assertEqual(c.ask('GET', '/v1/check',
                                   {'X-API-Key': key}).status, 200)
            r = c.ask('GET', '/v1/check', {'X-API-Key': key})
            body = r.json()
            if 'error' in body:
                wait = body['error']['details'].pop('retry_after_ms')
                self.assertLessEqual(wait, 3_600_000)
            self.assertEqual((r.status, r['Content-Type'], body),
                             (429, self.kind, self.limited))
            self.assertEqual(r['X-Stile-Limit'], 'org')
            r = c.ask('GET', '/v1/check/nginx')
            self.assertEqual((r.status, r.body), (401, b''))
            self.assertEqual(r['X-Stile-Body-Type'], self.kind)
            self.assertEqual(
                r['X-Stile-Body'].encode(), c.ask('GET', '/v1/check').body)


class Problem(Nested):
    config = 'http: {errors: problem}\n'
    kind = 'application/problem+json'
    limited = {
        'type': 'https://iana.org/assignments/http-problem-types'
                '#quota-exceeded',
        'title': 'Request cannot be satisfied as assigned quota has been '
                 'exceeded',
        'status': 429, 'detail': 'Rate limit exceeded',
        'reason': 'rate_limited', 'violated-policies': ['org']}
