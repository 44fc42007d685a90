package collect

import (
	"errors"
	"fmt"
	"sync"

	"github.com/warpscope/warpscope/agent/event"
)

// output writes to the sink for all goroutines: one call at a time, definitions before their use.
type output struct {
	ids *ids

	mu   sync.Mutex // held over calls of the sink, which may take long
	sink event.Sink

	state   sync.Mutex // guards what follows, and is held for moments only
	stopped bool       // the sink must not be called any more
	err     error
	// recorded and lost count rows by process (0: the machine) and kind.
	recorded map[rowKey]uint64
	lost     map[lossKey]uint64
}

type rowKey struct {
	process event.ProcessID
	kind    event.Kind
}

type lossKey struct {
	rowKey
	cause event.LossCause
}

func newOutput(sink event.Sink) *output {
	return &output{ids: newIDs(), sink: sink, recorded: map[rowKey]uint64{}, lost: map[lossKey]uint64{}}
}

// lossCauser is implemented by errors of a sink that know why rows are lost; others count as
// event.LossDisk.
type lossCauser interface{ LossCause() event.LossCause }

// batch writes b after the definitions it needs. A sink that fails does not stop the collection:
// rows are counted as lost, and the first error is kept.
func (o *output) batch(b *event.Batch) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.define()
	if err == nil {
		if err = o.sink.Batch(b); err != nil {
			err = fmt.Errorf("write events: %w", err)
		}
	}
	o.count(b, err)
	return o.keep(err)
}

// count adds the rows of b to what was recorded, or to what was lost.
func (o *output) count(b *event.Batch, err error) {
	o.state.Lock()
	defer o.state.Unlock()
	cause := event.LossDisk
	if causer := lossCauser(nil); errors.As(err, &causer) {
		cause = causer.LossCause()
	}
	for kind, n := range rows(b) {
		if n == 0 {
			continue
		}
		key := rowKey{b.Process, event.Kind(kind)}
		if err == nil {
			o.recorded[key] += uint64(n)
		} else {
			o.lost[lossKey{key, cause}] += uint64(n)
		}
	}
}

// live writes a live set.
func (o *output) live(l *event.LiveSet) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.define()
	if err == nil {
		if err = o.sink.Live(l); err != nil {
			err = fmt.Errorf("write live set: %w", err)
		}
	}
	return o.keep(err)
}

// flush writes the definitions that no batch has taken along.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.keep(o.define())
}

// errStopped is what comes too late for the sink.
var errStopped = errors.New("write events: the collection is closed")

// stop makes sure that no new call of the sink begins.
func (o *output) stop() {
	o.state.Lock()
	defer o.state.Unlock()
	o.stopped = true
}

// define writes what has to be known before the next batch.
func (o *output) define() error {
	o.state.Lock()
	stopped := o.stopped
	o.state.Unlock()
	if stopped {
		return errStopped
	}
	d := o.ids.take()
	if len(d.Strings)+len(d.Launches)+len(d.Frames)+len(d.Stacks)+len(d.GPUs)+len(d.Processes) == 0 {
		return nil
	}
	if err := o.sink.Define(&d); err != nil {
		return fmt.Errorf("write definitions: %w", err)
	}
	return nil
}

func (o *output) keep(err error) error {
	o.state.Lock()
	defer o.state.Unlock()
	if o.err == nil && !errors.Is(err, errStopped) {
		o.err = err
	}
	return err
}

// failure returns the first error of the sink.
func (o *output) failure() error {
	o.state.Lock()
	defer o.state.Unlock()
	return o.err
}

// counts adds what was recorded of a process, and lost on the way to the sink.
func (o *output) counts(process event.ProcessID, recorded map[event.Kind]uint64, losses []event.Loss) []event.Loss {
	o.state.Lock()
	defer o.state.Unlock()
	for key, n := range o.recorded {
		if key.process == process {
			recorded[key.kind] += n
		}
	}
	for key, n := range o.lost {
		if key.process == process {
			losses = append(losses, event.Loss{Process: process, Kind: key.kind, Cause: key.cause, Count: n})
		}
	}
	return losses
}
