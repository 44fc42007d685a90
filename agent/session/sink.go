package session

import (
	"errors"
	"sync"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// sink is the trace as agent/collect sees it. The writer counts itself what it could not write, so
// its failures must not reach the collector, which would count the same events again; they
// are kept for the end.
type sink struct {
	writer *trace.Writer

	mu      sync.Mutex
	failure error
}

// Define implements event.Sink.
func (s *sink) Define(d *event.Definitions) error { return s.writer.Define(d) }

// Batch implements event.Sink.
func (s *sink) Batch(b *event.Batch) error { return s.keep(s.writer.Batch(b)) }

// Live implements event.Sink.
func (s *sink) Live(l *event.LiveSet) error { return s.keep(s.writer.Live(l)) }

func (s *sink) keep(err error) error {
	if err == nil || errors.Is(err, trace.ErrClosed) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil && !errors.Is(err, trace.ErrFull) { // what is full says so by its losses
		s.failure = err
	}
	return nil
}

// err returns the first failure of the writer.
func (s *sink) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}
