//go:build !wasip1

package grid

import (
	"errors"
	"testing"
	"time"
)

type countdown struct{ left byte }

func (c *countdown) Start(arguments []byte) error {
	if len(arguments) == 0 {
		return errors.New("no start")
	}
	c.left = arguments[0]
	return nil
}

func (c *countdown) Handle(message []byte) error {
	if len(message) == 0 {
		return errors.New("empty")
	}
	return nil
}

func (c *countdown) Loop() Turn {
	Send([]byte{c.left})
	c.left--
	if c.left == 0 {
		return Idle
	}
	return Again
}

func TestAWorkerTakesTurnsUntilItIsIdle(t *testing.T) {
	worker := &countdown{}
	Begin(worker, []byte{3})
	done := Deliver(worker, []byte("go"), 10)
	if len(done.Sent) != 3 || done.Sent[0][0] != 3 || done.Sent[2][0] != 1 || done.Failed != nil {
		t.Error(done)
	}
}

func TestAFailureIsSeen(t *testing.T) {
	worker := &countdown{}
	if done := Begin(worker, nil); len(done.Failed) != 1 || done.Failed[0] != "no start" {
		t.Error(done)
	}
	if done := Deliver(worker, nil, 0); len(done.Failed) != 1 || done.Failed[0] != "empty" {
		t.Error(done)
	}
}

type sleeper struct{}

func (sleeper) Handle(message []byte) error {
	Go(func() {
		time.Sleep(2 * slice)
		Send(message)
	})
	return nil
}

func TestAMessageIsDoneWhenItsTasksAre(t *testing.T) {
	if early := Deliver(sleeper{}, []byte("x"), 1); len(early.Sent) != 0 {
		t.Error(early)
	}
	for loop(sleeper{}) == Again {
	}
	if len(done.Sent) != 1 || string(done.Sent[0]) != "x" {
		t.Error(done)
	}
}
