# SPDX-License-Identifier: MIT
"""What docs/deploy/nginx asks a gate, and what it makes of any answer."""

import socket
import tempfile
import threading
import unittest

from harness import Closed, Nginx, SampleApi, Stream
from nginx_test import FORGED


class FakeGate:
    """Keeps the requests that nginx sends and answers what it is told to."""

    def __init__(self):
        self.top = tempfile.TemporaryDirectory()
        self.path = self.top.name + '/http.sock'
        self.heads, self.rest, self.answer = [], [], b''
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                conn = self.listener.accept()[0]
            except OSError:
                return
            stream = Stream.__new__(Stream)
            stream.sock, stream.buffer = conn, b''
            with stream:
                try:
                    self.heads.append(stream.take_until(b'\r\n\r\n').decode())
                    stream.send(self.answer)
                    stream.half_close()
                    stream.is_closed()
                except (Closed, OSError):
                    pass
                self.rest.append(stream.buffer)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.top.cleanup()


class Asked(unittest.TestCase):
    """What the shipped files ask, and what they make of any answer."""
    edit = None

    @classmethod
    def setUpClass(cls):
        cls.api = SampleApi()
        cls.addClassCleanup(cls.api.close)
        cls.gate = FakeGate()
        cls.addClassCleanup(cls.gate.close)
        cls.nginx = Nginx(cls.gate.path, cls.api.port, cls.edit)
        cls.addClassCleanup(cls.nginx.close)

    def setUp(self):
        for seen in (self.api.seen, self.gate.heads, self.gate.rest):
            seen.clear()

    def ask(self, answer, headers=(), path='/v1/x', method='GET', body=None):
        self.gate.answer = answer
        return self.nginx.ask(path, headers, method, body)

    @staticmethod
    def answer(status, *lines):
        return '\r\n'.join([f'HTTP/1.1 {status} X', 'Content-Length: 0',
                            *lines, '', '']).encode()

    def test_request_to_the_gate(self):
        r = self.ask(self.answer(200), {
            **FORGED, 'Authorization': 'Bearer k', 'X-API-Key': 'a',
            'Cookie': 'c', 'Range': 'bytes=0-1', 'If-None-Match': 'x',
            'Accept-Encoding': 'gzip'}, '/v1/convert?a=b', 'POST', b'body')
        self.assertEqual(r.status, 200)
        line, *headers = self.gate.heads.pop().split('\r\n')
        self.assertEqual(line, 'GET /v1/check/nginx HTTP/1.1')
        headers = dict(h.split(': ', 1) for h in headers)
        self.assertEqual(headers.pop('Host'), 'stile_gate')
        self.assertEqual(headers, {
            'Authorization': 'Bearer k', 'X-API-Key': 'a',
            'X-Request-Id': r['X-Request-Id'], 'X-Forwarded-For': '127.0.0.1',
            'X-Stile-Cost': '5', 'X-Stile-Route': 'convert'})
        self.ask(self.answer(200))
        headers = self.gate.heads.pop().split('\r\n')[1:]
        self.assertEqual({h.split(':')[0] for h in headers},
                         {'Host', 'X-Request-Id', 'X-Forwarded-For'})
        self.assertEqual(b''.join(self.gate.rest), b'')

    def test_every_status_reaches_the_client(self):
        for asked, means in ((401, 401), (403, 402), (403, 403), (403, 429),
                             (403, 400), (403, 503)):
            r = self.ask(self.answer(
                asked, f'X-Stile-Status: {means}', 'Retry-After: 7',
                'X-Stile-Body: {"success":false,"error":"é $host"}',
                'WWW-Authenticate: Bearer x'))
            self.assertEqual((r.status, r.json()['error']),
                             (means, 'é $host'))
            self.assertEqual(r['Retry-After'], '7')
            self.assertEqual(r['WWW-Authenticate'],
                             'Bearer x' if asked == 401 else None)
            self.assertEqual(r['Content-Type'], 'application/json')
        self.assertEqual(self.api.seen, [])

    def test_problem_keeps_its_content_type(self):
        body = '{"type":"about:blank","status":402,"detail":"é $host"}'
        problem, json = 'application/problem+json', 'application/json'
        for asked, means, path, kind, seen in (
                (403, 402, '/v1/x', problem, problem),
                (401, 401, '/v1/page.html', problem, problem),
                (403, 429, '/v1/page.html', json, json),
                (403, 400, '/v1/a.problem', json, json),
                (403, 403, '/v1/x', 'text/html', json)):
            r = self.ask(self.answer(
                asked, f'X-Stile-Status: {means}', f'X-Stile-Body: {body}',
                f'X-Stile-Body-Type: {kind}', 'X-Stile-Limit: burst'),
                path=path)
            self.assertEqual((r.status, r['Content-Type']), (means, seen))
            self.assertEqual(r.body.decode(), body)
            self.assertEqual(r['X-Stile-Limit'], 'burst')

    def test_api_learns_what_is_held(self):
        self.ask(self.answer(200, 'X-Stile-Hold: 00000a0000000001',
                             'X-Stile-Hold-Expires: 30',
                             'X-Stile-Charged: 20'),
                 {'X-Stile-Hold': 'forged', 'X-Stile-Charged': 'forged'})
        headers = dict(self.api.seen[0]['headers'])
        self.assertEqual(headers['x-stile-hold'], '00000a0000000001')
        self.assertEqual(headers['x-stile-hold-expires'], '30')
        self.assertEqual(headers['x-stile-charged'], '20')
        self.ask(self.answer(200), FORGED)
        self.assertNotIn('x-stile-hold', dict(self.api.seen[1]['headers']))

    def test_nonsense_never_opens_it(self):
        for answer in (b'', b'\n', b'nonsense\r\n\r\n', self.answer(500),
                       self.answer(302, 'Location: /'), self.answer(404),
                       self.answer(429, 'X-Stile-Status: 429'),
                       self.answer(401), self.answer(403),
                       self.answer(403, 'X-Stile-Status: 200'),
                       self.answer(403, 'X-Stile-Status: 999'),
                       self.answer(403, 'X-Stile-Status: forged'),
                       self.answer(403, 'X-Big: ' + 'x' * 70_000),
                       self.answer(200, 'X-Big: ' + 'x' * 70_000)):
            r = self.ask(answer)
            self.assertGreaterEqual(r.status, 400, answer[:60])
            self.assertEqual(self.api.seen, [], answer[:60])


class Reserving(Asked):
    """What a protected location may `set`."""

    edit = {'stile.conf': lambda text: text.replace(
        'set $stile_route convert;',
        'set $stile_route convert; set $stile_scope files:write;'
        ' set $stile_reserve 30s;')}

    def test_request_to_the_gate(self):
        self.ask(self.answer(200), FORGED, '/v1/convert')
        headers = dict(h.split(': ', 1) for h in
                       self.gate.heads.pop().split('\r\n')[1:])
        self.assertEqual(
            {n: v for n, v in headers.items() if n.startswith('X-Stile')},
            {'X-Stile-Cost': '5', 'X-Stile-Route': 'convert',
             'X-Stile-Scope': 'files:write', 'X-Stile-Reserve': '30s'})
