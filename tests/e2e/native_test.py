# SPDX-License-Identifier: MIT
"""The native protocol, by a client written from docs/protocol.md."""

import hashlib
import selectors
import socket
import time

import harness
from harness import (ALLOW, BAD_REQUEST, CHECK_HASH,
                     COST_ABOVE_LIMIT, DETAIL_COST, DETAIL_FRAME,
                     DETAIL_VERSION, INVALID_KEY, NO_CREDENTIAL, PEEK,
                     RATE_LIMITED, REPLY, REQUEST, SOAK, SUSPENDED, Case,
                     Closed, frame)


def sha256(key):
    return hashlib.sha256(key.encode()).digest()


class Frames(Case):
    def setUp(self):
        self.org = self.d.org(self.id().rsplit('.', 1)[1], '50/1h')
        self.created = self.d.key(self.org['id'])
        self.key = self.created['key']
        self.n = self.d.native()
        self.addCleanup(self.n.close)

    def test_every_field_of_an_allowed_check(self):
        project = self.d.project(self.org['id'], 'p')
        key = self.d.key(self.org['id'], project='p')
        r = self.n.check(key['key'], request_id=(1 << 64) - 2, cost=7)
        self.assertEqual((r.type, r.version, r.reason, r.detail),
                         (0x81, 1, ALLOW, 0))
        self.assertEqual(r.request_id, (1 << 64) - 2)
        self.assertEqual((r.limit, r.remaining, r.window_ms),
                         (50, 43, 3600_000))
        self.assertIn(r.reset_ms, range(3590_000, 3600_001))
        self.assertEqual((r.org, r.project, r.key, r.limit_name),
                         (self.org['id'], project['id'], key['id'], 'org'))

    def test_key_of_the_organization_has_no_project(self):
        r = self.n.check(self.key)
        self.assertEqual((r.reason, r.project), (ALLOW, ''))

    def test_hash_is_as_good_as_the_key(self):
        r = self.n.check(sha256(self.key), kind=CHECK_HASH)
        self.assertEqual((r.type, r.reason, r.remaining), (0x82, ALLOW, 49))
        self.assertEqual(r.key, self.created['id'])
        r = self.n.check(sha256('another'), kind=CHECK_HASH)
        self.assertEqual(r.reason, INVALID_KEY)

    def test_peek_counts_nothing(self):
        for _ in range(3):
            r = self.n.check(self.key, cost=5, flags=PEEK)
            self.assertEqual(r.reason, ALLOW)
        self.assertEqual(self.n.check(self.key).remaining, 49)
        self.assertEqual(self.d.usage(self.org['id'])[0], 1)

    def test_costs_at_the_edges(self):
        for cost, reason, detail in ((0, BAD_REQUEST, DETAIL_COST),
                                     (1, ALLOW, 0),
                                     (49, ALLOW, 0),
                                     (1, RATE_LIMITED, 0),
                                     (50, RATE_LIMITED, 0),
                                     (51, COST_ABOVE_LIMIT, 0),
                                     (1000000, COST_ABOVE_LIMIT, 0),
                                     (1000001, BAD_REQUEST, DETAIL_COST),
                                     (0xffffffff, BAD_REQUEST, DETAIL_COST)):
            r = self.n.check(self.key, cost=cost)
            self.assertEqual((r.reason, r.detail), (reason, detail), cost)
        self.assertEqual(r.org, '')

    def test_keys_that_are_none(self):
        good = self.key
        flipped = good[:20] + ('a' if good[20] != 'a' else 'b') + good[21:]
        for key, reason in (('', NO_CREDENTIAL), ('x', INVALID_KEY),
                            (good[:-1], INVALID_KEY),
                            (good + '0', INVALID_KEY),
                            (flipped, INVALID_KEY),
                            ('z' * 64, INVALID_KEY),
                            (b'\xff' * 64, INVALID_KEY)):
            r = self.n.check(key)
            self.assertEqual(r.reason, reason, key)
            self.assertEqual((r.org, r.key, r.limit, r.remaining),
                             ('', '', 0, 0))

    def test_malformed_frames_are_answered_and_the_stream_goes_on(self):
        key = self.key.encode()

        def raw(kind=1, flags=0, key_len=len(key), data=key):
            return REQUEST.pack(kind, 1, flags, key_len, 1, 5, b'', 0, b'',
                                data)
        for bad in (raw(flags=2), raw(flags=0x80), raw(key_len=65),
                    raw(key_len=255), raw(key_len=54), raw(data=key + b'x'),
                    raw(kind=2, data=b'h' * 33, key_len=0),
                    raw(kind=2, data=b'h' * 32, key_len=32)):
            self.n.send(bad)
            r = self.n.get()
            self.assertEqual((r.reason, r.detail, r.request_id),
                             (BAD_REQUEST, DETAIL_FRAME, 5))
        self.assertEqual(self.n.check(self.key).remaining, 49)

    def test_room_for_rules_to_come_decides_nothing(self):
        key = self.key.encode()
        self.n.send(REQUEST.pack(1, 1, 0, len(key), 1, 9, b'\xfe' * 16,
                                 1 << 63, b'route', key))
        self.assertEqual(self.n.get().reason, ALLOW)

    def test_unknown_version_or_type_is_answered_then_closed(self):
        for data, detail in ((frame(self.key, 3, version=2), DETAIL_VERSION),
                             (frame(self.key, 3, version=0), DETAIL_VERSION),
                             (frame(self.key, 3, kind=6), DETAIL_FRAME),
                             (frame(self.key, 3, kind=99), DETAIL_FRAME)):
            with self.d.native() as n:
                n.send(frame(self.key, 2, flags=PEEK) + data +
                       frame(self.key, 4, flags=PEEK))
                self.assertEqual(n.get().request_id, 2)
                r = n.get()
                self.assertEqual((r.reason, r.detail, r.request_id),
                                 (BAD_REQUEST, detail, 3))
                self.assertTrue(n.is_closed())
                self.assertEqual(n.buffer, b'', 'answered after the fault')

    def test_frames_in_any_pieces(self):
        data = b''.join(frame(self.key, i, flags=PEEK) for i in range(3))
        for i in range(len(data)):
            self.n.send(data[i:i + 1])
        self.assertEqual({self.n.get().request_id for _ in range(3)},
                         {0, 1, 2})
        for size in (127, 129, 64, 200):
            for i in range(0, len(data), size):
                self.n.send(data[i:i + size])
                time.sleep(0.002)
            self.assertEqual({self.n.get().request_id for _ in range(3)},
                             {0, 1, 2})

    def test_new_connections_hold_no_reply_back(self):
        for _ in range(100):
            self.n.check(self.key, flags=PEEK)
            begin = time.monotonic()
            fresh = [self.d.native() for _ in range(5)]
            self.n.send(frame(self.key, flags=PEEK))
            fresh += [self.d.native() for _ in range(5)]
            self.n.get()
            self.assertLess(time.monotonic() - begin, 4)
            for c in fresh:
                c.close()

    def test_half_closed_peer_gets_its_answers(self):
        self.n.send(b''.join(frame(self.key, i, flags=PEEK)
                             for i in range(1000)))
        self.n.half_close()
        ids = {self.n.get().request_id for _ in range(1000)}
        self.assertEqual(ids, set(range(1000)))
        self.assertTrue(self.n.is_closed())

    def test_half_a_frame_then_the_end_is_dropped_quietly(self):
        self.n.send(frame(self.key, 1) + frame(self.key, 2)[:77])
        self.n.half_close()
        self.assertEqual(self.n.get().request_id, 1)
        self.assertTrue(self.n.is_closed())
        self.assertEqual(self.n.buffer, b'')

    def test_peer_that_does_not_read_is_bounded_and_gets_all_in_the_end(self):
        """Writes until the daemon stops reading, then reads everything."""
        chunk = b''.join(frame(self.key, i, flags=PEEK) for i in range(256))
        self.n.sock.setblocking(False)
        sent = 0
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1:
            try:
                sent += self.n.sock.send(chunk[sent % len(chunk):])
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            self.assertLess(sent, 1 << 28, 'it reads without end')
        # Others are served meanwhile.
        with self.d.native() as other:
            self.assertEqual(other.check(self.key, flags=PEEK).reason, ALLOW)
        self.n.sock.settimeout(harness.IO_TIMEOUT_S)
        got = 0
        while got < sent // REQUEST.size:
            self.n.take(REPLY.size)
            got += 1
        self.assertEqual(self.n.buffer, b'')


class Million(Case):
    """Pipelined checks over 64 connections; every answer is known before."""
    CONNECTIONS = 64
    CHECKS = 1_000_000 if SOAK else 200_000
    DEPTH = 128
    config = 'workers: 2\n'

    def test_each_answer_is_right(self):
        d = self.d
        orgs, keys = [], []
        for i in range(8):
            org = d.org(f'org{i}', '65536/31d')
            orgs.append(org['id'])
            keys.append(d.key(org['id']))
        small = d.org('small', '500/31d')
        small_key = d.key(small['id'])['key']
        idle = d.org('idle', '10/31d')
        idle_key = d.key(idle['id'])
        suspended = d.org('suspended')
        suspended_key = d.key(suspended['id'])['key']
        d.admin('POST', f'/v1/orgs/{suspended["id"]}/suspend')
        revoked = d.key(orgs[0])
        d.admin('POST', f'/v1/keys/{revoked["id"]}/revoke')

        # Kind of a request = its id modulo 16: (frame, reasons, organization)
        either = {ALLOW, RATE_LIMITED}
        kinds = [(frame(keys[i]['key']), {ALLOW}, orgs[i]) for i in range(4)]
        kinds += [(frame(sha256(keys[i]['key']), kind=CHECK_HASH), {ALLOW},
                   orgs[i]) for i in range(4, 8)]
        kinds += [
            (frame(small_key), either, small['id']),
            (frame(idle_key['key'], cost=11), {COST_ABOVE_LIMIT}, idle['id']),
            (frame(idle_key['key'], flags=PEEK), {ALLOW}, idle['id']),
            (frame(suspended_key), {SUSPENDED}, suspended['id']),
            (frame(revoked['key']), {INVALID_KEY}, ''),
            (frame(sha256('unknown'), kind=CHECK_HASH), {INVALID_KEY}, ''),
            (frame(keys[0]['key'][:-1] + '-'), {INVALID_KEY}, ''),
            (frame(keys[0]['key'], cost=0), {BAD_REQUEST}, '')]
        self.assertEqual(len(kinds), 16)

        # 1 M / 16 = 62,500 per organization: below its limit.
        begin = time.monotonic()
        counts = self.drive(kinds)
        took = time.monotonic() - begin
        per_kind = self.CHECKS // 16
        for i in range(8):
            self.assertEqual(d.usage(orgs[i])[0], per_kind)
        self.assertEqual(counts[8, ALLOW], 500)
        self.assertEqual(d.usage(small['id'])[0], 500)
        self.assertEqual(d.usage(idle['id'])[0], 0)
        print(f'     {self.CHECKS} checks in {took:.1f} s')

    def drive(self, kinds):
        pieces = [(f[:8], f[16:]) for f, _, _ in kinds]
        expected = [(f[0] | 0x80, reasons, org.encode().ljust(8, b'\0'))
                    for f, reasons, org in kinds]
        share = self.CHECKS // self.CONNECTIONS
        counts = {}
        fields = harness.struct.Struct('<BBBBIQIIII8s24x')
        selector = selectors.DefaultSelector()

        class Peer:
            pass

        for c in range(self.CONNECTIONS):
            p = Peer()
            p.sock = socket.socket(socket.AF_UNIX)
            p.sock.connect(str(self.d.native_sock))
            p.sock.setblocking(False)
            p.next = c * share
            p.end = p.next + share
            p.waiting = set()
            p.out = b''
            p.inp = b''
            selector.register(p.sock, selectors.EVENT_READ |
                              selectors.EVENT_WRITE, p)
            self.addCleanup(p.sock.close)
        self.addCleanup(selector.close)

        def write(p):
            if not p.out and p.next < p.end:
                room = self.DEPTH - len(p.waiting)
                ids = range(p.next, min(p.next + room, p.end))
                if ids:
                    p.out = b''.join(
                        pieces[i % 16][0] + i.to_bytes(8, 'little') +
                        pieces[i % 16][1] for i in ids)
                    p.waiting.update(ids)
                    p.next = ids[-1] + 1
            if p.out:
                try:
                    p.out = p.out[p.sock.send(p.out):]
                except BlockingIOError:
                    pass

        def read(p):
            try:
                data = p.sock.recv(1 << 18)
            except BlockingIOError:
                return
            if not data:
                raise Closed('in the middle of a pipeline')
            p.inp += data
            whole = len(p.inp) // 64 * 64
            for (kind, reason, detail, version, limit, request_id, remaining,
                 window_ms, reset_ms, retry_ms, org) in fields.iter_unpack(
                     p.inp[:whole]):
                p.waiting.remove(request_id)  # KeyError: never asked, or twice
                want = expected[request_id % 16]
                if (kind != want[0] or reason not in want[1] or
                        org != want[2] or version != 1):
                    raise AssertionError(
                        f'{request_id}: {kind:#x} {reason} {detail} {org}, '
                        f'expected {want}')
                if reason == RATE_LIMITED and (remaining or not retry_ms):
                    raise AssertionError(
                        f'{request_id}: denied, {remaining=} {retry_ms=}')
                at = request_id % 16, reason
                counts[at] = counts.get(at, 0) + 1
            p.inp = p.inp[whole:]

        open_peers = self.CONNECTIONS
        while open_peers:
            ready = selector.select(harness.IO_TIMEOUT_S)
            self.assertTrue(ready, 'no progress')
            for key, mask in ready:
                p = key.data
                if mask & selectors.EVENT_READ:
                    read(p)
                if mask & selectors.EVENT_WRITE or not p.out:
                    write(p)
                if not p.waiting and p.next == p.end and not p.out:
                    selector.unregister(p.sock)
                    p.sock.close()
                    open_peers -= 1
                    continue
                # Wait for room only while there is something to write.
                events = selectors.EVENT_READ
                if p.out:
                    events |= selectors.EVENT_WRITE
                if events != key.events:
                    selector.modify(p.sock, events, p)
        self.assertEqual(sum(counts.values()), self.CHECKS)
        return counts
