# SPDX-License-Identifier: MIT
"""The long frames of docs/protocol.md, and what is said in them."""

import ipaddress
import struct

from harness import CHECK_KEY, Native, Reply, frame

RESERVE, EXPLAIN = 2, 4  # flags, beside PEEK
LONG_KEY, SETTLE = 3, 5
(CONCURRENCY, BUDGET, CREDITS, SCOPE, ROUTE, NETWORK, FULL,
 NO_HOLD) = range(8, 16)
REPEATED = 1
NOT_COUNTED = 2**64 - 1
AS_RESERVED = 2**32 - 1
MORE = struct.Struct('<24sQIIQQBB6s')
LINE, LINE_BYTES = 192, 96
LINE_FIELDS = struct.Struct('<BBBBBBHQQQQQQ24s16s')
LEVELS = ('org', 'project', 'key', 'route', 'address')
KINDS = (None, 'window', 'gcra', 'concurrency', 'budget', 'credits')


def address_bytes(text):
    """As the protocol has it: IPv4 mapped into IPv6."""
    packed = ipaddress.ip_address(text).packed
    return packed if len(packed) == 16 else bytes(10) + b'\xff\xff' + packed


def long_frame(key, request_id=0, cost=0, once=b'', route=b'', scope=b'',
               address=None, flags=0, hold_ms=0):
    return (bytes([LONG_KEY]) + frame(key, request_id, cost, flags,
                                      kind=CHECK_KEY)[1:] +
            struct.pack('<16s16sIBB26s64s64s64s', once,
                        address_bytes(address) if address else b'', hold_ms,
                        len(route), len(scope), b'', route, scope, b''))


def settle_frame(request_id, hold, cost=AS_RESERVED):
    return struct.pack('<BBBBIQQ104s', SETTLE, 1, 0, 0, cost, request_id,
                       hold, b'')


class LongReply(Reply):
    def __init__(self, data):
        super().__init__(data[:64])
        (name, self.hold, self.hold_ms, self.charged, self.credits,
         self.budget, self.flags, self.lines, _) = MORE.unpack(data[64:])
        self.limit_name = name.rstrip(b'\0').decode()


def line(data, number, request_id):
    """As HTTP tells it."""
    (kind, n, level, version, algorithm, flags, _, id_, limit, remaining,
     window_ms, reset_ms, retry_ms, name, _) = LINE_FIELDS.unpack(data)
    if (kind, n, version, id_) != (LINE, number, 1, request_id):
        raise AssertionError(f'no line {number}: {data!r}')
    return {'name': name.rstrip(b'\0').decode(), 'level': LEVELS[level],
            'algorithm': KINDS[algorithm], 'shadow': bool(flags & 1),
            'allowed': bool(flags & 4), 'decided': bool(flags & 2),
            'limit': limit, 'remaining': remaining, 'window_ms': window_ms,
            'reset_ms': reset_ms, 'retry_ms': retry_ms}


class Long(Native):
    def get(self):
        r = LongReply(self.take(128))
        r.explain = [line(self.take(LINE_BYTES), i, r.request_id)
                     for i in range(r.lines)]
        return r

    def check(self, key, **said):
        self.send(long_frame(key, **said))
        return self.get()

    def settle(self, hold, cost=AS_RESERVED):
        self.send(settle_frame(0, hold, cost))
        return self.get()
