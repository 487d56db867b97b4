"""Messages between two programs that share a secret: each proves that it has it, and nobody between them changes one.

Nothing here hides what is said. Each message is a value in CBOR under a code of its number, by a key of this connection.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
import time
from typing import Any

from ._wasm_grid import GridError, ValueFormError, dumps, loads

#: Bytes of a message, if its reader does not say otherwise: a stranger can make nobody set aside more.
SHORT_BYTES_MAX = 64 << 10

_NONCE_BYTES = 32
_MAC_BYTES = 32
_HEAD = struct.Struct(">Q")


class ChannelError(GridError):
    """The other program has another secret, speaks otherwise, or is gone."""


class SecretChannel:
    """One end of a connection. Both ends must have the same secret, or the first message is refused."""

    def __init__(self, connection: socket.socket, secret: bytes, *, is_manager: bool, timeout: float) -> None:
        """`timeout`, in seconds, limits each step, as :meth:`limit` does."""
        self._connection = connection
        self._secret = secret
        self._is_manager = is_manager
        self._sent = self._received = 0
        self._limit: float | None = timeout

    def greet(self) -> None:
        """Exchange random numbers, of which this connection's keys are made: comes first at both ends.

        Raises:
            ChannelError: The other program does not answer.
        """
        own = secrets.token_bytes(_NONCE_BYTES)
        self._write(own)
        other = self._read(_NONCE_BYTES, self._deadline())
        is_manager, secret = self._is_manager, self._secret
        key = hmac.digest(secret, b"".join([own, other] if is_manager else [other, own]), "sha256")
        sides = (b"manager", b"worker") if is_manager else (b"worker", b"manager")
        self._own, self._other = (hmac.digest(key, side, "sha256") for side in sides)

    def send(self, value: Any) -> None:
        """Send a value.

        Raises:
            ChannelError: The other program is gone.
        """
        body = dumps(value)
        mac = hmac.digest(self._own, _HEAD.pack(self._sent) + body, "sha256")
        self._sent += 1
        self._write(_HEAD.pack(len(body)) + mac + body)

    def receive(self, most: int = SHORT_BYTES_MAX) -> Any:
        """Wait for the next value, of at most so many bytes.

        Raises:
            ChannelError: There will be none, or it was not written by who has the secret.
        """
        until = self._deadline()
        (length,) = _HEAD.unpack(self._read(_HEAD.size, until))
        if length > most:
            raise ChannelError(f"a message of {length} bytes is over the limit of {most}")
        mac, body = self._read(_MAC_BYTES, until), self._read(length, until)
        expected = hmac.digest(self._other, _HEAD.pack(self._received) + body, "sha256")
        self._received += 1
        if not hmac.compare_digest(mac, expected):
            raise ChannelError("the other program has another authkey")
        try:
            return loads(body)
        except ValueFormError as error:
            raise ChannelError(str(error)) from error

    def limit(self, seconds: float | None) -> None:
        """From now on each message may take so long, or for ever, however slowly its bytes come."""
        self._limit = seconds

    def close(self) -> None:
        """End it; whoever waits at either end learns it."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It has ended already.
        self._connection.close()

    def _write(self, data: bytes) -> None:
        try:
            self._connection.settimeout(self._limit)
            self._connection.sendall(data)
        except OSError as error:
            raise ChannelError(f"the other program is gone: {error}") from error

    def _deadline(self) -> float | None:
        return None if self._limit is None else time.monotonic() + self._limit

    def _read(self, length: int, until: float | None) -> bytes:
        got = bytearray()
        while len(got) < length:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise ChannelError("the other program did not answer in time")
            try:
                self._connection.settimeout(left)
                more = self._connection.recv(min(length - len(got), 1 << 20))
            except socket.timeout as error:
                raise ChannelError("the other program did not answer in time") from error
            except OSError as error:
                raise ChannelError(f"the other program does not answer: {error}") from error
            if not more:
                raise ChannelError("the other program has closed the connection")
            got += more
        return bytes(got)
