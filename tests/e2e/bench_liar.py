# SPDX-License-Identifier: MIT
"""Stands where stile-bench starts stiled: starts the real one behind itself
and passes bytes on, but for one lie.

  bench_liar.py STILED LIE TARGET --config FILE

TARGET is the number of the request whose reply is changed."""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

REQUEST_BYTES, REPLY_BYTES = 128, 64
ALLOW, INVALID_KEY = 0, 3
PR_SET_PDEATHSIG = 1


def change(lie, target, reply):
    """The reply as it is passed on; None to cut the connection."""
    reply = bytearray(reply)
    hit = struct.unpack_from('<Q', reply, 8)[0] == target
    if lie == 'key' and hit:
        reply[48] ^= 1
    elif lie == 'refuse' and hit:
        reply[1] = INVALID_KEY
    elif lie == 'id' and hit:
        reply[8] ^= 1
    elif lie == 'cut' and hit:
        return None
    elif lie == 'allow' and reply[1] == INVALID_KEY:
        reply[1] = ALLOW
    return bytes(reply)


def whole_frames(sock, size):
    pending = b''
    while data := sock.recv(1 << 16):
        pending += data
        end = len(pending) - len(pending) % size
        yield [pending[i:i + size] for i in range(0, end, size)]
        pending = pending[end:]


def pass_requests(client, server, lie, target, skip):
    for frames in whole_frames(client, REQUEST_BYTES):
        for i, frame in enumerate(frames):
            if lie == 'twice' and not skip and \
                    struct.unpack_from('<Q', frame, 8)[0] == target:
                skip.append(target)
                frames[i] = frame + frame
        server.sendall(b''.join(frames))
    server.shutdown(socket.SHUT_WR)


def pass_replies(client, server, lie, target, skip):
    for frames in whole_frames(server, REPLY_BYTES):
        out = []
        for frame in frames:
            if skip == [struct.unpack_from('<Q', frame, 8)[0]]:
                skip.append('done')
                continue
            out.append(change(lie, target, frame))
            if out[-1] is None:
                client.sendall(b''.join(out[:-1]))
                client.shutdown(socket.SHUT_RDWR)
                return
        client.sendall(b''.join(out))
    client.shutdown(socket.SHUT_WR)


def serve(client, path, lie, target):
    skip = []
    with client, socket.socket(socket.AF_UNIX) as server:
        server.connect(str(path))
        there = threading.Thread(target=quietly, daemon=True, args=(
            pass_requests, client, server, lie, target, skip))
        there.start()
        quietly(pass_replies, client, server, lie, target, skip)
        there.join()


def quietly(function, *args):
    try:
        function(*args)
    except OSError:
        pass  # either side is gone


def main():
    stiled, lie, target, _, config = sys.argv[1:]
    lines = Path(config).read_text().splitlines()
    outer = Path(lines[0].removeprefix('dir: '))
    inner = outer / 'real'
    inner.mkdir()
    (inner / 'stiled.yaml').write_text(
        '\n'.join([f'dir: {inner}', *lines[1:]]) + '\n')

    child = subprocess.Popen(
        [stiled, '--config', inner / 'stiled.yaml'], stdout=subprocess.PIPE,
        text=True, preexec_fn=lambda: ctypes.CDLL(None).prctl(
            PR_SET_PDEATHSIG, signal.SIGKILL))
    for line in child.stdout:
        if line.startswith('ready'):
            break

    def stop(*_):
        child.terminate()
        os._exit(child.wait())

    signal.signal(signal.SIGTERM, stop)
    (outer / 'admin.sock').symlink_to(inner / 'admin.sock')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(outer / 'stile.sock'))
        listener.listen(128)
        print('ready', flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, daemon=True, args=(
                client, inner / 'stile.sock', lie, int(target))).start()


if __name__ == '__main__':
    main()
