# SPDX-License-Identifier: MIT
"""Counters outlive the process in the arena, and the arena in a snapshot."""

import sqlite3
import struct
import time
import unittest

from harness import ALLOW, PEEK, RATE_LIMITED, Daemon


class Survival(unittest.TestCase):
    config = 'snapshot_interval: 0s\n'

    def setUp(self):
        self.d = Daemon(self.config)
        self.addCleanup(self.d.close)
        self.d.start()
        self.org = self.d.org('o', '50/1h')
        self.keys = [self.d.key(self.org['id']) for _ in range(3)]
        self.snap = self.d.state / 'counters.snap'

    def spend(self, units, key=0):
        with self.d.native() as n:
            self.assertEqual(n.check(self.keys[key]['key'],
                                     cost=units).reason, ALLOW)

    def left(self):
        """Units that the window still has, found by asking."""
        with self.d.native() as n:
            for units in range(50, 0, -1):
                if n.check(self.keys[0]['key'], cost=units,
                           flags=PEEK).reason == ALLOW:
                    return units
        return 0

    def used(self):
        used, by_key = self.d.usage(self.org['id'])
        return used, [by_key[k['id']] for k in self.keys]

    def lose_arena(self):
        for path in self.d.runtime.iterdir():
            path.unlink()

    def fresh(self):
        return self.d.admin('GET', '/v1/status')['arena']['fresh']

    def test_arena_carries_on_after_kill_9_to_the_unit(self):
        self.spend(7)
        self.spend(20, 1)
        for _ in range(3):
            self.d.kill9()
            self.d.start()
            self.assertFalse(self.fresh())
            self.assertEqual(self.used(), (27, [7, 20, 0]))
            self.assertEqual(self.left(), 23)
        self.spend(23, 2)
        self.d.kill9()
        self.d.start()
        with self.d.native() as n:
            self.assertEqual(n.check(self.keys[0]['key']).reason,
                             RATE_LIMITED)
        self.assertEqual(self.used(), (50, [7, 20, 23]))

    def test_clean_stop_is_exact_without_the_arena(self):
        self.spend(7)
        self.spend(20, 1)
        self.d.stop()
        self.lose_arena()
        self.d.start()
        self.assertTrue(self.fresh())
        self.assertEqual(self.used(), (27, [7, 20, 0]))
        self.assertEqual(self.left(), 23)

    def test_lost_arena_comes_back_from_the_last_snapshot(self):
        self.spend(30)
        info = self.d.admin('POST', '/v1/snapshot')
        # Keys that were never used are left out.
        self.assertEqual((info['orgs'], info['keys']), (1, 1))
        self.assertEqual(info['bytes'], self.snap.stat().st_size)
        self.spend(5, 1)
        self.d.kill9()
        self.lose_arena()
        self.d.start()
        self.assertEqual(self.used(), (30, [30, 0, 0]))
        self.assertEqual(self.left(), 20)

    def test_arena_that_was_left_behind_is_not_carried_on_with(self):
        self.spend(7)
        self.d.kill9()
        here = self.d.env['RUNTIME_DIRECTORY']
        there = self.d.runtime / 'there'
        there.mkdir()
        self.d.env['RUNTIME_DIRECTORY'] = str(there)
        self.d.start()
        self.spend(20, 1)
        self.d.stop()
        self.d.env['RUNTIME_DIRECTORY'] = here
        self.d.start()
        self.assertTrue(self.fresh())
        self.assertEqual(self.used(), (20, [0, 20, 0]))
        self.assertIn('arena_discarded', self.d.log())

    def test_restored_window_still_slides(self):
        org = self.d.org('short', '10/2s')
        key = self.d.key(org['id'])['key']
        with self.d.native() as n:
            self.assertEqual(n.check(key, cost=10).reason, ALLOW)
            spent_at = time.monotonic()
        self.d.admin('POST', '/v1/snapshot')
        self.d.kill9()
        self.lose_arena()
        self.d.start()
        with self.d.native() as n:
            if time.monotonic() < spent_at + 1.9:
                self.assertEqual(n.check(key).reason, RATE_LIMITED)
            time.sleep(max(0, spent_at + 2.05 - time.monotonic()))
            self.assertEqual(n.check(key, cost=10).reason, ALLOW)

    def test_no_snapshot_and_no_arena_is_an_empty_window(self):
        self.spend(30)
        self.d.kill9()
        self.lose_arena()
        self.snap.unlink(missing_ok=True)
        self.d.start()
        self.assertEqual(self.left(), 50)

    def damaged(self, change):
        """Starting on such a snapshot without an arena: refused, told by
        name, and the file stays as it is."""
        self.spend(30)
        self.d.stop()
        good = self.snap.read_bytes()
        bad = change(bytearray(good))
        self.assertNotEqual(bytes(bad), good)
        self.snap.write_bytes(bad)
        self.lose_arena()
        self.d.stderr.write_text('')
        self.d.spawn()
        self.assertNotEqual(self.d.wait_exit(), 0)
        self.assertIn('counters.snap', self.d.log())
        self.assertEqual(self.snap.read_bytes(), bytes(bad))
        self.snap.write_bytes(good)
        self.d.start()
        self.assertEqual(self.used(), (30, [30, 0, 0]))
        return self.d.stderr.read_text()

    def test_flipped_bits_are_refused(self):
        def flip(at):
            def change(data):
                data[at] ^= 0x10
                return data
            return change
        for at in (-1, 100):
            with self.subTest(at=at):
                self.setUp()
                self.damaged(flip(at))

    def test_cut_off_snapshot_is_refused(self):
        self.damaged(lambda data: data[:-1])
        self.setUp()
        self.damaged(lambda data: data[:10])
        self.setUp()
        self.damaged(lambda data: b'')

    def test_foreign_file_is_refused(self):
        self.damaged(lambda data: b'#!/bin/sh\n' * 100)

    def test_newer_database_is_refused_and_left_alone(self):
        self.d.stop()
        path = self.d.state / 'records.db'
        with sqlite3.connect(path) as db:
            db.execute('PRAGMA user_version = 999')
        db.close()
        before = path.read_bytes()
        self.assertEqual(struct.unpack('>I', before[60:64])[0], 999)
        self.d.spawn()
        self.assertNotEqual(self.d.wait_exit(), 0)
        self.assertIn('newer', self.d.log())
        self.assertEqual(path.read_bytes(), before)

    def test_backup_is_a_database_that_serves(self):
        self.spend(3)
        path = self.d.top / 'copy.db'
        self.d.admin('POST', '/v1/backup', {'path': str(path)})
        late = self.d.key(self.org['id'])
        name = 'records.db'
        with Daemon() as other:
            other.stop()
            for old in other.state.glob('records.db*'):
                old.unlink()
            (other.state / name).write_bytes(path.read_bytes())
            other.start()
            with other.native() as n:
                self.assertEqual(n.check(self.keys[0]['key']).reason, ALLOW)
                self.assertNotEqual(n.check(late['key']).reason, ALLOW)


class Interval(unittest.TestCase):
    def test_snapshots_are_taken_by_themselves_while_checks_run(self):
        with Daemon('snapshot_interval: 1s\n') as d:
            org = d.org('o', '60000/1h')
            key = d.key(org['id'])['key']
            slowest = 0
            taken = set()
            end = time.monotonic() + 3.5
            with d.native() as n:
                while time.monotonic() < end:
                    begin = time.monotonic()
                    for _ in range(200):
                        self.assertEqual(n.check(key, flags=PEEK).reason,
                                         ALLOW)
                    slowest = max(slowest, time.monotonic() - begin)
                    taken.add(d.admin('GET', '/v1/status')
                              ['snapshot']['last_at'])
            self.assertGreaterEqual(len(taken - {None}), 2)
            self.assertLess(slowest, 2)
