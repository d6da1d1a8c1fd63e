# SPDX-License-Identifier: MIT
"""A budget that is used up says when it begins anew, in every protocol."""

import time
import unittest

from harness import Daemon

BUDGET = 9
DAY_MS = 86400 * 1000


class Retry(unittest.TestCase):
    def within(self, got_ms, before_ms, after_ms):
        """Is it the time to the end of the day (UTC), at some moment?"""
        self.assertGreaterEqual(got_ms, DAY_MS - after_ms % DAY_MS)
        self.assertLessEqual(got_ms, DAY_MS - before_ms % DAY_MS + 1000)

    def test_the_end_of_the_period_is_told(self):
        with Daemon(config='http: {errors: nested}') as d:
            org = d.org('retry', '1000/1h')['id']
            project = d.project(org, 'p')['id']
            d.admin('POST', f'/v1/projects/{project}/budget',
                    {'budget': '5/day'})
            key = d.key(org, project=project)['key']
            before_ms = int(time.time() * 1000)
            with d.native() as n:
                n.check(key, cost=5)
                late = n.check(key)
                never = n.check(key, cost=6)
            http = d.check_http(key)
            nginx = d.check_http(key, path='/v1/check/nginx')
            after_ms = int(time.time() * 1000)
            if before_ms // DAY_MS != after_ms // DAY_MS:
                self.skipTest('the day has ended meanwhile')
            self.assertEqual((late.reason, never.reason), (BUDGET, BUDGET))
            self.within(late.retry_ms, before_ms, after_ms)
            self.assertEqual(never.retry_ms, 0)
            self.assertEqual(http.status, 402)
            self.within(int(http['Retry-After']) * 1000, before_ms, after_ms)
            error = http.json()['error']
            self.assertEqual(error['message'], 'Budget cap exceeded')
            self.within(error['details']['retry_after_ms'], before_ms,
                        after_ms)
            self.assertEqual(nginx.status, 403)
            self.within(int(nginx['Retry-After']) * 1000, before_ms, after_ms)
            # The limit of the organization has nothing to do with it.
            self.assertNotIn(';t=', http['RateLimit'])


if __name__ == '__main__':
    unittest.main()
