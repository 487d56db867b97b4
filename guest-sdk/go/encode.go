package grid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"slices"
	"unicode/utf8"
)

// ErrType is for a value that has no encoding.
var ErrType = errors.New("a value of this type has no CBOR encoding")

// Encode encodes a value as CBOR.
//
// It takes what [Decode] returns, and beside it all of Go's integers, float32, *big.Int, []string, []int64, []float64,
// map[string]any, and errors, which become their text. Keys of maps are sorted by their encoding, so that the
// same value is always the same bytes.
//
// Other values, more than 64 deep, and text that is not UTF-8, are an error.
func Encode(value any) ([]byte, error) {
	return appendValue(nil, value, 0)
}

func appendValue(to []byte, value any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, ErrTooDeep
	}
	switch value := value.(type) {
	case nil:
		return append(to, 0xf6), nil
	case bool:
		if value {
			return append(to, 0xf5), nil
		}
		return append(to, 0xf4), nil
	case string:
		return appendText(to, value)
	case []byte:
		return append(appendHead(to, majorBytes, uint64(len(value))), value...), nil
	case Bytes:
		return append(appendHead(to, majorBytes, uint64(len(value))), value...), nil
	case float32:
		return binary.BigEndian.AppendUint32(append(to, 0xfa), math.Float32bits(value)), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(to, 0xfb), math.Float64bits(value)), nil
	case []any:
		return appendList(to, value, depth)
	case []string:
		return appendList(to, value, depth)
	case []int64:
		return appendList(to, value, depth)
	case []float64:
		return appendList(to, value, depth)
	case map[any]any:
		return appendMap(to, value, depth)
	case map[string]any:
		return appendMap(to, value, depth)
	case *big.Int:
		return appendBig(to, value), nil
	case Tag:
		return appendValue(appendHead(to, majorTag, value.Number), value.Content, depth+1)
	case Simple:
		if value >= 24 && value < 32 {
			return nil, ErrType
		}
		return appendHead(to, majorOther, uint64(value)), nil
	case error:
		return appendText(to, value.Error())
	}
	return appendInteger(to, value)
}

func appendInteger(to []byte, value any) ([]byte, error) {
	switch value := value.(type) {
	case int:
		return appendSigned(to, int64(value)), nil
	case int8:
		return appendSigned(to, int64(value)), nil
	case int16:
		return appendSigned(to, int64(value)), nil
	case int32:
		return appendSigned(to, int64(value)), nil
	case int64:
		return appendSigned(to, value), nil
	case uint:
		return appendHead(to, majorUnsigned, uint64(value)), nil
	case uint8:
		return appendHead(to, majorUnsigned, uint64(value)), nil
	case uint16:
		return appendHead(to, majorUnsigned, uint64(value)), nil
	case uint32:
		return appendHead(to, majorUnsigned, uint64(value)), nil
	case uint64:
		return appendHead(to, majorUnsigned, value), nil
	}
	return nil, ErrType
}

// appendHead appends the start of an item, in the shortest form.
func appendHead(to []byte, major byte, number uint64) []byte {
	first := major << 5
	switch {
	case number < 24:
		return append(to, first|byte(number))
	case number <= math.MaxUint8:
		return append(to, first|24, byte(number))
	case number <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(to, first|25), uint16(number))
	case number <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(to, first|26), uint32(number))
	}
	return binary.BigEndian.AppendUint64(append(to, first|27), number)
}

func appendSigned(to []byte, number int64) []byte {
	if number < 0 {
		return appendHead(to, majorNegative, uint64(^number))
	}
	return appendHead(to, majorUnsigned, uint64(number))
}

// appendBig appends an integer of any size; one that fits 64 bits and a sign is an ordinary one.
func appendBig(to []byte, number *big.Int) []byte {
	major, tag, magnitude := byte(majorUnsigned), uint64(tagBig), number
	if number.Sign() < 0 {
		major, tag, magnitude = majorNegative, tagNegativeBig, new(big.Int).Not(number)
	}
	if magnitude.IsUint64() {
		return appendHead(to, major, magnitude.Uint64())
	}
	bytes := magnitude.Bytes()
	return append(appendHead(appendHead(to, majorTag, tag), majorBytes, uint64(len(bytes))), bytes...)
}

func appendText(to []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, ErrText
	}
	return append(appendHead(to, majorText, uint64(len(text))), text...), nil
}

func appendList[T any](to []byte, list []T, depth int) ([]byte, error) {
	to = appendHead(to, majorList, uint64(len(list)))
	for _, item := range list {
		var err error
		if to, err = appendValue(to, item, depth+1); err != nil {
			return nil, err
		}
	}
	return to, nil
}

func appendMap[K comparable](to []byte, dictionary map[K]any, depth int) ([]byte, error) {
	type entry struct {
		key   []byte
		value any
	}
	entries := make([]entry, 0, len(dictionary))
	for key, value := range dictionary {
		encoded, err := appendValue(nil, key, depth+1)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{encoded, value})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	to = appendHead(to, majorMap, uint64(len(entries)))
	for _, entry := range entries {
		var err error
		if to, err = appendValue(append(to, entry.key...), entry.value, depth+1); err != nil {
			return nil, err
		}
	}
	return to, nil
}
