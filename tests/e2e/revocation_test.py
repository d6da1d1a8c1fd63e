# SPDX-License-Identifier: MIT
"""Once a revocation or suspension is acknowledged, no check that was sent
later passes: under load, on every connection, and after kill -9."""

import itertools
import threading
import time
import unittest

from harness import (ALLOW, INVALID_KEY, SUSPENDED, Closed, Daemon, Hammer,
                     Http, frame, now)

NEVER_LIMITED = '65536/1ms'


class HttpHammer(threading.Thread):
    """The same over HTTP, on one connection after the other."""

    def __init__(self, daemon, keys):
        super().__init__()
        self.d, self.keys = daemon, keys
        self.done = threading.Event()
        self.answered = []
        self.error = None

    def run(self):
        conn = None
        for i in itertools.count():
            if self.done.is_set():
                break
            keys = self.keys()
            if not keys:
                continue
            tag, key = keys[i % len(keys)]
            sent_at = now()
            try:
                conn = conn or Http(self.d.http_sock)
                r = conn.ask('GET', '/v1/check', {'X-API-Key': key})
                self.answered.append((sent_at, now(), tag, 1, r.status))
            except (OSError, Closed):
                conn = conn and conn.close()
                time.sleep(0.005)
            except BaseException as e:
                self.error = e
                raise
        if conn:
            conn.close()


class Revoked(unittest.TestCase):
    ROUNDS = 12

    def setUp(self):
        self.d = Daemon('workers: 2\n')
        self.addCleanup(self.d.close)
        self.d.start()
        self.live = []  # (tag, key, frame); replaced, never changed
        self.stop = threading.Event()
        self.hammers = [Hammer(self.d.native_sock, 8) for _ in range(2)]
        self.threads = []
        for hammer in self.hammers:
            self.addCleanup(hammer.close)
            turn = itertools.count()

            def pick(turn=turn):
                live = self.live
                tag, _, data = live[next(turn) % len(live)]
                return tag, 1, data
            self.threads.append(threading.Thread(
                target=self.hammer_on, args=(hammer, pick)))
        self.over_http = HttpHammer(self.d, lambda: [t[:2] for t in self.live])
        self.threads.append(self.over_http)
        self.errors = []

    def hammer_on(self, hammer, pick):
        try:
            hammer.run(pick, self.stop.is_set)
        except BaseException as e:
            self.errors.append(e)

    def begin(self):
        for t in self.threads:
            t.start()
        self.addCleanup(self.end)

    def end(self):
        self.stop.set()
        self.over_http.done.set()
        for t in self.threads:
            t.join()

    def add(self, key):
        self.live = self.live + [(key['id'], key['key'], frame(key['key']))]

    def judge(self, ended, refusal, status):
        """ended: {tag: acknowledged at}"""
        self.end()
        self.assertEqual(self.errors, [])
        self.assertIsNone(self.over_http.error)
        native = [a for h in self.hammers for a in h.answered]
        for answers, good, bad in ((native, ALLOW, refusal),
                                   (self.over_http.answered, 200, status)):
            before = after = 0
            for sent_at, _, tag, _, reason in answers:
                if sent_at > ended.get(tag, float('inf')):
                    self.assertEqual(reason, bad, 'passed after the '
                                     'acknowledgement')
                    after += 1
                else:
                    self.assertIn(reason, (good, bad))
                    before += reason == good
            self.assertGreater(before, 100)
            self.assertGreater(after, 100)
            print(f'     {before} allowed before, {after} refused after')

    def test_revoked_under_load(self):
        org = self.d.org('o', NEVER_LIMITED)
        self.add(self.d.key(org['id'], name='stays'))
        ended = {}
        self.begin()
        for _ in range(self.ROUNDS):
            key = self.d.key(org['id'])
            self.add(key)
            time.sleep(0.05)
            self.d.admin('POST', f'/v1/keys/{key["id"]}/revoke')
            ended[key['id']] = now()
            time.sleep(0.05)
        self.judge(ended, INVALID_KEY, 401)

    def test_suspended_under_load(self):
        ended = {}
        stays = self.d.org('stays', NEVER_LIMITED)
        self.add(self.d.key(stays['id']))
        self.begin()
        for i in range(self.ROUNDS):
            org = self.d.org(f'o{i}', NEVER_LIMITED)
            key = self.d.key(org['id'])
            self.add(key)
            time.sleep(0.05)
            self.d.admin('POST', f'/v1/orgs/{org["id"]}/suspend')
            ended[key['id']] = now()
            time.sleep(0.05)
        self.judge(ended, SUSPENDED, 403)

    def test_revoked_then_killed_at_once(self):
        org = self.d.org('o', NEVER_LIMITED)
        self.add(self.d.key(org['id'], name='stays'))
        ended = {}
        self.begin()
        for _ in range(5):
            key = self.d.key(org['id'])
            self.add(key)
            time.sleep(0.05)
            self.d.admin('POST', f'/v1/keys/{key["id"]}/revoke')
            ended[key['id']] = now()
            self.d.kill9()
            self.d.start()
            time.sleep(0.05)
        self.judge(ended, INVALID_KEY, 401)

    def test_suspended_then_killed_at_once(self):
        ended = {}
        stays = self.d.org('stays', NEVER_LIMITED)
        self.add(self.d.key(stays['id']))
        self.begin()
        for i in range(5):
            org = self.d.org(f'o{i}', NEVER_LIMITED)
            key = self.d.key(org['id'])
            self.add(key)
            time.sleep(0.05)
            self.d.admin('POST', f'/v1/orgs/{org["id"]}/suspend')
            ended[key['id']] = now()
            self.d.kill9()
            self.d.start()
            time.sleep(0.05)
        self.judge(ended, SUSPENDED, 403)

    def test_resumed_organization_passes_again(self):
        org = self.d.org('o')
        key = self.d.key(org['id'])['key']
        self.d.admin('POST', f'/v1/orgs/{org["id"]}/suspend')
        self.d.kill9()
        self.d.start()
        with self.d.native() as n:
            self.assertEqual(n.check(key).reason, SUSPENDED)
            self.d.admin('POST', f'/v1/orgs/{org["id"]}/resume')
            self.assertEqual(n.check(key).reason, ALLOW)

    def test_expiry_and_rotation(self):
        org = self.d.org('o')
        old = self.d.key(org['id'])
        short = self.d.key(org['id'], expires_in='1s')
        with self.d.native() as n:
            self.assertEqual(n.check(short['key']).reason, ALLOW)
            r = self.d.admin('POST', f'/v1/keys/{old["id"]}/rotate',
                             {'grace': '1s'})
            self.assertEqual(n.check(old['key']).reason, ALLOW)
            self.assertEqual(n.check(r['new']['key']).reason, ALLOW)
            time.sleep(1.1)
            self.assertEqual(n.check(short['key']).reason, INVALID_KEY)
            self.assertEqual(n.check(old['key']).reason, INVALID_KEY)
            self.assertEqual(n.check(r['new']['key']).reason, ALLOW)
            self.d.kill9()
        self.d.start()
        with self.d.native() as n:
            self.assertEqual(n.check(short['key']).reason, INVALID_KEY)
            self.assertEqual(n.check(old['key']).reason, INVALID_KEY)
            self.assertEqual(n.check(r['new']['key']).reason, ALLOW)
