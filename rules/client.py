"""A job's `python`, where a job server runs (`audiorestorer/job_server.py`): it sends the command there. It imports next to nothing.

Started as `python -IS client.py SOCKET ARGUMENTS`. Where the server cannot be reached, the command runs in an interpreter of its own.
"""

import _socket
import marshal
import os
import sys

address, arguments = sys.argv[1], sys.argv[2:]
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
try:
    server.connect(address)
except OSError:
    os.execv(sys.executable, [sys.executable, *arguments])
# Whatever breaks off from here on, the job has failed: it may have begun, and is not begun a second time.
request = marshal.dumps((os.getcwd(), arguments, dict(os.environ)))
files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
answer = b""
try:
    server.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    while request:
        request = request[server.send(request) :]
    answer = server.recv(8)
except OSError as error:
    print(f"audiorestorer: the job server has ended: {error}", file=sys.stderr)
code = int.from_bytes(answer, "big", signed=True) if answer else 1
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
