# SPDX-License-Identifier: MIT
"""What every end-to-end test stands on: a daemon of its own in a directory of
its own, clients for the three sockets, nginx with the shipped configuration,
and a sample API behind it. Python's standard library only; the clients are
written from docs/protocol.md and docs/openapi.yaml, not from the sources."""

import http.server
import json
import os
import re
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get('STILE_BUILD', ROOT / 'build' / 'release'))
SOAK = os.environ.get('STILE_SOAK') == '1'
START_TIMEOUT_S = 60
IO_TIMEOUT_S = 20


def now():
    """The clock that the daemon decides by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sanitized():
    """True when the build carries ASan or TSan: no figures, no preloading."""
    data = (BUILD / 'stiled').read_bytes()
    return b'__asan_init' in data or b'__tsan_init' in data


def wait_until(condition, what, timeout_s=IO_TIMEOUT_S):
    end = time.monotonic() + timeout_s
    while True:
        if (result := condition()):
            return result
        if time.monotonic() > end:
            raise AssertionError(f'not within {timeout_s} s: {what}')
        time.sleep(0.01)


# ---------------------------------------------------------------- HTTP

class Closed(Exception):
    """The peer closed where an answer was due."""


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name):
        """The value of a header that occurs at most once, or None."""
        found = self.all(name)
        if len(found) > 1:
            raise AssertionError(f'{name} occurs {len(found)} times')
        return found[0] if found else None

    def all(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def json(self):
        return json.loads(self.body)


class Stream:
    """A blocking stream socket: a path is AF_UNIX, a number a local port."""

    def __init__(self, where, timeout_s=IO_TIMEOUT_S):
        if isinstance(where, int):
            self.sock = socket.create_connection(('127.0.0.1', where))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(where))
        self.sock.settimeout(timeout_s)
        self.buffer = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError as e:
            raise Closed(str(e)) from e
        if not data:
            raise Closed('end of stream')
        self.buffer += data

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def take_until(self, mark):
        while mark not in self.buffer:
            self.fill()
        data, self.buffer = self.buffer.split(mark, 1)
        return data

    def is_closed(self, timeout_s=IO_TIMEOUT_S):
        """Waits for the end of the stream; data that comes first is kept."""
        self.sock.settimeout(timeout_s)
        try:
            while True:
                self.fill()
        except Closed:
            return True
        except TimeoutError:
            return False


class Http(Stream):
    """HTTP/1.1, keep-alive, one request or a pipeline at a time."""

    def put(self, method, path, headers=(), body=None, host='stile'):
        lines = [f'{method} {path} HTTP/1.1', f'Host: {host}']
        lines += [f'{n}: {v}' for n, v in dict(headers).items()]
        if body is not None:
            lines.append(f'Content-Length: {len(body)}')
        head = '\r\n'.join(lines) + '\r\n\r\n'
        self.send(head.encode('latin-1') + (body or b''))

    def get(self, method='GET'):
        """Reads one response; `method` is that of its request."""
        head = self.take_until(b'\r\n\r\n').decode('latin-1').split('\r\n')
        match = re.fullmatch(r'HTTP/1\.[01] (\d{3})( .*)?', head[0])
        if not match:
            raise AssertionError(f'not a status line: {head[0]!r}')
        status = int(match[1])
        if status == 100:
            return self.get(method)
        headers = []
        for line in head[1:]:
            name, colon, value = line.partition(':')
            if not colon:
                raise AssertionError(f'not a header line: {line!r}')
            headers.append((name.lower(), value.strip()))
        fields = dict(headers)
        body = b''
        if method == 'HEAD' or status in (204, 304):
            pass
        elif fields.get('transfer-encoding') == 'chunked':
            while (size := int(self.take_until(b'\r\n'), 16)):
                body += self.take(size)
                self.take(2)
            self.take(2)
        elif 'content-length' in fields:
            body = self.take(int(fields['content-length']))
        else:
            self.is_closed()
            body, self.buffer = self.buffer, b''
        return Response(status, headers, body)

    def ask(self, method, path, headers=(), body=None):
        self.put(method, path, headers, body)
        return self.get(method)


def ask(where, path, headers=(), method='GET', body=None):
    """One request on a connection of its own."""
    with Http(where) as c:
        return c.ask(method, path, headers, body)


# -------------------------------------------------------------- native

REQUEST = struct.Struct('<BBBBIQ16sQ24s64s')
REPLY = struct.Struct('<BBBBIQIIII8s8s8s8s')
assert REQUEST.size == 128 and REPLY.size == 64

CHECK_KEY, CHECK_HASH = 1, 2
PEEK = 1
(ALLOW, BAD_REQUEST, NO_CREDENTIAL, INVALID_KEY, SUSPENDED, RATE_LIMITED,
 COST_ABOVE_LIMIT, NOT_READY) = range(8)
(DETAIL_NONE, DETAIL_COST, DETAIL_CREDENTIALS, DETAIL_FRAME, DETAIL_VERSION,
 DETAIL_HTTP) = range(6)


def frame(credential, request_id=0, cost=1, flags=0, version=1, kind=None):
    """A request: `credential` is a key (str or bytes up to 64), or a bytes
    object of 32 with kind=CHECK_HASH."""
    if isinstance(credential, str):
        credential = credential.encode()
    kind = kind or CHECK_KEY
    key_len = len(credential) if kind == CHECK_KEY else 0
    return REQUEST.pack(kind, version, flags, key_len, cost, request_id,
                        b'', 0, b'', credential)


class Reply:
    def __init__(self, data):
        (self.type, self.reason, self.detail, self.version, self.limit,
         self.request_id, self.remaining, self.window_ms, self.reset_ms,
         self.retry_ms, org, project, key, limit_name) = REPLY.unpack(data)
        self.org, self.project, self.key, self.limit_name = (
            x.rstrip(b'\0').decode() for x in (org, project, key, limit_name))


class Native(Stream):
    def get(self):
        return Reply(self.take(REPLY.size))

    def check(self, credential, **options):
        self.send(frame(credential, **options))
        return self.get()


class Hammer:
    """Many native connections with one check in flight each, from one thread.

    Every check that was sent ends up in `answered` as (sent_at, received_at,
    tag, cost, reason) or, when its connection died first, in `unanswered` as
    (sent_at, lost_at, tag, cost). The daemon decided between the two times.
    """

    REPLY_BYTES = REPLY.size

    def __init__(self, path, count):
        self.path, self.count = str(path), count
        self.answered, self.unanswered = [], []
        self.selector = selectors.DefaultSelector()
        self.in_flight = {}
        self.broken = []

    def connect(self):
        while len(self.in_flight) < self.count:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.path)
            except OSError:
                sock.close()
                return False
            self.in_flight[sock] = None
            self.selector.register(sock, selectors.EVENT_READ)
        return True

    def _send(self, sock, pick):
        tag, cost, data = pick()
        self.in_flight[sock] = (now(), tag, cost)
        try:
            sock.sendall(data)
        except OSError:
            self._lost(sock)

    def _lost(self, sock):
        if (flight := self.in_flight.pop(sock)):
            self.unanswered.append((flight[0], now(), *flight[1:]))
        self.selector.unregister(sock)
        sock.close()

    def _receive(self, sock):
        try:
            data = sock.recv(self.REPLY_BYTES)
        except OSError:
            data = b''
        received_at = now()
        if len(data) != self.REPLY_BYTES:
            if data:
                self.broken.append(data)
            self._lost(sock)
            return False
        sent_at, tag, cost = self.in_flight[sock]
        self.in_flight[sock] = None
        self.answered.append((sent_at, received_at, tag, cost, data[1]))
        self.told(tag, cost, data)
        return True

    def told(self, tag, cost, data):
        """A whole answer, for those who need more of it."""

    def run(self, pick, until):
        """Sends what pick() returns, (tag, cost, frame), until `until()`;
        dead connections are opened again. Returns with nothing in flight."""
        while not until():
            self.connect()
            for sock in [s for s, f in self.in_flight.items() if not f]:
                self._send(sock, pick)
            for key, _ in self.selector.select(0.05):
                if self._receive(key.fileobj):
                    self._send(key.fileobj, pick)
        end = now() + IO_TIMEOUT_S
        while any(self.in_flight.values()):
            for key, _ in self.selector.select(0.05):
                self._receive(key.fileobj)
            if now() > end:
                raise AssertionError('a check was neither answered nor lost')

    def close(self):
        for sock in self.in_flight:
            sock.close()
        self.selector.close()


# -------------------------------------------------------------- daemon

class AdminError(Exception):
    def __init__(self, status, error):
        super().__init__(f'{status} {error}')
        self.status, self.error = status, error
        self.code = error.get('code')


class Daemon:
    """stiled in a temporary directory; a context manager."""

    def __init__(self, config=None, env=None, wrapper=()):
        self.top = Path(tempfile.mkdtemp(prefix='stile-e2e-'))
        # The arena belongs on tmpfs; a directory of our own leaves nothing.
        self.runtime = Path(tempfile.mkdtemp(prefix='stile-e2e-',
                                             dir='/dev/shm'))
        self.dir = self.top / 'run'
        self.dir.mkdir()
        self.native_sock = self.dir / 'stile.sock'
        self.http_sock = self.dir / 'http.sock'
        self.admin_sock = self.dir / 'admin.sock'
        self.state = self.dir / 'state'
        self.stderr = self.top / 'stderr'
        self.env = dict(os.environ, RUNTIME_DIRECTORY=str(self.runtime),
                        **(env or {}))
        self.wrapper = list(wrapper)
        self.process = None
        self.config = None
        if config:
            self.config = self.top / 'stile.yaml'
            self.config.write_text(config)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def command(self, *more):
        command = [*self.wrapper, str(BUILD / 'stiled'), '--dir',
                   str(self.dir)]
        if self.config:
            command += ['--config', str(self.config)]
        return command + list(more)

    def spawn(self):
        with open(self.stderr, 'ab') as err:
            self.process = subprocess.Popen(
                self.command(), env=self.env, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=err)
        return self

    def start(self):
        """Returns once `ready` was printed; ready_s says how long it took."""
        begin = time.monotonic()
        self.spawn()
        with selectors.DefaultSelector() as s:
            s.register(self.process.stdout, selectors.EVENT_READ)
            line = b''
            while not line.endswith(b'\n'):
                left = begin + START_TIMEOUT_S - time.monotonic()
                if not s.select(max(left, 0)):
                    raise AssertionError('stiled did not become ready: ' +
                                         self.log())
                byte = os.read(self.process.stdout.fileno(), 1)
                if not byte:
                    raise AssertionError(
                        f'stiled ended with {self.process.wait()}: ' +
                        self.log())
                line += byte
        if line != b'ready\n':
            raise AssertionError(f'expected "ready", got {line!r}')
        self.ready_s = time.monotonic() - begin
        return self

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.stderr.read_text(errors='replace')

    def stop(self):
        """SIGTERM must drain and exit 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(START_TIMEOUT_S)
        self.process.stdout.close()
        if status != 0:
            raise AssertionError(f'exit status {status}: {self.log()}')

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def wait_exit(self):
        status = self.process.wait(START_TIMEOUT_S)
        self.process.stdout.close()
        return status

    def close(self):
        try:
            if self.process and self.process.poll() is None:
                self.stop()
        finally:
            if self.process and self.process.poll() is None:
                self.kill9()
            shutil.rmtree(self.top, ignore_errors=True)
            shutil.rmtree(self.runtime, ignore_errors=True)

    # The admin API

    def admin_raw(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {'Content-Type': 'application/json'} if data else {}
        with Http(self.admin_sock, timeout_s=START_TIMEOUT_S) as c:
            return c.ask(method, path, headers, data)

    def admin(self, method, path, body=None):
        """The parsed answer; anything but 2xx raises AdminError."""
        r = self.admin_raw(method, path, body)
        if r.status // 100 != 2:
            raise AdminError(r.status, r.json()['error'])
        return r.json()

    def org(self, name, limit='100/60s'):
        return self.admin('POST', '/v1/orgs', {'name': name, 'limit': limit})

    def project(self, org, name):
        return self.admin('POST', f'/v1/orgs/{org}/projects', {'name': name})

    def key(self, org, **fields):
        return self.admin('POST', f'/v1/orgs/{org}/keys', fields)

    def usage(self, org):
        """(units of the organization, {key id: units})"""
        page = self.admin('GET', f'/v1/usage?org={org}')
        return (page['orgs'][0]['used'],
                {k['id']: k['used'] for k in page['keys']})

    def metrics(self):
        """{'name{labels}': value}"""
        r = ask(self.admin_sock, '/metrics')
        if r.status != 200:
            raise AssertionError(f'/metrics: {r.status}')
        return {m[1]: float(m[2]) for m in re.finditer(
            r'^([a-z_]+(?:\{[^}]*\})?) (\S+)$', r.body.decode(), re.M)}

    def metric(self, name):
        """Sum over all labels of a metric, e.g. connections_accepted_total."""
        found = [v for k, v in self.metrics().items()
                 if k.split('{')[0] in (name, 'stile_' + name)]
        if not found:
            raise AssertionError(f'no metric {name}')
        return sum(found)

    def native(self):
        return Native(self.native_sock)

    def http(self):
        return Http(self.http_sock)

    def check_http(self, key, path='/v1/check', **headers):
        h = {'Authorization': f'Bearer {key}'} if key else {}
        h.update((n.replace('_', '-'), v) for n, v in headers.items())
        return ask(self.http_sock, path, h)


# --------------------------------------------------------- nginx, the API

class SampleApi:
    """Answers every request with a JSON description of it."""

    def __init__(self):
        outer = self
        self.seen = []
        self.status = 200
        self.headers = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self):
                if self.headers.get('Transfer-Encoding') == 'chunked':
                    body = b''
                    while (n := int(self.rfile.readline(), 16)):
                        body += self.rfile.read(n)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    n = int(self.headers.get('Content-Length', 0))
                    body = self.rfile.read(n)
                outer.seen.append({
                    'method': self.command, 'path': self.path, 'body': body,
                    'headers': [(n.lower(), v)
                                for n, v in self.headers.items()]})
                answer = json.dumps({'api': 'hello'}).encode()
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(answer)))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer
            do_PATCH = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                      Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # nginx closed: fine
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={'poll_interval': 0.05})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Nginx:
    """nginx with docs/deploy/nginx as shipped: only the socket, the two ports
    and, for a scratch directory of root's, the user are filled in. `edit`
    maps a file name to a function that changes its text further."""

    def __init__(self, gate_sock, api_port, edit=None):
        self.top = Path(tempfile.mkdtemp(prefix='stile-e2e-nginx-'))
        self.port = free_port()
        conf = self.top / 'conf'
        shutil.copytree(ROOT / 'docs' / 'deploy' / 'nginx', conf)
        (conf / 'html').mkdir()
        (conf / 'html' / 'index.html').write_text('not the API\n')
        self.replace(conf / 'stile.conf', {
            'unix:/run/stile/http.sock': f'unix:{gate_sock}',
            'server 127.0.0.1:8000': f'server 127.0.0.1:{api_port}',
            'listen 80': f'listen 127.0.0.1:{self.port}'})
        for name, change in (edit or {}).items():
            path = conf / name
            before = path.read_text()
            path.write_text(change(before))
            if path.read_text() == before:
                raise AssertionError(f'the edit of {name} changed nothing')
        self.conf = conf
        settings = 'daemon off;' + ('user root;' if os.geteuid() == 0 else '')
        self.err = conf / 'error.log'
        self.process = subprocess.Popen(
            ['nginx', '-p', str(conf), '-c', 'nginx.conf', '-g', settings],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(conf / 'stderr', 'wb'))
        wait_until(self.answers, 'nginx listens')

    @staticmethod
    def replace(path, words):
        text = path.read_text()
        for old, new in words.items():
            if text.count(old) != 1:
                raise AssertionError(f'{old!r} is not once in {path.name}')
            text = text.replace(old, new)
        path.write_text(text)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError('nginx ended: ' +
                                 (self.conf / 'stderr').read_text())
        try:
            Stream(self.port).close()
            return True
        except ConnectionRefusedError:
            return False

    def log(self):
        return self.err.read_text() if self.err.exists() else ''

    def ask(self, path, headers=(), method='GET', body=None):
        return ask(self.port, path, headers, method, body)

    def close(self):
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(IO_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()
        shutil.rmtree(self.top, ignore_errors=True)


# --------------------------------------------------------------- tests

class Case(unittest.TestCase):
    """A test with one daemon for the class; `config` is its YAML."""
    config = None
    daemon_env = None

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(cls.config, cls.daemon_env)
        cls.addClassCleanup(cls.d.close)
        cls.d.start()
