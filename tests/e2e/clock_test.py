# SPDX-License-Identifier: MIT
"""The wall clock is stepped under load, by an hour and by a day, both ways:
no limit opens, no key is locked out, none that has expired comes back."""

import struct
import time
import unittest

import harness
from harness import (ALLOW, BUILD, INVALID_KEY, IO_TIMEOUT_S, RATE_LIMITED,
                     Daemon, Hammer, frame, wait_until)

SHIM = BUILD / 'tests' / 'e2e' / 'shift_clock.so'
HOUR = 3600
DAY = 24 * HOUR
STEPS = (DAY, -DAY, HOUR, -HOUR)
LIMIT = 500


class Case(unittest.TestCase):
    def daemon(self, config=''):
        if harness.sanitized():
            self.skipTest('a sanitizer has to be loaded first')
        if not SHIM.exists():
            self.fail(f'{SHIM} was not built')
        self.d = Daemon('workers: 2\n' + config)
        self.addCleanup(self.d.close)
        self.shift = self.d.top / 'shift'
        self.shift.write_bytes(bytes(8))
        self.d.env.update(LD_PRELOAD=str(SHIM),
                          STILE_CLOCK_FILE=str(self.shift))
        self.d.start()
        return self.d

    def step(self, seconds):
        with open(self.shift, 'r+b') as f:
            f.write(struct.pack('=q', seconds))

    def pending_ms(self):
        return self.d.admin('GET', '/v1/status')['clock']['step_ms']

    def seen(self, seconds):
        """The step has been noticed and is not believed."""
        return abs(self.pending_ms() - seconds * 1000) < 1000

    def reason(self, key):
        with self.d.native() as n:
            return n.check(key['key']).reason


class Steps(Case):
    def setUp(self):
        d = self.daemon()
        limited = d.org('limited', f'{LIMIT}/1h')
        free = d.org('free', '60000/1h')
        self.keys = {
            'limited': d.key(limited['id']),
            'hour': d.key(free['id'], expires_in='1h'),
            'short': d.key(free['id'], expires_in='1s'),
        }
        wait_until(lambda: self.reason(self.keys['short']) == INVALID_KEY,
                   'a key expires')

    def expect(self, answered):
        """What is true whatever the wall clock says."""
        got = {name: [] for name in self.keys}
        for _, _, name, _, reason in answered:
            got[name].append(reason)
        self.assertEqual(set(got['hour']), {ALLOW})
        self.assertEqual(set(got['short']), {INVALID_KEY})
        self.assertEqual(got['limited'].count(ALLOW), LIMIT)
        self.assertEqual(set(got['limited']), {ALLOW, RATE_LIMITED})

    def test_under_load(self):
        names = list(self.keys)
        picked = 0
        steps = [*STEPS, 0]
        current = None
        end = time.monotonic() + IO_TIMEOUT_S

        def pick():
            nonlocal picked
            name = names[picked % len(names)]
            picked += 1
            # A pause in the main thread would be a pause of the load.
            if picked % 64 == 0:
                time.sleep(0.005)
            return name, 1, frame(self.keys[name]['key'])

        def done():
            nonlocal current
            self.assertLess(time.monotonic(), end, 'a step was not noticed')
            if current is not None and not self.seen(current):
                return False
            if not steps:
                return True
            current = steps.pop(0)
            self.step(current)
            return False

        hammer = Hammer(self.d.native_sock, 8)
        self.addCleanup(hammer.close)
        hammer.run(pick, done)
        self.assertFalse(hammer.unanswered or hammer.broken)
        self.expect(hammer.answered)
        log = self.d.log()
        self.assertEqual(log.count('event=clock_stepped'), len(STEPS))
        self.assertEqual(log.count('event=clock_step_undone'), 1)
        self.assertNotIn('clock_step_believed', log)

    def test_restart_in_the_middle(self):
        for step, end in zip(STEPS, ('stop', 'kill9') * 2):
            with self.subTest(step=step, end=end):
                self.step(step)
                wait_until(lambda s=step: self.seen(s), 'the step is seen')
                getattr(self.d, end)()
                self.d.start()
                wait_until(lambda s=step: self.seen(s), 'it is pending again')
                self.assertEqual(self.d.metric('clock_step_seconds') > 0,
                                 step > 0)
                self.assertEqual(self.reason(self.keys['hour']), ALLOW)
                self.assertEqual(self.reason(self.keys['short']), INVALID_KEY)
                self.step(0)
                wait_until(lambda: self.pending_ms() == 0, 'it is undone')

    def test_drain_takes_no_longer_than_it_may(self):
        self.d.stop()
        self.d.config.write_text('drain_timeout: 1s\n')
        self.d.start()
        self.step(DAY)
        with self.d.native() as n:
            n.sock.setblocking(False)
            try:
                while True:
                    n.sock.send(frame('x') * 100)
            except BlockingIOError:
                pass
            begin = time.monotonic()
            self.d.stop()
            self.assertLess(time.monotonic() - begin, 10)


class Settling(Case):
    def test_step_that_lasts_is_believed(self):
        d = self.daemon('clock_settle: 2s\n')
        org = d.org('o', f'{LIMIT}/1h')
        key = d.key(org['id'])
        hour = d.key(org['id'], expires_in='1h')
        with d.native() as n:
            n.check(key['key'], cost=LIMIT)
        self.assertEqual(self.reason(hour), RATE_LIMITED)
        self.step(DAY)
        wait_until(lambda: self.seen(DAY), 'the step is seen')
        self.assertEqual(self.reason(hour), RATE_LIMITED)
        wait_until(lambda: self.reason(hour) == INVALID_KEY, 'the key expires')
        self.assertEqual(self.pending_ms(), 0)
        self.assertEqual(self.reason(key), RATE_LIMITED)
        self.step(0)
        wait_until(lambda: self.seen(-DAY), 'the way back is a step')
        self.assertEqual(self.reason(hour), INVALID_KEY)
        wait_until(lambda: self.reason(hour) == RATE_LIMITED,
                   'a lasting step back is believed')
        self.assertIn('event=clock_step_believed', d.log())
