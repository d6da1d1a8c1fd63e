# SPDX-License-Identifier: MIT
"""What the README of docs/deploy/nginx says about locations that people add."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import harness
from harness import Http, Stream
from nginx_test import FORGED, Proxied, bearer

SCGI_SOCK = Path(tempfile.gettempdir()) / f'stile-e2e-scgi-{os.getpid()}' / 's'

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
	location /dearer/ {
		include snippets/stile-protect.conf;
		root html; try_files $uri /outer/x;
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

    def test_internal_redirects_ask_twice_and_charge_once(self):
        for path, status in (('/index/', 200), ('/tried/nothing', 200),
                             ('/error/nothing', 404)):
            before = self.d.metric('checks_total')
            self.assertEqual(self.charge(path, status), 1, path)
            self.assertEqual(self.d.metric('checks_total') - before, 2, path)
            # Another request of the client's is charged again.
            self.assertEqual(self.charge(path, status), 1, path)

    def test_internal_redirect_to_another_cost_charges_both(self):
        self.assertEqual(self.charge('/dearer/nothing'), 1 + 7)

    def test_last_unit_is_enough_for_an_internal_redirect(self):
        org = self.d.org('last', '1/1h')
        key = bearer(self.d.key(org['id'])['key'])
        self.assertEqual(self.nginx.ask('/index/', key).status, 200)
        self.assertEqual(self.nginx.ask('/index/', key).status, 429)
        self.assertEqual(self.d.usage(org['id'])[0], 1)

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
