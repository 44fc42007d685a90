package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"

	"github.com/warpscope/warpscope/agent/analyze"
	"github.com/warpscope/warpscope/agent/doctor"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/exchange"
	"github.com/warpscope/warpscope/agent/report"
)

// traceOnly refuses memory snapshots where only a trace has what was asked for, and the other way round.
func (i *inspection) traceOnly(in *input) error {
	switch {
	case in.format == exchange.Pickle:
		return fmt.Errorf("%s is a PyTorch memory snapshot: inspect --memory and --fragmentation and doctor read it, and nothing else", in.name())
	case i.pieces:
		return fmt.Errorf("%s: --fragmentation needs a PyTorch memory snapshot: torch.cuda.memory._dump_snapshot(\"snapshot.pickle\")", in.name())
	}
	return nil
}

// snapshot reads a memory snapshot and computes what it says.
func (i *inspection) snapshot(in *input) ([]*analyze.Tensors, error) {
	s, err := i.readSnapshot(in)
	if err != nil {
		return nil, err
	}
	tensors := analyze.TensorsOf(s)
	for _, t := range tensors {
		t.File = in.name()
	}
	return tensors, nil
}

// snapshotMemory is from where on garbage is collected more eagerly, in bytes: a large snapshot takes most of it.
const snapshotMemory = 880 << 20

// allocatorEvents prints every event of a memory snapshot.
func (i *inspection) allocatorEvents(in *input) error {
	s, err := i.readSnapshot(in)
	if err != nil {
		return err
	}
	if i.format == report.EventCSV {
		return usagef("%s is a PyTorch memory snapshot: its events come as text or jsonl", in.name())
	}
	if err := report.AllocatorEvents(i.env.Stdout, s, i.format, i.top); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}

// readSnapshot reads a memory snapshot.
func (i *inspection) readSnapshot(in *input) (*event.Snapshot, error) {
	source := in.stream
	if source == nil {
		p, err := openWithProgress(i.env, in.file)
		if err != nil {
			return nil, fmt.Errorf("open snapshot: %w", err)
		}
		var f io.ReadCloser = p
		if p == nil {
			if f, err = os.Open(in.file); err != nil {
				return nil, fmt.Errorf("open snapshot: %w", err)
			}
		}
		defer func() { _ = f.Close() }() // it was read only
		source = f
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // nobody has set one
		debug.SetMemoryLimit(snapshotMemory)
	}
	s, err := exchange.ReadSnapshot(i.ctx, source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.name(), err)
	}
	return s, nil
}

// inspectSnapshot prints what a memory snapshot says.
func (i *inspection) inspectSnapshot(in *input) error {
	if p := i.config.Parts; p != analyze.PartOverview && p != analyze.PartMemory {
		return usagef("%s is a PyTorch memory snapshot: it has --memory and --fragmentation, and no events of the GPU", in.name())
	}
	if w := i.config.Window; w.From.Set || w.To.Set {
		return usagef("%s is a PyTorch memory snapshot: --from and --to do not apply", in.name())
	}
	tensors, err := i.snapshot(in)
	if err != nil {
		return err
	}
	if i.json {
		return report.JSON(i.env.Stdout, tensors)
	}
	memory := i.overview || i.config.Parts == analyze.PartMemory
	document := report.Tensors(in.name(), tensors, report.TensorParts{Memory: memory, Growth: i.leaks, Fragmentation: i.pieces || i.overview, Top: i.top})
	if err := document.Write(i.env.Stdout, i.style); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// messages reads the messages in a text; none was asked for if file is "".
func (i *inspection) messages(file string) ([]event.Failure, error) {
	if file == "" {
		return nil, nil
	}
	name, source := file, i.env.Stdin
	if file == "-" {
		name = stdinName
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("open message: %w", err)
		}
		defer func() { _ = f.Close() }() // it was read only
		source = f
	}
	text, err := lastBytes(source, exchange.MaxMessage)
	if err != nil {
		return nil, fmt.Errorf("read message from %s: %w", name, err)
	}
	found, err := exchange.ReadMessages(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// lastBytes reads all, and keeps the last bytes.
func lastBytes(r io.Reader, most int) ([]byte, error) {
	var kept []byte
	part := make([]byte, 64<<10)
	for {
		n, err := r.Read(part)
		kept = append(kept, part[:n]...)
		if len(kept) > 2*most {
			kept = append(kept[:0], kept[len(kept)-most:]...)
		}
		if errors.Is(err, io.EOF) {
			return kept[max(0, len(kept)-most):], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// diagnose judges a file, and the messages with it; file "": the messages alone.
func (i *inspection) diagnose(file string, messages []event.Failure, from string) (*doctor.Diagnosis, error) {
	if file == "" {
		if from == "-" {
			from = stdinName
		}
		return doctor.DiagnoseMemory(from, nil, messages), nil
	}
	in, err := i.input(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was read only
	if in.format == exchange.Pickle {
		tensors, err := i.snapshot(in)
		if err != nil {
			return nil, err
		}
		if trace := traceBeside(in.file); trace != "" {
			run, err := i.memoryRun(trace)
			if err != nil {
				return nil, err
			}
			run.File, run.Tensors, run.Messages = in.name(), tensors, messages
			return doctor.DiagnoseRun(run), nil
		}
		return doctor.DiagnoseMemory(in.name(), tensors, messages), nil
	}
	if len(messages) > 0 {
		return nil, fmt.Errorf("%s is no memory snapshot: --message goes with one, or alone", in.name())
	}
	run := &doctor.Run{}
	if in.format != exchange.Kineto && in.stream == nil {
		if run, err = i.memoryRun(file); err != nil {
			return nil, err
		}
		for _, snapshot := range failureSnapshotsBeside(file) {
			tensors, err := i.snapshot(&input{file: snapshot, format: exchange.Pickle})
			if err != nil {
				say(i.env, err)
				continue
			}
			run.Tensors = append(run.Tensors, tensors...)
		}
		if i.about == aboutMemory || i.about == "" && run.RanOut() {
			return doctor.DiagnoseRun(run), nil
		}
	}
	inspected, err := i.analyzeInput(in)
	if err != nil {
		return nil, err
	}
	if err := i.sampledOperators(file, in, inspected); err != nil {
		return nil, err
	}
	d := doctor.Diagnose(inspected)
	run.Survived(d)
	return d, nil
}
