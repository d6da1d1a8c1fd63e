# SPDX-License-Identifier: MIT
"""nginx with docs/deploy/nginx in front of a sample API."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import harness
from harness import Case, Http, Nginx, SampleApi, wait_until

FORGED = {
    'X-Stile-Org': 'forged', 'X-Stile-Project': 'forged',
    'X-Stile-Key-Id': 'forged', 'X-Stile-Cost': '0',
    'X-Stile-Route': 'forged', 'X-Stile-Scope': 'forged',
    'X-Stile-Peek': '1', 'X-Stile-Reason': 'forged',
    'X-Stile-Status': '200', 'X-Stile-Body': 'forged',
    'X-Stile-Reserve': '1', 'X-Stile-Explain': '1', 'X-Stile-Hold': 'forged',
    'X-Stile-Hold-Expires': 'forged', 'X-Stile-Charged': 'forged',
    'X-Stile-Limit': 'forged', 'X-Stile-Repeated': 'forged',
    'X-Stile-Body-Type': 'forged', 'X-Stile-Credits-Remaining': 'forged',
    'X-Stile-Budget-Remaining': 'forged',
    'X-Request-Id': 'forged', 'X-Forwarded-For': '192.0.2.66',
    'X_Stile_Org': 'forged',
}


def bearer(key, **more):
    return {'Authorization': f'Bearer {key}', **more}


class Proxied(Case):
    """A daemon, nginx and a sample API; an organization per test."""
    edit = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = SampleApi()
        cls.addClassCleanup(cls.api.close)
        cls.nginx = Nginx(cls.d.http_sock, cls.api.port, cls.edit)
        cls.addClassCleanup(cls.nginx.close)

    def setUp(self):
        self.api.seen.clear()
        self.api.status, self.api.headers = 200, {}
        self.org = self.d.org(self.id().rsplit('.', 1)[1], '1000/1h')
        self.key = self.d.key(self.org['id'])

    def used(self):
        return self.d.usage(self.org['id'])[0]

    def assertDenied(self, r, status):
        self.assertEqual(r.status, status)
        self.assertEqual(r['Content-Type'], 'application/json')
        self.assertEqual(r['Cache-Control'], 'no-store')
        self.assertIs(r.json()['success'], False)
        self.assertIsInstance(r.json()['error'], str)
        self.assertEqual(self.api.seen, [], 'the API saw a denied request')


class Shipped(Proxied):
    def test_allowed_request_reaches_the_api_with_identity(self):
        project = self.d.project(self.org['id'], 'web')
        key = self.d.key(self.org['id'], project='web')
        r = self.nginx.ask('/v1/things?a=1', bearer(key['key']))
        self.assertEqual((r.status, r.json()), (200, {'api': 'hello'}))
        seen, = self.api.seen
        self.assertEqual((seen['method'], seen['path']),
                         ('GET', '/v1/things?a=1'))
        headers = dict(seen['headers'])
        self.assertEqual(headers['x-stile-org'], self.org['id'])
        self.assertEqual(headers['x-stile-project'], project['id'])
        self.assertEqual(headers['x-stile-key-id'], key['id'])
        self.assertEqual(headers['x-request-id'], r['X-Request-Id'])
        self.assertEqual(headers['host'], 'stile')  # as the client wrote it

    def test_api_never_sees_the_key(self):
        self.nginx.ask('/v1/x', bearer(self.key['key']))
        self.nginx.ask('/v1/x', {'X-API-Key': self.key['key']})
        self.assertEqual(len(self.api.seen), 2)
        for seen in self.api.seen:
            self.assertNotIn(self.key['key'], str(seen))

    def test_success_shows_the_limit(self):
        left = []
        for _ in range(2):
            r = self.nginx.ask('/v1/x', bearer(self.key['key']))
            self.assertEqual(r['X-RateLimit-Limit'], '1000')
            left.append(int(r['X-RateLimit-Remaining']))
            self.assertRegex(r['X-RateLimit-Reset'], r'^\d{10}$')
            self.assertRegex(r['RateLimit'], rf'^"org";r={left[-1]};t=\d+$')
            self.assertEqual(r['RateLimit-Policy'], '"org";q=1000;w=3600')
            self.assertIsNone(r['Retry-After'])
        self.assertEqual(left, [999, 998])

    def test_forged_headers_change_nothing(self):
        r = self.nginx.ask('/v1/x', bearer(self.key['key'], **FORGED))
        self.assertEqual(r.status, 200)
        self.assertEqual(r['X-RateLimit-Remaining'], '999')
        seen, = self.api.seen
        self.assertNotIn('forged', str(seen['headers']))
        self.assertNotIn('192.0.2.66', str(seen['headers']))
        self.assertNotIn('x-stile-peek', dict(seen['headers']))
        headers = dict(seen['headers'])
        self.assertEqual(headers['x-stile-org'], self.org['id'])
        self.assertNotIn('x-stile-project', headers)
        self.assertEqual(self.used(), 1)

    def test_other_spellings_of_forged_headers_change_nothing(self):
        lines = []
        for name in FORGED:
            for form in (name.lower(), name.upper(), name.replace('-', '_'),
                         name.replace('-', '.'), name + ' ', ' ' + name):
                lines.append(f'{form}: forged')
        lines += ['X-Stile-Org: forged', 'X-Stile-Org: forged',
                  'Connection: close, X-Stile-Org, X-Forwarded-For']
        # Lines that are no headers make nginx refuse the whole request.
        for chosen in (lines, [x for x in lines if not x.startswith(' ')],
                       [x for x in lines if ' ' not in x.split(':')[0]]):
            with Http(self.nginx.port) as c:
                c.send(('GET /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: '
                        f'Bearer {self.key["key"]}\r\n' +
                        '\r\n'.join(chosen) + '\r\n\r\n').encode())
                status = c.get().status
            self.assertIn(status, (200, 400))
            for seen in self.api.seen:
                self.assertNotIn('forged', str(seen['headers']).lower())
                self.assertIn(('x-stile-org', self.org['id']),
                              seen['headers'])
        self.assertEqual(status, 200)

    def test_forged_identity_without_a_key_is_401(self):
        self.assertDenied(self.nginx.ask('/v1/x', FORGED), 401)

    def test_no_key_is_401_without_error_code(self):
        r = self.nginx.ask('/v1/x')
        self.assertDenied(r, 401)
        self.assertEqual(r['WWW-Authenticate'], 'Bearer realm="stile"')

    def test_bad_keys_are_the_same_401(self):
        revoked = self.d.key(self.org['id'])
        self.d.admin('POST', f'/v1/keys/{revoked["id"]}/revoke')
        good = self.key['key']
        wrong_sum = good[:-1] + ('0' if good[-1] != '0' else '1')
        answers = set()
        for key in (revoked['key'], wrong_sum, 'il_x', 'nonsense'):
            r = self.nginx.ask('/v1/x', bearer(key))
            self.assertDenied(r, 401)
            self.assertIn('error="invalid_token"', r['WWW-Authenticate'])
            answers.add((r['WWW-Authenticate'], r.body))
        self.assertEqual(len(answers), 1)

    def test_suspended_organization_is_403(self):
        self.d.admin('POST', f'/v1/orgs/{self.org["id"]}/suspend')
        r = self.nginx.ask('/v1/x', bearer(self.key['key']))
        self.assertDenied(r, 403)
        self.d.admin('POST', f'/v1/orgs/{self.org["id"]}/resume')
        self.assertEqual(
            self.nginx.ask('/v1/x', bearer(self.key['key'])).status, 200)

    def test_over_the_limit_is_429_with_retry_after(self):
        org = self.d.org('small', '2/1h')
        key = self.d.key(org['id'])['key']
        for left in ('1', '0'):
            r = self.nginx.ask('/v1/x', bearer(key))
            self.assertEqual((r.status, r['X-RateLimit-Remaining']),
                             (200, left))
        self.api.seen.clear()
        for method in ('GET', 'POST', 'DELETE'):
            r = self.nginx.ask('/v1/x', bearer(key), method)
            self.assertDenied(r, 429)
            self.assertEqual(r.json()['error'], 'Rate limit exceeded')
            self.assertIn(int(r['Retry-After']), range(3500, 3601))
            self.assertEqual(r['X-RateLimit-Limit'], '2')
            self.assertEqual(r['X-RateLimit-Remaining'], '0')
            self.assertRegex(r['RateLimit'], r'^"org";r=0;t=\d+$')
            self.assertEqual(r['RateLimit-Policy'], '"org";q=2;w=3600')
        r = self.nginx.ask('/v1/x', bearer(key), 'HEAD')
        self.assertEqual((r.status, r.body), (429, b''))
        self.assertEqual(self.d.usage(org['id'])[0], 2)

    def test_two_different_credentials_are_400(self):
        r = self.nginx.ask('/v1/x', bearer(
            self.key['key'], **{'X-API-Key': 'another'}))
        self.assertDenied(r, 400)

    def test_location_sets_the_cost(self):
        headers = bearer(self.key['key'], **{'X-Stile-Cost': '1'})
        for path in ('/v1/convert', '/v1/%63onvert', '/v1/x/../convert',
                     '//v1//convert'):
            before = self.used()
            self.assertEqual(self.nginx.ask(path, headers).status, 200)
            self.assertEqual(self.used() - before, 5, path)

    def test_cost_above_the_limit_is_429_without_retry_after(self):
        org = self.d.org('tiny', '4/1h')
        r = self.nginx.ask('/v1/convert', bearer(
            self.d.key(org['id'])['key']))
        self.assertDenied(r, 429)
        self.assertIsNone(r['Retry-After'])

    def test_statuses_of_the_api_pass_untouched(self):
        self.api.headers = {'WWW-Authenticate': 'Basic', 'Retry-After': '99',
                            'X-RateLimit-Limit': '1', 'X-Request-Id': '1'}
        for status in (401, 403, 404, 429, 500, 503):
            self.api.status = status
            r = self.nginx.ask('/v1/x', bearer(self.key['key']))
            self.assertEqual((r.status, r.json()), (status, {'api': 'hello'}))
            self.assertEqual(r['WWW-Authenticate'], 'Basic')
            self.assertEqual(r['Retry-After'], '99')
            self.assertEqual(r['X-RateLimit-Limit'], '1000')
            self.assertRegex(r['X-Request-Id'], '^[0-9a-f]{32}$')

    def test_bodies_reach_the_api_intact(self):
        for size in (0, 1, 1000, 8192, 16385, 200_000, 1 << 20):
            body = bytes(i * 31 % 251 for i in range(min(size, 5000)))
            body = (body * (size // max(len(body), 1) + 1))[:size]
            for method in ('POST', 'PUT'):
                r = self.nginx.ask('/v1/x', bearer(self.key['key']), method,
                                   body)
                self.assertEqual(r.status, 200)
                seen = self.api.seen.pop()
                self.assertEqual(seen['method'], method)
                self.assertTrue(seen['body'] == body, f'{size} bytes')

    def test_chunked_body_reaches_the_api_intact(self):
        with Http(self.nginx.port) as c:
            c.send(f'POST /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer '
                   f'{self.key["key"]}\r\nTransfer-Encoding: chunked\r\n\r\n'
                   .encode())
            for part in (b'a' * 10, b'b' * 70_000, b'c'):
                c.send(b'%x\r\n%s\r\n' % (len(part), part))
            c.send(b'0\r\n\r\n')
            self.assertEqual(c.get().status, 200)
        self.assertTrue(self.api.seen[0]['body'] ==
                        b'a' * 10 + b'b' * 70_000 + b'c')
        self.assertEqual(self.used(), 1)

    def test_denied_upload_keeps_the_clients_connection(self):
        with Http(self.nginx.port) as c:
            r = c.ask('POST', '/v1/x', body=b'x' * 100_000)
            self.assertDenied(r, 401)
            r = c.ask('GET', '/v1/x', bearer(self.key['key']))
            self.assertEqual(r.status, 200)

    def test_denied_upload_that_waits_for_leave(self):
        with Http(self.nginx.port) as c:
            c.send(b'POST /v1/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue'
                   b'\r\nContent-Length: 1000000\r\n\r\n')
            self.assertDenied(c.get(), 401)
            self.assertEqual(c.buffer, b'')

    def test_body_that_is_too_large(self):
        """client_max_body_size: by its announced length before the check, in
        chunks after it."""
        r = self.nginx.ask('/v1/x', bearer(self.key['key']), 'POST',
                           bytes((1 << 20) + 1))
        self.assertEqual(r.status, 413)
        self.assertEqual(self.used(), 0)
        with Http(self.nginx.port) as c:
            c.send(f'POST /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer '
                   f'{self.key["key"]}\r\nTransfer-Encoding: chunked\r\n\r\n'
                   .encode())
            try:
                c.send((b'%x\r\n%s\r\n' % (1 << 16, bytes(1 << 16))) * 17)
            except ConnectionError:
                pass
            self.assertEqual(c.get().status, 413)
        self.assertEqual(self.used(), 1)
        self.assertEqual(self.api.seen, [])

    def test_old_and_pipelining_clients(self):
        head = (f'Host: a\r\nAuthorization: Bearer {self.key["key"]}'
                '\r\n\r\n')
        with Http(self.nginx.port) as c:
            c.send(f'GET /v1/x HTTP/1.0\r\n{head}'.encode())
            self.assertEqual(c.get().status, 200)
            self.assertTrue(c.is_closed())
        with Http(self.nginx.port) as c:
            c.send(f'GET /v1/x HTTP/1.1\r\n{head}'.encode() * 5)
            self.assertEqual([c.get()['X-RateLimit-Remaining']
                              for _ in range(5)],
                             ['998', '997', '996', '995', '994'])

    def test_upgrade_is_not_passed_on(self):
        r = self.nginx.ask('/v1/x', bearer(
            self.key['key'], Upgrade='websocket', Connection='Upgrade'))
        self.assertEqual(r.status, 200)
        names = dict(self.api.seen[0]['headers'])
        self.assertNotIn('upgrade', names)
        self.assertNotIn('connection', names)

    def test_denials_make_no_noise_in_the_error_log(self):
        before = self.nginx.log()
        org = self.d.org('noise', '1/1h')
        key = self.d.key(org['id'])['key']
        for headers in ({}, bearer('bad'), bearer(key), bearer(key),
                        bearer(key, **{'X-API-Key': 'another'})):
            self.nginx.ask('/v1/x', headers)
        self.assertEqual(self.nginx.log(), before)

    def test_checks_share_connections_to_the_gate(self):
        self.nginx.ask('/v1/x', bearer(self.key['key']))
        before = self.d.metric('connections_accepted_total')
        for i in range(50):
            key = self.key['key'] if i % 2 else 'bad'
            self.nginx.ask('/v1/x', bearer(key))
        opened = self.d.metric('connections_accepted_total') - before
        # One for each nginx worker, and those of the admin API.
        self.assertLess(opened, 10)

    def test_request_beside_the_api_is_not_checked(self):
        before = self.d.metric('checks_total')
        r = self.nginx.ask('/')
        self.assertEqual((r.status, r.body), (200, b'not the API\n'))
        self.assertIsNone(r['X-RateLimit-Limit'])
        self.assertEqual(self.d.metric('checks_total'), before)

    def test_internal_location_is_not_reachable(self):
        self.assertEqual(self.nginx.ask('/_stile').status, 404)

    def test_huge_credentials_are_refused(self):
        r = self.nginx.ask('/v1/x', {'Authorization': 'Bearer ' + 'a' * 8000,
                                     'X-API-Key': 'b' * 8100})
        self.assertIn(r.status, (400, 401, 503))
        self.assertEqual(self.api.seen, [])


class Http2(Proxied):
    """The same file with `http2` added to its listen line."""
    edit = {'stile.conf': lambda text: re.sub(r'(listen [^;]+);',
                                              r'\1 http2;', text)}

    def ask(self, *options):
        """(status, {header: value}, body) as curl sees them."""
        p = subprocess.run(
            ['curl', '-s', '-i', '--http2-prior-knowledge', '--max-time', '20',
             *options, f'http://127.0.0.1:{self.nginx.port}/v1/x'],
            capture_output=True, text=True, timeout=30)
        self.assertEqual(p.returncode, 0, p.stderr)
        head, body = p.stdout.split('\n\n', 1)
        status, *lines = head.split('\n')
        self.assertTrue(status.startswith('HTTP/2 '))
        return (int(status.split()[1]),
                dict(line.split(': ', 1) for line in lines), body)

    def test_allowed_denied_and_limited(self):
        org = self.d.org('http2', '1/1h')
        key = ['-H', 'Authorization: Bearer ' + self.d.key(org['id'])['key']]
        forged = [x for n, v in FORGED.items() for x in ('-H', f'{n}: {v}')]
        status, headers, _ = self.ask(*key, *forged, '-d', 'body')
        self.assertEqual((status, headers['x-ratelimit-remaining']),
                         (200, '0'))
        seen = self.api.seen.pop()
        self.assertEqual(seen['body'], b'body')
        self.assertNotIn('forged', str(seen['headers']))
        self.assertIn(('x-stile-org', org['id']), seen['headers'])
        status, headers, body = self.ask(*key)
        self.assertEqual((status, headers['content-type']),
                         (429, 'application/json'))
        self.assertIn('retry-after', headers)
        self.assertEqual(json.loads(body)['success'], False)
        status, headers, _ = self.ask(*forged)
        self.assertEqual(status, 401)
        self.assertIn('www-authenticate', headers)
        self.assertEqual(self.api.seen, [])


class GateAway(Proxied):
    def stopped(self):
        tasks = Path(f'/proc/{self.d.pid}/task').iterdir()
        return all((t / 'stat').read_text().rsplit(')', 1)[1].split()[0] ==
                   'T' for t in tasks)

    def gone(self, r):
        self.assertDenied(r, 503)
        self.assertEqual(r['Retry-After'], '1')

    def test_down_is_503_and_a_new_gate_serves_at_once(self):
        headers = bearer(self.key['key'])
        self.assertEqual(self.nginx.ask('/v1/x', headers).status, 200)
        for end in (self.d.stop, self.d.kill9):
            end()
            self.api.seen.clear()
            self.gone(self.nginx.ask('/v1/x', headers))
            self.gone(self.nginx.ask('/v1/x', FORGED))
            self.assertEqual(self.nginx.ask('/').status, 200)
            self.d.start()
            self.assertEqual(self.nginx.ask('/v1/x', headers).status, 200)
        self.assertEqual(self.used(), 3)

    def test_silent_gate_is_503_within_seconds(self):
        os.kill(self.d.pid, signal.SIGSTOP)
        wait_until(self.stopped, 'every thread has stopped')
        try:
            begin = harness.now()
            self.gone(self.nginx.ask('/v1/x', bearer(self.key['key'])))
            self.assertLess(harness.now() - begin, 5)
        finally:
            os.kill(self.d.pid, signal.SIGCONT)


class FullGate(Proxied):
    config = 'workers: 1\nhttp: {max_connections: 1}\n'

    def test_full_is_503_and_serves_when_there_is_room(self):
        """nginx finds either the gate's 503 or a closed connection, by chance:
        hence many tries."""
        headers = bearer(self.key['key'])
        with self.d.http() as c:
            self.assertEqual(c.ask('GET', '/livez').status, 200)
            for _ in range(30):
                r = self.nginx.ask('/v1/x', headers)
                self.assertDenied(r, 503)
                self.assertEqual(r['Retry-After'], '1')
        harness.wait_until(
            lambda: self.nginx.ask('/v1/x', headers).status == 200,
            'there is room again')
        self.assertEqual(self.used(), 1)


def fail_open(text):
    """Exactly the change that the file describes."""
    return re.sub(r'\treturn 403;\n(.*\n.*\n)\t#return 204;',
                  r'\1\treturn 204;', text)


class FailOpen(Proxied):
    edit = {'snippets/stile-gate.conf': fail_open}

    def test_passes_while_the_gate_is_down_and_denies_again_after(self):
        self.assertDenied(self.nginx.ask('/v1/x'), 401)
        self.d.stop()
        r = self.nginx.ask('/v1/x', FORGED)
        self.assertEqual((r.status, r.json()), (200, {'api': 'hello'}))
        self.assertIsNone(r['X-RateLimit-Limit'])
        seen = self.api.seen.pop()
        self.assertNotIn('forged', str(seen['headers']))
        self.assertNotIn('x-stile-org', dict(seen['headers']))
        self.d.start()
        self.assertDenied(self.nginx.ask('/v1/x', FORGED), 401)

    def test_strange_credentials_do_not_open_it(self):
        for value in (b'', b'Bearer', b'Bearer ', b'Bearer \t', b'\x01',
                      b'Bearer \x01', b'Bearer a\x7fb', b'Bearer \xff\xfe',
                      b'Bearer a, Bearer b', b'Basic YTpi', b'\xc3\xa9' * 99,
                      b'Bearer a\x00b', b'Bearer a\rb'):
            for name in (b'Authorization', b'X-API-Key'):
                with Http(self.nginx.port) as c:
                    c.send(b'GET /v1/x HTTP/1.1\r\nHost: a\r\n%s: %s\r\n\r\n'
                           % (name, value))
                    self.assertIn(c.get().status, (400, 401), value)
                self.assertEqual(self.api.seen, [])

    def test_malformed_requests_do_not_open_it(self):
        for size in (300, 2000, 8000):
            for headers in (bearer('a' * size),
                            bearer('a' * size, **{'X-API-Key': 'b' * 8100})):
                r = self.nginx.ask('/v1/x', headers)
                self.assertIn(r.status, (400, 401))
                self.assertEqual(self.api.seen, [])
