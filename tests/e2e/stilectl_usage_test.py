# SPDX-License-Identifier: MIT
"""stilectl misused, alone, refused and watched: wrong usage, no daemon or a
strange one, other users, and where a key may not appear."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import unittest
from pathlib import Path

import harness
from harness import ROOT, wait_until
from secrets_test import memory_of
from stilectl_test import (OK, PROGRAM, REFUSED, TROUBLE, Ctl, run, sha256_hex)

COMPLETION = ROOT / 'tools' / 'stilectl.bash-completion'
NO_KEY = 'il_00000000_' + 43 * '0'


def commands():
    """The names in `stilectl --help`."""
    listed = re.search(r'\ncommands .*?:\n(.*?)\n\n', run('--help').stdout,
                       re.S)[1]
    return [re.match(r'  ([a-z]+( [a-z]+)*)  ', line)[1]
            for line in listed.split('\n')]


class Usage(unittest.TestCase):
    """What needs no daemon."""

    def refused(self, *args, stdin='', env=None):
        p = run('--dir', '/nonexistent', *args, stdin=stdin, env=env)
        self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''), args)
        self.assertRegex(p.stderr, r'\Astilectl: [^\n]+\n\Z')
        return p.stderr

    def test_wrong_usage(self):
        for args, word in (
                ([], 'no command'), (['nonsense'], '--help'),
                (['org'], 'suspend'), (['org', 'nonsense'], '--help'),
                (['org', 'creat', 'x'], '"org create"'),
                (['chek', 'x'], '"check"'), (['revoke', 'x'], '"key revoke"'),
                (['org', 'create'], 'too few'),
                (['org', 'create', 'a', 'b'], 'too many'),
                (['org', 'create', ''], 'empty'),
                (['org', 'limit', 'a'], 'too few'),
                (['project', 'create', 'a'], '--org'),
                (['key', 'create'], '--org'),
                (['key', 'create', '--org', ''], '--org is empty'),
                (['key', 'create', '--org', 'a', '--org', 'b'], 'twice'),
                (['key', 'create', 'name', '--org', 'a'], 'too many'),
                (['key', 'revoke'], 'too few'), (['check'], 'too few'),
                (['org', 'list', '--org', 'a'], 'takes no option --org'),
                (['usage', '--limit', '1/1s'], 'takes no option --limit'),
                (['status', '--json=1'], 'takes no value'),
                (['status', '--jsn'], '--json'), (['status', '-x'], '-x'),
                (['org', 'limit', 'a', '-1/60s'], 'unknown option -1'),
                (['status', '--org'], 'wants a value'),
                (['status'] * 20, 'too many'),
                (['--dir', '/else', 'status'], 'twice'),
                (['help', 'nonsense'], '--help')):
            self.assertIn(word, self.refused(*args), args)
        p = run('--dir', '', 'status')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('--dir is empty', p.stderr)

    def test_version(self):
        p = run('--version')
        self.assertEqual((p.returncode, p.stderr), (OK, ''))
        self.assertRegex(p.stdout, r'\Astilectl \d+\.\d+\.\d+\n\Z')

    def test_help_of_each_command(self):
        for line in run('--help').stdout.split('\n'):
            self.assertLess(len(line), 80)
        names = commands()
        for name in ('org create', 'org list', 'org suspend', 'org resume',
                     'org limit', 'project create', 'key create', 'key list',
                     'key revoke', 'key rotate', 'key import', 'check',
                     'usage', 'status', 'snapshot', 'backup'):
            self.assertIn(name, names)
        for name in names:
            p = run(*name.split(), '--help')
            self.assertEqual((p.returncode, p.stderr), (OK, ''), name)
            self.assertIn(f'usage: stilectl {name}', p.stdout)
            self.assertEqual(run('help', *name.split()).stdout, p.stdout)
            for line in p.stdout.split('\n'):
                self.assertLess(len(line), 80, name)
        for group in ('org', 'project', 'key', 'plan', 'limit', 'credits'):
            p = run(group, '--help')
            self.assertEqual(p.returncode, OK)
            for name in names:
                self.assertEqual(f'  {name} ' in p.stdout,
                                 name.startswith(group + ' '))

    def test_no_daemon(self):
        with tempfile.TemporaryDirectory() as top:
            for args in (['status'], ['check', '-']):
                p = run('--dir', top, *args, stdin='k')
                self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
                self.assertIn('is stiled running', p.stderr)
            for name in ('admin.sock', 'http.sock'):
                with socket.socket(socket.AF_UNIX) as s:
                    s.bind(f'{top}/{name}')
            for args in (['status'], ['check', '-']):
                p = run('--dir', top, *args, stdin='k')
                self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
                self.assertIn('start it', p.stderr)
            p = run('--dir', top + '/' + 'd' * 120, 'status')
            self.assertEqual(p.returncode, TROUBLE)
            self.assertIn('107 bytes', p.stderr)

    def test_where_the_directory_comes_from(self):
        with tempfile.TemporaryDirectory() as top:
            p = run('status', env={'STILE_DIR': '/from/environment'})
            self.assertIn('/from/environment/admin.sock', p.stderr)
            env = {'STILE_DIR': ''}
            p = run('status', env=env, cwd=top)
            self.assertRegex(p.stderr, '/(run|var/lib)/stile/admin.sock')
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(f'{top}/admin.sock')
            p = run('status', env=env, cwd=top)
            self.assertIn(' ./admin.sock', p.stderr)
            p = run('--socket', top + '/x', 'status', env=env, cwd=top)
            self.assertIn(f'{top}/x', p.stderr)


class Permission(Ctl):
    def test_other_users_are_told_so(self):
        if os.geteuid() != 0:
            self.skipTest('another user needs root')
        program = self.d.top / 'stilectl'
        program.write_bytes(Path(PROGRAM).read_bytes())
        program.chmod(0o755)

        def as_nobody(*args):
            return subprocess.run(
                [program, '--dir', self.d.dir, *args], input='k', text=True,
                capture_output=True, timeout=30, user=65534, group=65534,
                extra_groups=[], cwd='/')
        self.d.top.chmod(0o755)
        for args in (['status'], ['check', '-']):
            p = as_nobody(*args)
            self.assertEqual((p.returncode, p.stdout), (TROUBLE, ''))
            self.assertIn('no permission', p.stderr)
        # A socket that was opened up still lets in nobody else.
        self.d.admin_sock.chmod(0o666)
        p = as_nobody('status')
        self.assertIn(p.returncode, (REFUSED, TROUBLE))
        self.assertEqual(p.stdout, '')
        self.assertIn('user', p.stderr)


class FakeServer:
    """Answers each connection on a Unix socket with the same bytes."""

    def __init__(self, answer=None):
        self.top = tempfile.TemporaryDirectory()
        self.path = self.top.name + '/fake.sock'
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(8)
        self.answer = answer
        self.asked = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                while b'\r\n\r\n' not in conn.recv(1 << 16, socket.MSG_PEEK):
                    pass
                self.asked.set()
                if self.answer is None:
                    conn.recv(1 << 16)
                    while conn.recv(1 << 16):  # until the peer goes
                        pass
                else:
                    conn.recv(1 << 16)
                    conn.sendall(self.answer)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.top.cleanup()


class StrangeServer(unittest.TestCase):
    def answered(self, answer, *args):
        server = FakeServer(answer)
        self.addCleanup(server.close)
        p = run('--socket', server.path, *args, stdin='key')
        self.assertNotEqual(p.returncode, OK)
        self.assertRegex(p.stderr, r'\Astilectl: [^\n]+\n\Z')
        return p

    @staticmethod
    def http(body, status='200 OK'):
        return (f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n'
                f'Connection: close\r\n\r\n{body}').encode()

    def test_answers_that_make_no_sense(self):
        self.assertIn('closed', self.answered(b'', 'status').stderr)
        p = self.answered(self.http('oops', '500 Oops'), 'org', 'list')
        self.assertIn('500', p.stderr)
        p = self.answered(self.http('{"keys":[],"next":"same"}'), 'key',
                          'list')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('next', p.stderr)
        p = self.answered(self.http('{}', '201 Created'), 'key', 'create',
                          '--org', 'o')
        self.assertEqual(p.returncode, TROUBLE)
        self.answered(b'\x01\x02\x03\n\n', 'status')
        p = self.answered(self.http('', '503 Busy'), 'check', '-')
        self.assertEqual(p.returncode, TROUBLE)
        self.assertIn('503', p.stderr)

    def test_messages_cannot_steer_the_terminal(self):
        body = json.dumps({'error': {'code': 'x', 'message':
                                     'a\x1b[2Jb\u009bc'}}, ensure_ascii=False)
        body = body.replace('\\u001b', '\\u001b')
        raw = self.http(body, '400 Bad').replace(
            b'Content-Length: %d' % len(body),
            b'Content-Length: %d' % len(body.encode()))
        p = self.answered(raw, 'status')
        self.assertEqual(p.stderr, 'stilectl: a?[2Jb?c\n')


class Secrecy(Ctl):
    def test_whole_key_is_refused_where_an_id_belongs(self):
        org = self.org()
        key = self.key(org)['key']
        for args in (['key', 'revoke', key], ['key', 'show', key],
                     ['key', 'rotate', key], ['org', 'create', key],
                     ['org', 'show', f'x{key} y'],
                     ['key', 'create', '--org', org, '--name', key],
                     ['key', 'import', '--org', org, key],
                     ['backup', f'/tmp/{key}']):
            text = self.refused(*args, status=TROUBLE)
            self.assertNotIn(key[12:28], text)
            self.assertIn(f'give its id alone: {key[3:11]}', text)
        for args in ([key], ['chek', key], ['key', key], ['help', key],
                     ['status', '--' + key], ['status', key]):
            self.assertNotIn(key[12:28], self.refused(*args, status=TROUBLE))
        foreign = 'sk_live_51H8xY2eZvKYlo2C'
        for args in ([foreign], ['chek', foreign], ['key', foreign],
                     ['help', foreign]):
            self.assertNotIn(foreign, self.refused(*args, status=TROUBLE))
        self.assertNotIn(key[12:28], self.d.log())

    def test_key_leaves_the_list_of_processes(self):
        server = FakeServer()
        self.addCleanup(server.close)
        p = subprocess.Popen([PROGRAM, '--socket', server.path, 'check',
                              NO_KEY])
        with p:
            self.assertTrue(server.asked.wait(20))
            cmdline = Path(f'/proc/{p.pid}/cmdline').read_bytes()
            p.kill()
        self.assertIn(b'check', cmdline)
        self.assertNotIn(b'00000', cmdline)

    def search(self, pid, key):
        found = []
        for where, data in memory_of(pid):
            found += [where for part in (key[12:28], key[-22:-6])
                      if part.encode() in data]
        return found

    def test_no_trace_of_a_key_that_was_checked(self):
        """Held where its last line cannot be written, it has wiped the key."""
        if os.geteuid() != 0:
            self.skipTest('reading /proc/PID/mem needs root')
        if harness.sanitized():
            self.skipTest('a sanitizer keeps freed memory')
        key = self.key(self.org())['key']
        for args, stdin in ((['check', '-'], key), (['check', key], ''),
                            (['key', 'hash'], key)):
            r, w = os.pipe()
            os.set_blocking(w, False)
            try:
                while True:
                    os.write(w, bytes(4096))
            except BlockingIOError:
                os.set_blocking(w, True)
            p = subprocess.Popen([PROGRAM, '--dir', str(self.d.dir), *args],
                                 stdin=subprocess.PIPE, stdout=w)
            os.close(w)
            p.stdin.write(stdin.encode())
            p.stdin.close()
            wchan = Path(f'/proc/{p.pid}/syscall')
            wait_until(lambda: wchan.read_text().startswith('1 0x1 '),
                       'it blocks in write(1, ...)')
            self.assertEqual(self.search(p.pid, key), [], args)
            while os.read(r, 1 << 16):
                pass
            os.close(r)
            self.assertEqual(p.wait(20), OK)

    def terminal(self, then):
        """`key hash` asking on a terminal; then(master) answers."""
        master, slave = pty.openpty()
        p = subprocess.Popen([PROGRAM, 'key', 'hash'], stdin=slave,
                             stdout=subprocess.PIPE, stderr=slave,
                             start_new_session=True, text=True)
        try:
            wait_until(lambda: not termios.tcgetattr(slave)[3] & termios.ECHO,
                       'the terminal does not echo')
            then(master, p)
            out = p.stdout.read()
            status = p.wait(20)
            self.assertTrue(termios.tcgetattr(slave)[3] & termios.ECHO)
            os.set_blocking(master, False)
            return status, out, os.read(master, 1 << 16).decode()
        finally:
            p.stdout.close()
            p.kill()
            p.wait()
            os.close(master)
            os.close(slave)

    def test_key_typed_on_a_terminal_is_not_echoed(self):
        key = 'typed-by-hand'
        status, out, shown = self.terminal(
            lambda master, _: os.write(master, key.encode() + b'\n'))
        self.assertEqual((status, out), (OK, sha256_hex(key) + '\n'))
        self.assertIn('key: ', shown)
        self.assertNotIn(key, shown)

    def test_interrupt_brings_the_echo_back(self):
        status, out, shown = self.terminal(
            lambda _, p: p.send_signal(signal.SIGINT))
        self.assertEqual((status, out), (TROUBLE, ''))


class Completion(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last word."""
        script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_stilectl; printf "%s\\n" "${COMPREPLY[@]}"')
        p = subprocess.run(['bash', '-c', script, 'bash', str(COMPLETION),
                            'stilectl', *words], capture_output=True,
                           text=True, timeout=30)
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        return p.stdout.split()

    def test_parses(self):
        p = subprocess.run(['bash', '-n', str(COMPLETION)],
                           capture_output=True, text=True, timeout=30)
        self.assertEqual((p.returncode, p.stderr), (0, ''))

    def test_knows_exactly_the_commands_and_their_options(self):
        common = re.findall(r'(?m)^  (--[a-z-]+)', run('--help').stdout)
        names = commands()
        self.assertEqual(set(self.complete('')),
                         {n.split()[0] for n in names})
        for group in ('org', 'project', 'key'):
            self.assertEqual(set(self.complete(group, '')), {
                n.split()[1] for n in names if n.startswith(group + ' ')})
        for name in names:
            options = re.findall(r'(?m)^  (--[a-z-]+)',
                                 run(*name.split(), '--help').stdout)
            self.assertEqual(set(self.complete(*name.split(), '-')),
                             set(options), name)
            self.assertLessEqual(set(common), set(options))

    def test_after_options_and_their_values(self):
        self.assertEqual(self.complete('--dir', '/x', 'org', 'su'),
                         ['suspend'])
        self.assertEqual(self.complete('--json', 'key', 'ro'), ['rotate'])
        self.assertEqual(self.complete('key', 'create', '--org', 'a', '--pr'),
                         ['--project'])
        self.assertEqual(self.complete('key', 'create', '--org', ''), [])
        self.assertEqual(set(self.complete('help', 'key', 'r')),
                         {'revoke', 'rotate'})
        self.assertIn('/etc/passwd', self.complete('key', 'import',
                                                   '/etc/passw'))
        self.assertIn('/etc/passwd', self.complete('--dir', '/etc/passw'))
