package grid

import (
	"errors"
	"math"
	"math/big"
	"unicode/utf8"
)

// Bytes is a byte string as the key of a map, where Go allows no []byte.
type Bytes string

// Tag is a tagged value whose tag has no meaning here.
type Tag struct {
	Number  uint64
	Content any
}

// Simple is a simple value other than false, true and null; 23 is JavaScript's undefined.
type Simple uint8

// What is wrong with a message that is no CBOR.
var (
	ErrTruncated = errors.New("CBOR ends too early")
	ErrTrailing  = errors.New("bytes after the CBOR value")
	ErrTooDeep   = errors.New("CBOR is nested more than 64 deep")
	ErrMalformed = errors.New("CBOR is malformed")
	ErrText      = errors.New("CBOR has text that is not UTF-8")
	ErrKey       = errors.New("CBOR has a list, a map, a tag or a large integer as the key of a map")
	ErrDuplicate = errors.New("CBOR has a map with a key twice")
)

const (
	// maxDepth bounds recursion, and with it the stack that a message can take.
	maxDepth = 64
	// trusted is how many items a list or map may announce and get room for at once; more are added as they
	// come. So a few bytes that announce millions of items get no memory for them.
	trusted = 1024
)

// Major types, the first three bits of an item.
const (
	majorUnsigned = iota
	majorNegative
	majorBytes
	majorText
	majorList
	majorMap
	majorTag
	majorOther
)

const (
	tagBig         = 2
	tagNegativeBig = 3
)

// Decode decodes a message that is one CBOR value.
//
// Integers become int64, or uint64 or *[big.Int] where that is too small; floats of all sizes float64; text
// string; byte strings []byte; lists []any; maps map[any]any; null nil. A nil slice or map is never returned.
// [Bytes], [Tag] and [Simple] are for the rest.
func Decode(message []byte) (any, error) {
	d := decoder{rest: message}
	value, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if len(d.rest) > 0 {
		return nil, ErrTrailing
	}
	return value, nil
}

type decoder struct{ rest []byte }

// head reads the start of an item: its major type, the five bits beside it, and its number. If the bits are
// 31, the item is of indefinite length, or a break, and there is no number.
func (d *decoder) head() (major, info byte, number uint64, err error) {
	first, err := d.take(1)
	if err != nil {
		return 0, 0, 0, err
	}
	major, info = first[0]>>5, first[0]&31
	switch {
	case info < 24:
		return major, info, uint64(info), nil
	case info < 28:
		bytes, err := d.take(1 << (info - 24))
		for _, b := range bytes {
			number = number<<8 | uint64(b)
		}
		return major, info, number, err
	case info == 31 && major != majorUnsigned && major != majorNegative && major != majorTag:
		return major, info, 0, nil
	}
	return 0, 0, 0, ErrMalformed
}

// take takes bytes from what is left.
func (d *decoder) take(count uint64) ([]byte, error) {
	if count > uint64(len(d.rest)) {
		return nil, ErrTruncated
	}
	bytes := d.rest[:count]
	d.rest = d.rest[count:]
	return bytes, nil
}

// ended tells whether the next item is the break that ends an indefinite length, and takes it if so.
func (d *decoder) ended() bool {
	if len(d.rest) > 0 && d.rest[0] == 0xff {
		d.rest = d.rest[1:]
		return true
	}
	return false
}

func (d *decoder) value(depth int) (any, error) {
	major, info, number, err := d.head()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, ErrTooDeep
	}
	switch major {
	case majorUnsigned:
		if number > math.MaxInt64 {
			return number, nil
		}
		return int64(number), nil
	case majorNegative:
		if number > math.MaxInt64 {
			return new(big.Int).Not(new(big.Int).SetUint64(number)), nil
		}
		return ^int64(number), nil
	case majorBytes:
		return d.chunks(major, info, number)
	case majorText:
		bytes, err := d.chunks(major, info, number)
		return string(bytes), err
	case majorList:
		return d.list(info == 31, number, depth)
	case majorMap:
		return d.dictionary(info == 31, number, depth)
	case majorTag:
		return d.tag(number, depth)
	}
	return other(info, number)
}

// chunks reads the rest of a string, in one piece or in several. It returns a copy.
func (d *decoder) chunks(major, info byte, number uint64) ([]byte, error) {
	if info != 31 {
		return d.chunk([]byte{}, major, number)
	}
	whole := []byte{}
	for !d.ended() {
		inner, info, number, err := d.head()
		if err == nil && (inner != major || info == 31) {
			err = ErrMalformed
		}
		if err == nil {
			whole, err = d.chunk(whole, major, number)
		}
		if err != nil {
			return nil, err
		}
	}
	return whole, nil
}

func (d *decoder) chunk(to []byte, major byte, length uint64) ([]byte, error) {
	bytes, err := d.take(length)
	if err == nil && major == majorText && !utf8.Valid(bytes) {
		err = ErrText
	}
	return append(to, bytes...), err
}

// more tells whether a list or map with count items so far goes on.
func (d *decoder) more(indefinite bool, count int, announced uint64) bool {
	if indefinite {
		return !d.ended()
	}
	return uint64(count) < announced
}

func (d *decoder) list(indefinite bool, announced uint64, depth int) (any, error) {
	list := make([]any, 0, min(announced, trusted))
	for d.more(indefinite, len(list), announced) {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

func (d *decoder) dictionary(indefinite bool, announced uint64, depth int) (any, error) {
	dictionary := make(map[any]any, min(announced, trusted))
	for d.more(indefinite, len(dictionary), announced) {
		key, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		switch typed := key.(type) {
		case []byte:
			key = Bytes(typed)
		case []any, map[any]any, Tag, *big.Int:
			return nil, ErrKey
		}
		if _, there := dictionary[key]; there {
			return nil, ErrDuplicate
		}
		if dictionary[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return dictionary, nil
}

func (d *decoder) tag(number uint64, depth int) (any, error) {
	content, err := d.value(depth + 1)
	if err != nil || (number != tagBig && number != tagNegativeBig) {
		return Tag{number, content}, err
	}
	magnitude, ok := content.([]byte)
	if !ok {
		return nil, ErrMalformed
	}
	integer := new(big.Int).SetBytes(magnitude)
	if number == tagNegativeBig {
		integer.Not(integer)
	}
	return integer, nil
}

// other reads floats and simple values.
func other(info byte, number uint64) (any, error) {
	switch info {
	case 20, 21:
		return info == 21, nil
	case 22:
		return nil, nil
	case 25:
		return half(uint16(number)), nil
	case 26:
		return float64(math.Float32frombits(uint32(number))), nil
	case 27:
		return math.Float64frombits(number), nil
	case 31:
		return nil, ErrMalformed
	}
	if info == 24 && number < 32 {
		return nil, ErrMalformed
	}
	return Simple(number), nil
}

// half reads a float of 16 bits: one of sign, five of exponent, ten of fraction.
func half(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	var value float64
	switch exponent {
	case 0:
		value = math.Ldexp(fraction, -24)
	case 31:
		value = math.Inf(1)
		if fraction != 0 {
			value = math.Float64frombits(0x7ff<<52 | uint64(bits&1023)<<42)
		}
	default:
		value = math.Ldexp(1024+fraction, exponent-25)
	}
	if bits>>15 == 1 {
		return -value
	}
	return value
}
