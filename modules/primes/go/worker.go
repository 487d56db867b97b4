// Counts primes the naive way: tries every smaller divisor until one divides.
//
// A message is the CBOR pair [from, to], or a line of text with a number n, which means [n, n + 1000]; the
// answer is the CBOR map {from, to, count, largest} for the primes p with from <= p < to.
package main

import (
	"errors"
	"math"
	"strconv"
	"strings"

	grid "grid.example/guest"
)

const (
	// slice is how many numbers are looked at in one turn.
	slice = 100
	// line is how many numbers are in the range that a line of text stands for.
	line = 1000
)

var errRange = errors.New("expected the CBOR pair [from, to] or a number as text")

type primes struct {
	busy     bool
	from, to uint32
	next     uint32
	count    uint32
	largest  any
}

func (p *primes) Handle(message []byte) error {
	from, to, err := parse(message)
	if err == nil {
		*p = primes{busy: true, from: from, to: to, next: from}
	}
	return err
}

func (p *primes) Loop() grid.Turn {
	if !p.busy {
		return grid.Idle
	}
	for left := slice; left > 0 && p.next < p.to; left-- {
		if isPrime(p.next) {
			p.count++
			p.largest = p.next
		}
		p.next++
	}
	if p.next < p.to {
		return grid.Again
	}
	p.busy = false
	found := map[string]any{"from": p.from, "to": p.to, "count": p.count, "largest": p.largest}
	if err := grid.SendCBOR(found); err != nil {
		grid.Fail(err.Error())
	}
	return grid.Idle
}

// parse reads the range that a message asks for. No digit and no space begins a pair in CBOR, so the two forms
// never meet.
func parse(message []byte) (from, to uint32, err error) {
	if first, err := strconv.ParseUint(strings.TrimSpace(string(message)), 10, 32); err == nil {
		return uint32(first), uint32(min(first+line, math.MaxUint32)), nil
	}
	value, err := grid.Decode(message)
	if err != nil {
		return 0, 0, errors.Join(errRange, err)
	}
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return 0, 0, errRange
	}
	first, ok1 := pair[0].(int64)
	second, ok2 := pair[1].(int64)
	if !ok1 || !ok2 || min(first, second) < 0 || max(first, second) > math.MaxUint32 {
		return 0, 0, errRange
	}
	return uint32(first), uint32(second), nil
}

func isPrime(number uint32) bool {
	for divisor := uint32(2); divisor < number; divisor++ {
		if number%divisor == 0 {
			return false
		}
	}
	return number >= 2
}

func init() { grid.Export(&primes{}) }

func main() {}
