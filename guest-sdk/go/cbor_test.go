package grid

import (
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"math/rand"
	"reflect"
	"strings"
	"testing"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func large(text string) *big.Int {
	number, _ := new(big.Int).SetString(text, 10)
	return number
}

// The examples of RFC 8949, appendix A.
var examples = map[string]any{
	"00": int64(0), "17": int64(23), "1818": int64(24), "1903e8": int64(1000),
	"1b7fffffffffffffff": int64(math.MaxInt64), "1bffffffffffffffff": uint64(math.MaxUint64),
	"20": int64(-1), "3903e7": int64(-1000), "3b7fffffffffffffff": int64(math.MinInt64),
	"3bffffffffffffffff":         large("-18446744073709551616"),
	"c249010000000000000000":     large("18446744073709551616"),
	"c349010000000000000000":     large("-18446744073709551617"),
	"f90000":                     0.0,
	"f93c00":                     1.0,
	"f97bff":                     65504.0,
	"f90001":                     5.960464477539063e-8,
	"f90400":                     0.00006103515625,
	"f9c400":                     -4.0,
	"f97c00":                     math.Inf(1),
	"f9fc00":                     math.Inf(-1),
	"fa47c35000":                 100000.0,
	"fbc010666666666666":         -4.1,
	"f4":                         false,
	"f5":                         true,
	"f6":                         nil,
	"f7":                         Simple(23),
	"f8ff":                       Simple(255),
	"c11a514b67b0":               Tag{1, int64(1363896240)},
	"40":                         []byte{},
	"4401020304":                 []byte{1, 2, 3, 4},
	"60":                         "",
	"62c3bc":                     "ü",
	"80":                         []any{},
	"8301820203820405":           []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}},
	"a0":                         map[any]any{},
	"a201020304":                 map[any]any{int64(1): int64(2), int64(3): int64(4)},
	"a26161014162f5":             map[any]any{"a": int64(1), Bytes("b"): true},
	"5f42010243030405ff":         []byte{1, 2, 3, 4, 5},
	"7f657374726561646d696e67ff": "streaming",
	"9fff":                       []any{},
	"9f018202039f0405ffff":       []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}},
	"bf61610161629f0203ffff":     map[any]any{"a": int64(1), "b": []any{int64(2), int64(3)}},
}

func TestTheExamplesOfTheStandardAreDecodedAndGoRound(t *testing.T) {
	for text, want := range examples {
		got, err := Decode(unhex(t, text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v; want %#v", text, got, err, want)
		}
		again, err := Encode(got)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if round, err := Decode(again); err != nil || !reflect.DeepEqual(round, want) {
			t.Errorf("%s: %#v came back as %#v, %v", text, want, round, err)
		}
	}
}

func TestNotANumberGoesRound(t *testing.T) {
	for _, text := range []string{"f97e00", "fa7fc00000", "fb7ff8000000000000"} {
		got, err := Decode(unhex(t, text))
		if number, ok := got.(float64); err != nil || !ok || !math.IsNaN(number) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestBrokenInputIsAnError(t *testing.T) {
	for text, want := range map[string]error{
		"":                              ErrTruncated,
		"18":                            ErrTruncated,
		"62c3":                          ErrTruncated,
		"62c328":                        ErrText,
		"8201":                          ErrTruncated,
		"9f01":                          ErrTruncated,
		"a101":                          ErrTruncated,
		"0000":                          ErrTrailing,
		"ff":                            ErrMalformed,
		"1c":                            ErrMalformed,
		"1f":                            ErrMalformed,
		"df00":                          ErrMalformed,
		"f818":                          ErrMalformed,
		"5f00ff":                        ErrMalformed,
		"5f5f4100ffff":                  ErrMalformed,
		"c201":                          ErrMalformed,
		"81ff":                          ErrMalformed,
		"bf01ff":                        ErrMalformed,
		"a18000":                        ErrKey,
		"a2010201ff":                    ErrDuplicate,
		"5bffffffffffffffff":            ErrTruncated,
		"7bffffffffffffffff":            ErrTruncated,
		"9bffffffffffffffff":            ErrTruncated,
		"bbffffffffffffffff":            ErrTruncated,
		strings.Repeat("81", 65) + "00": ErrTooDeep,
		strings.Repeat("81", 1<<20):     ErrTooDeep,
		strings.Repeat("c1", 1<<20):     ErrTooDeep,
	} {
		if got, err := Decode(unhex(t, text)); !errors.Is(err, want) {
			t.Errorf("%.40s: got %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := Decode(unhex(t, strings.Repeat("81", 64)+"00")); err != nil {
		t.Error(err)
	}
}

func TestNoBytesMakeTheDecoderPanic(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 200_000 {
		message := make([]byte, random.Intn(40))
		random.Read(message)
		if value, err := Decode(message); err == nil {
			if _, err := Encode(value); err != nil {
				t.Fatalf("%x: %#v: %v", message, value, err)
			}
		}
	}
}

func TestKeysAreSortedAndGoTypesEncoded(t *testing.T) {
	value := map[string]any{"b": []string{"x"}, "a": uint8(7), "c": float32(1), "d": -5}
	encoded, err := Encode(value)
	if want := "a461610761628161786163fa3f800000616424"; err != nil || hex.EncodeToString(encoded) != want {
		t.Errorf("%x, %v", encoded, err)
	}
}

func TestWhatHasNoEncodingIsAnError(t *testing.T) {
	endless := []any{nil}
	endless[0] = endless
	for want, values := range map[error][]any{
		ErrType:    {struct{}{}, make(chan int), Simple(24), []any{complex(1, 1)}},
		ErrText:    {"\xff", map[string]any{"\xff": 1}},
		ErrTooDeep: {endless},
	} {
		for _, value := range values {
			if _, err := Encode(value); !errors.Is(err, want) {
				t.Errorf("%T: %v", value, err)
			}
		}
	}
}
