# SPDX-License-Identifier: MIT
"""Routes, budgets, credits and what a key is for, through nginx."""

from harness import wait_until
from nginx_test import FORGED, Proxied, bearer

ROUTES = '''routes:
  document-extraction:
    cost: 1
    scope: documents
  image-generation: 2
usage_interval: 1s
'''

LOCATIONS = r'''
	location /v1/image {
		set $stile_route image-generation;
		include snippets/stile-protect.conf;
		proxy_pass http://sample_api;
	}
	location /v1/dear {
		set $stile_route image-generation;
		set $stile_cost 7;
		include snippets/stile-protect.conf;
		proxy_pass http://sample_api;
	}
	location /v1/extract {
		set $stile_route document-extraction;
		include snippets/stile-protect.conf;
		proxy_pass http://sample_api;
	}
	location /v1/scoped {
		set $stile_route document-extraction;
		set $stile_scope documents:write;
		include snippets/stile-protect.conf;
		proxy_pass http://sample_api;
	}
	location /v1/unknown {
		set $stile_route nobody-declared-it;
		include snippets/stile-protect.conf;
		proxy_pass http://sample_api;
	}

	location / {'''


class Routes(Proxied):
    config = ROUTES
    edit = {'stile.conf': lambda text: text.replace('\n\tlocation / {',
                                                    LOCATIONS)}

    def ask(self, path, key=None, **headers):
        self.api.seen.clear()
        return self.nginx.ask(path, bearer((key or self.key)['key'],
                                           **headers))

    def assertRefused(self, r, status, error):
        self.assertDenied(r, status)
        self.assertEqual(r.json()['error'], error)

    def by_route(self):
        page = self.d.admin(
            'GET', f'/v1/usage?org={self.org["id"]}&by=route')
        return {r['route']: r['units'] for r in page['rows']}

    def test_a_route_has_a_price_unless_the_location_says_a_cost(self):
        prices = {'/v1/image': 2, '/v1/dear': 7, '/v1/extract': 1,
                  '/v1/unknown': 1, '/v1/x': 1, '/v1/convert': 5}
        for path, price in prices.items():
            for forged in ({}, FORGED):
                before = self.used()
                r = self.ask(path, **forged)
                self.assertEqual(r.status, 200)
                self.assertEqual(self.used() - before, price, path)
                seen, = self.api.seen
                self.assertEqual(dict(seen['headers'])['x-stile-charged'],
                                 str(price), path)
        wait_until(lambda: sum(self.by_route().values()) == 34,
                   'usage was collected')
        self.assertEqual(self.by_route(), {
            None: 2, 'other': 12, 'image-generation': 18,
            'document-extraction': 2})

    def test_a_price_counts_at_the_limit(self):
        org = self.d.org('three', '3/1h')
        key = self.d.key(org['id'])
        r = self.ask('/v1/image', key)
        self.assertEqual((r.status, r['X-RateLimit-Remaining']), (200, '1'))
        self.assertRefused(self.ask('/v1/image', key), 429,
                           'Rate limit exceeded')
        self.assertEqual(self.ask('/v1/x', key).status, 200)
        self.assertEqual(self.d.usage(org['id'])[0], 3)

    def test_a_key_needs_the_scope_of_the_route(self):
        def key(*scopes):
            return self.d.key(self.org['id'], scopes=list(scopes))

        for other in (key('images'), key('document'), key('documents:write')):
            r = self.ask('/v1/extract', other,
                         **{'X-Stile-Scope': 'images'})
            self.assertRefused(r, 403, 'Insufficient permissions')
            # Rate headers whenever the organization is known.
            self.assertEqual(r['X-RateLimit-Remaining'], '1000')
            self.assertIsNone(r['Retry-After'])
            self.assertIsNone(r['WWW-Authenticate'])
        self.assertEqual(self.used(), 0)
        for good in (key('documents'), key('images', 'documents'), self.key):
            self.assertEqual(self.ask('/v1/extract', good).status, 200)
        # No scope is asked for there.
        self.assertEqual(self.ask('/v1/image', key('x')).status, 200)
        # The location's own word counts in place of the route's.
        self.assertRefused(self.ask('/v1/scoped', key('documents')), 403,
                           'Insufficient permissions')
        self.assertEqual(
            self.ask('/v1/scoped', key('documents:write')).status, 200)

    def test_a_key_of_some_routes_is_for_no_other(self):
        key = self.d.key(self.org['id'], routes=['image-generation'])
        self.assertEqual(self.ask('/v1/image', key).status, 200)
        for path in ('/v1/extract', '/v1/convert', '/v1/unknown', '/v1/x'):
            r = self.ask(path, key, **{'X-Stile-Route': 'image-generation'})
            self.assertRefused(r, 403, 'API key is not valid for this route')
        self.assertEqual(self.used(), 2)

    def test_a_key_of_some_networks_is_for_no_other(self):
        for networks, status in ((['127.0.0.0/8'], 200), (['127.0.0.1'], 200),
                                 (['10.0.0.0/8', '127.0.0.1'], 200),
                                 (['10.0.0.0/8'], 403),
                                 (['2001:db8::/32'], 403)):
            key = self.d.key(self.org['id'], networks=networks)
            r = self.ask('/v1/x', key, **{'X-Forwarded-For': '10.0.0.1'})
            self.assertEqual(r.status, status, networks)
            if status == 403:
                self.assertRefused(
                    r, 403, 'API key is not valid from this address')
        self.assertEqual(self.used(), 3)

    def test_credits_are_spent_to_the_last_one(self):
        org = self.d.admin('POST', '/v1/orgs', {
            'name': 'paid', 'limit': '100/1h', 'credits': 5})
        self.assertEqual(org['credits'], 5)
        key = self.d.key(org['id'])
        for _ in range(2):
            self.assertEqual(self.ask('/v1/image', key).status, 200)
        r = self.ask('/v1/image', key)
        self.assertRefused(r, 402, 'Insufficient credits')
        self.assertEqual(r['X-RateLimit-Remaining'], '96')
        self.assertIsNone(r['Retry-After'])
        self.assertEqual(self.ask('/v1/x', key).status, 200)
        self.assertRefused(self.ask('/v1/x', key), 402,
                           'Insufficient credits')
        self.assertEqual(self.d.usage(org['id'])[0], 5)
        after = self.d.admin('POST', f'/v1/orgs/{org["id"]}/credits',
                             {'amount': 2})
        self.assertEqual(after['rest'], 2)
        self.assertEqual(self.ask('/v1/image', key).status, 200)
        self.assertRefused(self.ask('/v1/x', key), 402,
                           'Insufficient credits')

    def test_a_project_has_a_budget_and_others_go_on(self):
        self.d.admin('POST', f'/v1/orgs/{self.org["id"]}/projects',
                     {'name': 'capped', 'budget': '3/month'})
        self.d.project(self.org['id'], 'free')
        capped = self.d.key(self.org['id'], project='capped')
        second = self.d.key(self.org['id'], project='capped')
        free = self.d.key(self.org['id'], project='free')
        self.assertEqual(self.ask('/v1/image', capped).status, 200)
        for key in (capped, second):
            r = self.ask('/v1/image', key)
            self.assertRefused(r, 402, 'Budget cap exceeded')
            self.assertEqual(r['X-RateLimit-Remaining'], '998')
        self.assertEqual(self.ask('/v1/x', second).status, 200)
        self.assertRefused(self.ask('/v1/x', capped), 402,
                           'Budget cap exceeded')
        for key in (free, self.key):
            self.assertEqual(self.ask('/v1/image', key).status, 200)
        self.assertEqual(self.used(), 7)

    def test_what_is_denied_for_one_reason_is_charged_nowhere(self):
        org = self.d.admin('POST', '/v1/orgs', {
            'name': 'all', 'limit': '10/1h', 'credits': 4})
        self.d.admin('POST', f'/v1/orgs/{org["id"]}/projects',
                     {'name': 'p', 'budget': '3/month'})
        mine = self.d.key(org['id'], project='p', scopes=['x'])
        free = self.d.key(org['id'])

        def left():
            r = self.d.check_http(mine['key'], X_Stile_Peek='1')
            return tuple(r[f'X-{n}-Remaining'] for n in (
                'RateLimit', 'Stile-Budget', 'Stile-Credits'))

        self.assertEqual(left(), ('10', '3', '4'))
        self.assertEqual(self.ask('/v1/extract', mine).status, 403)
        self.assertEqual(left(), ('10', '3', '4'))
        self.assertEqual(self.ask('/v1/image', mine).status, 200)
        self.assertEqual(left(), ('8', '1', '2'))
        self.assertEqual(self.ask('/v1/image', mine).status, 402)
        self.assertEqual(self.ask('/v1/dear', mine).status, 402)
        self.assertEqual(left(), ('8', '1', '2'))
        self.assertEqual(self.ask('/v1/image', free).status, 200)
        # Both are short: the budget is told first; of what is left of the
        # rate too little is told before them.
        r = self.ask('/v1/image', mine)
        self.assertRefused(r, 402, 'Budget cap exceeded')
        self.assertRefused(self.ask('/v1/dear', mine), 429,
                           'Rate limit exceeded')
        self.assertRefused(self.ask('/v1/x', free), 402,
                           'Insufficient credits')
        self.assertEqual(self.d.usage(org['id'])[0], 4)
