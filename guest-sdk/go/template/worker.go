// {{name}} sums the numbers that it is sent as CBOR, and answers the sum so far.
package main

import (
	"errors"

	grid "grid.example/guest"
)

type worker struct{ sum float64 }

func (w *worker) Handle(message []byte) error {
	value, err := grid.Decode(message)
	if err != nil {
		return err
	}
	switch number := value.(type) {
	case int64:
		w.sum += float64(number)
	case float64:
		w.sum += number
	default:
		return errors.New("expected a number")
	}
	return grid.SendCBOR(w.sum)
}

func init() { grid.Export(&worker{}) }

func main() {}
