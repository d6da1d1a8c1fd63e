# SPDX-License-Identifier: MIT
"""Plaintext keys are nowhere once they are answered: not in memory, not on
disk, not in the log."""

import mmap
import os
import struct

from harness import Case, wait_until

PAGE = mmap.PAGESIZE


def present_runs(pid, start, end):
    """Address ranges with memory behind them, from /proc/PID/pagemap."""
    with open(f'/proc/{pid}/pagemap', 'rb') as f:
        run = None
        step = 1 << 19  # pages, 4 MiB of entries
        first, last = start // PAGE, end // PAGE
        for base in range(first, last, step):
            f.seek(base * 8)
            entries = f.read(min(step, last - base) * 8)
            if not any(entries):
                if run is not None:
                    yield run * PAGE, base * PAGE
                    run = None
                continue
            for i, (entry,) in enumerate(struct.iter_unpack('<Q', entries)):
                if entry >> 62:  # present or swapped
                    if run is None:
                        run = base + i
                elif run is not None:
                    yield run * PAGE, (base + i) * PAGE
                    run = None
        if run is not None:
            yield run * PAGE, last * PAGE


def memory_of(pid):
    """(where, bytes) of every readable and writable page with contents."""
    with open(f'/proc/{pid}/maps') as f:
        maps = f.read().splitlines()
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as mem:
        for line in maps:
            area, perms, *rest = line.split(maxsplit=5)
            name = rest[3].strip() if len(rest) > 3 else 'anonymous'
            if perms[:2] != 'rw' or name.startswith(('[v', '/dev/dri')):
                continue
            start, end = (int(x, 16) for x in area.split('-'))
            for low, high in present_runs(pid, start, end):
                for at in range(low, high, 1 << 24):
                    # 64 bytes more, for what lies across the cut
                    size = min((1 << 24) + 64, high - at)
                    try:
                        mem.seek(at)
                        yield f'{name} {at:#x}', mem.read(size)
                    except OSError:  # an io_uring mapping cannot be read so
                        if 'io_uring' not in name:
                            raise


class Plaintext(Case):
    config = 'workers: 2\nlog_level: debug\n'

    def needles(self):
        found = {}
        for name, key in self.keys.items():
            body = key.split('_')[-1]
            found[name + ' whole'] = body.encode()
            found[name + ' first half'] = body[:16].encode()
            found[name + ' second half'] = body[-22:-6].encode()
        return found

    def setUp(self):
        self.keys = {}

    def find(self, data):
        return [n for n, v in self.needles().items() if v in data]

    def use(self):
        d = self.d
        org = d.org('o', '100/1h')
        good = d.key(org['id'], name='visible-name')
        revoked = d.key(org['id'])
        d.admin('POST', f'/v1/keys/{revoked["id"]}/revoke')
        rotated = d.admin('POST', f'/v1/keys/{good["id"]}/rotate',
                          {'grace': '1h'})['new']
        wrong = good['key'][:-8] + 'ABCDEFGH'
        foreign = 'sk_Zr8Qm2Vx7Lw4Kp9Tn3Bs6Hy1Jd5Gf0Xc'
        self.keys = {'good': good['key'], 'revoked': revoked['key'],
                     'rotated': rotated['key'], 'wrong sum': wrong,
                     'foreign': foreign}
        self.org, self.id_known = org, good['id']

    def test_no_trace_in_memory_files_or_log(self):
        if os.geteuid() != 0:
            self.skipTest('reading /proc/PID/mem needs root')
        self.use()
        d = self.d
        native, http = d.native(), d.http()
        self.addCleanup(native.close)
        self.addCleanup(http.close)
        for _ in range(3):
            for key in self.keys.values():
                native.check(key)
                native.check(key, cost=0)
                native.check(key, flags=64)
                for headers in ({'Authorization': 'Bearer ' + key},
                                {'X-API-Key': key},
                                {'X-API-Key': key, 'X-Stile-Cost': '0'}):
                    http.ask('GET', '/v1/check', headers)
                    http.ask('GET', '/v1/check/nginx', headers)
            two = list(self.keys.values())
            http.ask('GET', '/v1/check', {'X-API-Key': two[0],
                                          'Authorization': 'Bearer ' + two[1]})
            http.ask('GET', '/nowhere/' + two[0], {'X-API-Key': two[1]})
            # A pipeline, and pieces that meet inside a key
            with d.http() as c:
                one = (f'GET /v1/check HTTP/1.1\r\nX-API-Key: {two[0]}\r\n'
                       '\r\n').encode()
                c.send(one * 20 + one[:50])
                for _ in range(20):
                    c.get()
                c.send(one[50:])
                c.get()
            from harness import frame
            with d.native() as n:
                data = frame(two[0])
                n.send(data * 40 + data[:90])
                for _ in range(40):
                    n.get()
                n.send(data[90:])
                n.get()
                n.send(data[:100])  # and never the rest
            with d.http() as c:
                c.send(b'GET /v1/check HTTP/1.1\r\nX-API-Key: ' +
                       two[0].encode())
            # A request that is no HTTP, and an admin call that is refused
            with d.http() as c:
                c.send(b'\x01\x02 ' + two[0].encode() + b'\r\n\r\n')
                c.is_closed()
            d.admin_raw('GET', f'/v1/keys/{two[0]}')
            d.admin_raw('POST', f'/v1/keys/{two[0]}/revoke')
            d.admin_raw('POST', f'/v1/orgs/{two[1]}/suspend')
            d.admin_raw('POST', f'/nowhere/{two[1]}')
            d.admin_raw('POST', '/v1/orgs', {'name': two[0], 'limit': 'x'})
            # Explained, here and there
            for key in two:
                d.admin_raw('POST', '/v1/explain', {'key': key})
                d.admin_raw('POST', '/v1/explain', {'key': key, 'key_id': key})
                d.admin_raw('POST', '/v1/explain', {'key_id': key})
                d.admin_raw('POST', '/v1/checks', {'key': key})
                d.admin_raw('POST', '/v1/checks', {'key_id': key})
                d.admin_raw('POST', '/v1/checks', {'key_hash': key})
                d.admin_raw('POST', '/v1/checks', {
                    'key_id': key, 'request_id': key, 'reserve': True})
                http.ask('GET', '/v1/check', {'X-API-Key': key,
                                              'X-Stile-Explain': '1'})
            d.admin_raw('GET', f'/v1/orgs/o/limits/show?name={two[0]}')
            d.admin_raw('GET', '/v1/orgs/o/limits/show?name=org&key=' + two[1])
            d.admin_raw('POST', '/v1/orgs/o/limits/reset',
                        {'name': two[0], 'key': two[1]})
        d.admin('POST', '/v1/snapshot')
        backup = d.top / 'backup.db'
        d.admin('POST', '/v1/backup', {'path': str(backup)})
        wait_until(lambda: d.metric('connections') <= 2,
                   'closed connections are gone')

        control = 0
        for where, data in memory_of(d.pid):
            control += self.id_known.encode() in data
            self.assertEqual(self.find(data), [], where)
        self.assertGreater(control, 0, 'the search itself found nothing')
        self.search_files()
        native.close()
        http.close()
        d.stop()
        self.search_files()
        for path in (backup, d.stderr):
            self.assertEqual(self.find(path.read_bytes()), [], path)
        d.start()

    def search_files(self):
        control = 0
        for path in [*self.d.dir.rglob('*'), *self.d.runtime.rglob('*')]:
            if path.is_file():
                for data in contents(path):
                    control += self.id_known.encode() in data
                    self.assertEqual(self.find(data), [], path)
        self.assertGreater(control, 0, 'the search itself found nothing')


def contents(path):
    """The written parts of a file that may be sparse."""
    with open(path, 'rb') as f:
        at, size = 0, os.fstat(f.fileno()).st_size
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            f.seek(at)
            yield f.read(end - at)
            at = end
