// The conformance worker: the first byte of a message says what to do, the rest is its body.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	grid "grid.example/guest"
)

type conformance struct {
	arguments []byte
	added     int
	turning   bool
	turns     int
	turned    int
	kept      [][]byte
}

func (c *conformance) Start(arguments []byte) error {
	if string(arguments) == "refuse" {
		return errors.New("refused")
	}
	c.arguments = arguments
	return nil
}

func (c *conformance) Handle(message []byte) error {
	if len(message) == 0 {
		grid.Send(nil)
		return nil
	}
	body := message[1:]
	switch message[0] {
	case '=':
		grid.Send(body)
	case '+':
		c.added++
		send(strconv.Itoa(c.added))
	case '*':
		return several(body)
	case 'a':
		grid.Send(c.arguments)
	case 'l':
		return c.remember(body)
	case 'f':
		return errors.New(string(body))
	case 'g':
		log(string(body))
	case 'o':
		fmt.Fprintf(os.Stdout, "%s\n", body)
		fmt.Fprintf(os.Stderr, "%s\n", body)
		send("written")
	case 't':
		trap(string(body))
	case 'm':
		return c.allocate(body)
	case 'c':
		value, err := grid.Decode(body)
		if err != nil {
			return err
		}
		return grid.SendCBOR(value)
	case 'n':
		value, err := grid.Decode(body)
		if err != nil {
			return err
		}
		send(fmt.Sprintf("%T", value))
	default:
		return errors.New("unknown request")
	}
	return nil
}

func (c *conformance) Loop() grid.Turn {
	if !c.turning {
		return grid.Idle
	}
	if c.turned < c.turns {
		c.turned++
		return grid.Again
	}
	send("turns:" + strconv.Itoa(c.turned))
	c.turning = false
	return grid.Idle
}

func (c *conformance) Stop() { grid.Log(grid.LevelInfo, "stopped") }

func send(text string) { grid.Send([]byte(text)) }

func several(body []byte) error {
	count, err := strconv.Atoi(string(body))
	for number := range count {
		send(strconv.Itoa(number))
	}
	return err
}

func (c *conformance) remember(body []byte) (err error) {
	c.turned = 0
	c.turns, err = strconv.Atoi(string(body))
	c.turning = err == nil
	return err
}

func log(text string) {
	for level := grid.LevelError; level <= grid.LevelTrace; level++ {
		grid.Log(level, text)
	}
	send("logged")
}

//go:noinline
func trap(reason string) { deliberateTrap(reason) }

//go:noinline
func deliberateTrap(reason string) { panic(reason) }

// allocate keeps some memory. When there is none left Go's runtime ends the worker: no code can catch it.
func (c *conformance) allocate(body []byte) error {
	count, err := strconv.Atoi(string(body))
	for range count {
		piece := make([]byte, 1<<20)
		for at := range piece {
			piece[at] = 1
		}
		c.kept = append(c.kept, piece)
	}
	if err == nil {
		send("allocated")
	}
	return err
}

func init() { grid.Export(&conformance{}) }

func main() {}
