# SPDX-License-Identifier: MIT
"""nginx with docs/deploy/nginx in front of a sample API."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import harness
from harness import (Case, Closed, Http, Nginx, SampleApi, Stream,
                     wait_until)

SCGI_SOCK = Path(tempfile.gettempdir()) / f'stile-e2e-scgi-{os.getpid()}' / 's'

FORGED = {
    'X-Stile-Org': 'forged', 'X-Stile-Project': 'forged',
    'X-Stile-Key-Id': 'forged', 'X-Stile-Cost': '0',
    'X-Stile-Route': 'forged', 'X-Stile-Scope': 'forged',
    'X-Stile-Peek': '1', 'X-Stile-Reason': 'forged',
    'X-Stile-Status': '200', 'X-Stile-Body': 'forged',
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


class OtherUpstreams(Proxied):
    """scgi_pass stands for the kinds that ignore proxy_set_header."""
    edit = {'stile.conf': lambda text: text.replace('\n\tlocation / {', r'''
	location /bare/ {
		include snippets/stile-protect.conf;
		scgi_pass unix:scgi.sock;
	}
	location /told/ {
		include snippets/stile-protect.conf;
		scgi_param HTTP_X_STILE_ORG $stile_org;
		scgi_param HTTP_X_STILE_PROJECT $stile_project;
		scgi_param HTTP_AUTHORIZATION "";
		scgi_pass unix:scgi.sock;
	}

	location / {''').replace('unix:scgi.sock', f'unix:{SCGI_SOCK}')}

    @classmethod
    def setUpClass(cls):
        SCGI_SOCK.parent.mkdir()
        cls.addClassCleanup(shutil.rmtree, SCGI_SOCK.parent, True)
        super().setUpClass()

    def parameters(self, path):
        """What an SCGI program would be told of a request with forged
        headers."""
        SCGI_SOCK.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(SCGI_SOCK))
            listener.listen()
            with Http(self.nginx.port) as c:
                c.put('GET', path, bearer(self.key['key'], **FORGED))
                program = Stream.__new__(Stream)
                program.sock, program.buffer = listener.accept()[0], b''
                program.sock.settimeout(harness.IO_TIMEOUT_S)
                with program:
                    size = int(program.take_until(b':'))
                    words = program.take(size).decode().split('\0')[:-1]
                    program.send(b'Status: 200 OK\r\n\r\n')
                self.assertEqual(c.get().status, 200)
        return dict(zip(words[::2], words[1::2]))

    def test_identity_has_to_be_set_again(self):
        told = self.parameters('/bare/x')
        self.assertEqual(told['HTTP_X_STILE_ORG'], 'forged')
        told = self.parameters('/told/x')
        self.assertEqual(told['HTTP_X_STILE_ORG'], self.org['id'])
        self.assertEqual(told.get('HTTP_X_STILE_PROJECT', ''), '')
        self.assertEqual(told.get('HTTP_AUTHORIZATION', ''), '')
        self.assertNotIn(self.key['key'], str(told))


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


REDIRECTS = r'''
	location /index/ {
		include snippets/stile-protect.conf;
		root html; index index.html;
	}
	location /tried/ {
		include snippets/stile-protect.conf;
		root html; try_files $uri /tried/index.html;
	}
	location /error/ {
		include snippets/stile-protect.conf;
		root html; error_page 404 /error/index.html;
	}
	location /files/ {
		include snippets/stile-protect.conf;
		root html; try_files $uri $uri/index.html =404;
	}
	location /named/ {
		include snippets/stile-protect.conf;
		root html; try_files $uri @named;
	}
	location @named { proxy_pass http://sample_api; }
	location /accel/ {
		include snippets/stile-protect.conf;
		proxy_pass http://sample_api;
	}
	location /accelerated/ { internal; root html; }
	location /rewritten/ {
		include snippets/stile-protect.conf;
		rewrite ^/rewritten/(.*)$ /v1/$1 last;
	}
	location /returned/ {
		include snippets/stile-protect.conf;
		return 204;
	}
	location /forbidden/ {
		include snippets/stile-protect.conf;
		deny all; proxy_pass http://sample_api;
	}
	location /satisfied/ {
		include snippets/stile-protect.conf;
		satisfy any; allow all;
		proxy_pass http://sample_api;
	}
	location /socket/ {
		include snippets/stile-protect.conf;
		proxy_set_header Connection upgrade;
		proxy_set_header Upgrade $http_upgrade;
		proxy_pass http://sample_api;
	}
	location /preflight/ {
		include snippets/stile-protect.conf;
		if ($request_method = OPTIONS) { return 204; }
		proxy_pass http://sample_api;
	}
	location /outer/ {
		set $stile_cost 7;
		include snippets/stile-protect.conf;
		if ($request_method = POST) { set $stile_cost 9; }
		proxy_pass http://sample_api;
		location /outer/inner/ { proxy_pass http://sample_api; }
		location /outer/own/ {
			proxy_set_header X-Own 1;
			proxy_pass http://sample_api;
		}
	}

	location / {'''


class Traps(Proxied):
    """What the README says about locations that people add."""
    edit = {'stile.conf': lambda text: text.replace('\n\tlocation / {',
                                                    REDIRECTS)}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ('index', 'tried', 'error', 'files', 'accelerated'):
            (cls.nginx.conf / 'html' / name).mkdir()
            (cls.nginx.conf / 'html' / name / 'index.html').write_text(name)

    def charge(self, path, status=200, method='GET'):
        before = self.used()
        r = self.nginx.ask(path, bearer(self.key['key'], **FORGED), method)
        self.assertEqual(r.status, status, path)
        return self.used() - before

    def test_internal_redirects_charge_twice(self):
        self.assertEqual(self.charge('/index/'), 2)
        self.assertEqual(self.charge('/tried/nothing'), 2)
        self.assertEqual(self.charge('/error/nothing', 404), 2)

    def test_forms_without_redirect_charge_once(self):
        self.assertEqual(self.charge('/files/'), 1)
        self.assertEqual(self.charge('/files/nothing', 404), 1)
        self.assertEqual(self.charge('/named/nothing'), 1)
        self.assertEqual(self.charge('/rewritten/x'), 1)
        self.api.headers = {'X-Accel-Redirect': '/accelerated/index.html'}
        self.assertEqual(self.charge('/accel/x'), 1)

    def test_return_and_deny_come_before_the_check(self):
        self.assertEqual(self.charge('/returned/x', 204), 0)
        self.assertEqual(self.charge('/forbidden/x', 403), 0)

    def test_403_of_nginx_after_the_check_stays_one(self):
        (self.nginx.conf / 'html' / 'index' / 'empty').mkdir()
        self.assertEqual(self.charge('/index/empty/', 403), 1)

    def test_satisfy_any_makes_the_check_optional(self):
        self.assertEqual(self.nginx.ask('/satisfied/x').status, 200)

    def test_websocket_is_checked_once_when_it_opens(self):
        self.api.status = 101
        self.api.headers = {'Upgrade': 'websocket', 'Connection': 'upgrade'}
        upgrade = {'Upgrade': 'websocket', 'Connection': 'upgrade'}
        with Http(self.nginx.port) as c:
            r = c.ask('GET', '/socket/x', bearer(self.key['key'], **upgrade))
            self.assertEqual(r.status, 101)
        self.assertEqual(self.used(), 1)
        self.assertIn(('upgrade', 'websocket'), self.api.seen[0]['headers'])
        self.api.seen.clear()
        self.assertDenied(self.nginx.ask('/socket/x', upgrade), 401)

    def test_preflight_can_be_let_through(self):
        self.assertEqual(self.nginx.ask('/preflight/x', method='OPTIONS')
                         .status, 204)
        self.assertDenied(self.nginx.ask('/preflight/x'), 401)

    def test_nested_location_inherits_protection_but_not_cost(self):
        self.assertEqual(self.charge('/outer/x'), 7)
        self.assertEqual(self.charge('/outer/x', method='POST'), 9)
        self.assertEqual(self.charge('/outer/inner/x'), 1)
        self.assertNotIn('forged', str(self.api.seen))

    def test_own_header_line_loses_the_overwriting(self):
        self.assertEqual(self.charge('/outer/own/x'), 1)
        self.assertIn(('x-stile-org', 'forged'), self.api.seen[0]['headers'])


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
