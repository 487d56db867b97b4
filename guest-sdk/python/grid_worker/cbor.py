"""CBOR (RFC 8949) in Python's own values.

None, bool, int of any size, float, str, bytes, list and dict go both ways. A tuple is sent as a list. A tag without a
meaning in Python is a `Tag`, and `undefined` is None.
"""

from collections import namedtuple
from struct import Struct

DEPTH_MAX = 64
"""Lists, maps and tags inside of each other; a message that has more of them would use up the stack."""

Tag = namedtuple("Tag", ["number", "value"])
Tag.__doc__ = "A value with a tag, other than that of a large integer."


class CborError(ValueError):
    """Bytes that are no CBOR, or CBOR that is no value of Python."""


def encode(value):
    """Encodes a value; its bytes.

    Raises TypeError for what has no form in CBOR, and ValueError for what is nested too deep, or in itself.
    """
    out = bytearray()
    _write(out, value, DEPTH_MAX)
    return bytes(out)


def decode(message):
    """Decodes one value from bytes that hold that and no more.

    Lists that are keys of a map, or in tags that are, become tuples. Raises CborError, and nothing else, for any other
    bytes.
    """
    try:
        reader = _Reader(bytes(message))
        value = reader.item(DEPTH_MAX)
    except IndexError:
        raise CborError("it ends too soon") from None
    except UnicodeDecodeError:
        raise CborError("a text is no UTF-8") from None
    if reader.at != reader.size:
        raise CborError(f"{reader.size - reader.at} bytes are left over")
    return value


_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)

_BREAK = object()

_HALF, _SINGLE, _DOUBLE = Struct(">e"), Struct(">f"), Struct(">d")

_HEAD8, _HEAD16, _HEAD32, _HEAD64 = (Struct(form).pack for form in (">BB", ">BH", ">BI", ">BQ"))

_SIMPLES = {20: False, 21: True, 22: None, 23: None}

_FLOATS = {25: _HALF, 26: _SINGLE, 27: _DOUBLE}


def _head(out, major, number):
    """Writes a kind with its number: the value, its length, or the tag."""
    kind = major << 5
    if number < 24:
        out.append(kind | number)
    elif number < 0x100:
        out += _HEAD8(kind | 24, number)
    elif number < 0x1_0000:
        out += _HEAD16(kind | 25, number)
    elif number < 0x1_0000_0000:
        out += _HEAD32(kind | 26, number)
    else:
        out += _HEAD64(kind | 27, number)


def _write(out, value, depth):
    kind = type(value)
    if kind is int:
        if 0 <= value < 24:
            out.append(value)
        else:
            _integer(out, value)
    elif kind is str:
        text = value.encode()
        _head(out, _TEXT, len(text))
        out += text
    elif value is None:
        out.append(0xF6)
    elif kind is bool:
        out.append(0xF5 if value else 0xF4)
    elif kind is float:
        out.append(0xFB)
        out += _DOUBLE.pack(value)
    elif kind is bytes:
        _head(out, _BYTES, len(value))
        out += value
    elif kind is list or kind is tuple:
        _inside(depth)
        _head(out, _LIST, len(value))
        for item in value:
            _write(out, item, depth - 1)
    elif kind is dict:
        _inside(depth)
        _head(out, _MAP, len(value))
        for key, item in value.items():
            _write(out, key, depth - 1)
            _write(out, item, depth - 1)
    elif kind is Tag:
        _inside(depth)
        _head(out, _TAG, value.number)
        _write(out, value.value, depth - 1)
    else:
        _write(out, _plain(value), depth)


def _inside(depth):
    if depth == 0:
        raise ValueError(f"the value is nested more than {DEPTH_MAX} deep, or holds itself")


def _integer(out, value):
    major, number = (_UNSIGNED, value) if value >= 0 else (_NEGATIVE, -1 - value)
    if number < 1 << 64:
        _head(out, major, number)
        return
    digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
    # Tag 2 is a large integer, and 3 a large negative one.
    _head(out, _TAG, 2 + major)
    _head(out, _BYTES, len(digits))
    out += digits


def _plain(value):
    """The plain value of which this is a kind, an IntEnum say."""
    for kind in (int, str, float, bytes, list, tuple, dict):
        if isinstance(value, kind):
            # Its own method, because a class may change what conversion gives.
            return kind.__str__(value) if kind is str else kind(value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"a {type(value).__name__} cannot be sent as CBOR")


class _Reader:
    """Reads the items of a message, one after the other."""

    __slots__ = ("at", "data", "size")

    def __init__(self, data):
        self.data = data
        self.size = len(data)
        self.at = 0

    def argument(self, info):
        """The number of a head that is longer than a byte."""
        if info > 27:
            raise CborError(f"byte {self.at - 1} has no meaning")
        if info == 24:
            self.at += 1
            return self.data[self.at - 1]
        return int.from_bytes(self.take(1 << info - 24), "big")

    def take(self, length):
        start, end = self.at, self.at + length
        if end > self.size:
            raise CborError("it ends too soon")
        self.at = end
        return self.data[start:end]

    def pieces(self, major):
        """The pieces of a text or of bytes without a length, up to the break."""
        found = []
        while (head := self.data[self.at]) != 0xFF:
            self.at += 1
            if head >> 5 != major or head & 31 == 31:
                raise CborError("a piece of a text or of bytes is of another kind")
            number = head & 31
            piece = self.take(number if number < 24 else self.argument(number))
            found.append(piece if major == _BYTES else str(piece, "utf-8"))
        self.at += 1
        return (b"" if major == _BYTES else "").join(found)

    def simple(self, info):
        if info in _FLOATS:
            form = _FLOATS[info]
            return form.unpack(self.take(form.size))[0]
        if info in _SIMPLES:
            return _SIMPLES[info]
        if info == 31:
            return _BREAK
        raise CborError("a simple value that Python does not have")

    def listing(self, number, depth):
        if number is not None:
            # Each item takes a byte at the least.
            if number > self.size - self.at:
                raise CborError("it ends too soon")
            return [self.item(depth) for _ in range(number)]
        found = []
        while (value := self.item(depth, True)) is not _BREAK:
            found.append(value)
        return found

    def mapping(self, number, depth):
        if number is not None and number > (self.size - self.at) // 2:
            raise CborError("it ends too soon")
        found = {}
        count = 0
        while count != number:
            key = self.item(depth, number is None)
            if key is _BREAK:
                break
            if type(key) is list or type(key) is Tag:
                key = _frozen(key)
            value = self.item(depth)
            try:
                found[key] = value
            except TypeError:
                raise CborError("a key of a map cannot be a key in Python") from None
            count += 1
        if len(found) != count:
            raise CborError("two keys of a map are equal")
        return found

    def tagged(self, number, depth):
        value = self.item(depth)
        if number not in (2, 3):
            return Tag(number, value)
        if type(value) is not bytes:
            raise CborError("a large integer has no bytes")
        large = int.from_bytes(value, "big")
        return large if number == 2 else -1 - large

    def item(self, depth, or_break=False):
        head = self.data[self.at]
        self.at += 1
        if head < 24:
            return head
        major, number = head >> 5, head & 31
        if major == _SIMPLE:
            value = self.simple(number)
            if value is _BREAK and not or_break:
                raise CborError("a break that ends nothing")
            return value
        if number == 31:
            if major in (_BYTES, _TEXT):
                return self.pieces(major)
            if major not in (_LIST, _MAP):
                raise CborError(f"byte {self.at - 1} has no meaning")
            number = None
        elif number > 23:
            number = self.argument(number)
        if major == _UNSIGNED:
            return number
        if major == _TEXT:
            return str(self.take(number), "utf-8")
        if major == _NEGATIVE:
            return -1 - number
        if major == _BYTES:
            return self.take(number)
        if depth == 0:
            raise CborError(f"it is nested more than {DEPTH_MAX} deep")
        if major == _LIST:
            return self.listing(number, depth - 1)
        if major == _MAP:
            return self.mapping(number, depth - 1)
        return self.tagged(number, depth - 1)


def _frozen(value):
    """A list as something that can be a key, also with a tag."""
    if type(value) is Tag:
        return Tag(value.number, _frozen(value.value))
    return tuple(map(_frozen, value)) if type(value) is list else value
