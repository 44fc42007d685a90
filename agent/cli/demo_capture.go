package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/session"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/agent/version"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/cupti"
)

// How often the capture's memory is read, and how long CUPTI may take to flush at the end.
const (
	drainEvery   = 5 * time.Millisecond
	flushTimeout = 5 * time.Second
)

// inProcess records the agent's own GPU work into a trace. It implements demo.Capture.
type inProcess struct {
	env    *Env
	driver *cuda.Driver
	path   string
	force  bool
	also   event.Sink // told of everything that the trace is told of; nil: nobody

	file     *os.File
	writer   *trace.Writer
	capture  *cupti.Capture
	reader   *collect.Reader
	stop     context.CancelFunc
	drained  sync.WaitGroup
	failure  error // of draining; read after drained
	recorded uint64
	lost     uint64
}

func newInProcess(env *Env, driver *cuda.Driver, path string, force bool) *inProcess {
	return &inProcess{env: env, driver: driver, path: path, force: force}
}

// Start implements demo.Capture.
func (p *inProcess) Start() (err error) {
	info, err := os.Stat(p.path)
	switch {
	case err == nil && !info.Mode().IsRegular(): // a folder, a device
		return usageError{fmt.Errorf("create trace: %s is no file", p.path)}
	case err == nil && p.force:
		// A new file rather than the old one emptied: whoever reads that goes on reading it.
		if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("create trace: %w", err)
		}
	}
	p.file, err = os.OpenFile(p.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("create trace: %s exists already: name another file or give --force", p.path)}
	}
	if err != nil {
		return fmt.Errorf("create trace: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.file.Close(), os.Remove(p.path))
			p.file = nil
		}
	}()
	provenance := session.Provenance("warpscope "+version.String(), "", append([]string{"warpscope"}, p.env.Args...))
	provenance.Simulated = p.driver.Simulated()
	if p.writer, err = trace.NewWriter(p.file, provenance); err != nil {
		return err
	}
	p.capture, err = cupti.Start(cupti.Config{Mode: uint32(collect.Timeline), API: uint32(collect.APILaunch), Graphs: uint32(collect.GraphsWhole)})
	if err != nil {
		return fmt.Errorf("%w (is another profiler active, or no libcupti installed?)", err)
	}
	var sink event.Sink = p.writer
	if p.also != nil {
		sink = bothSinks{p.writer, p.also}
	}
	p.reader, err = collect.NewReader(p.capture.Memory(), collect.Config{Sink: sink})
	if err != nil {
		p.capture.Stop(flushTimeout)
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.drained.Go(func() { p.failure = p.drain(ctx) })
	return nil
}

func (p *inProcess) drain(ctx context.Context) error {
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	for {
		if _, err := p.reader.Drain(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Stop implements demo.Capture. The trace is whole afterwards, or the error says why not.
func (p *inProcess) Stop() error {
	if p.stop == nil {
		return nil // never started
	}
	p.capture.Stop(flushTimeout)
	p.stop()
	p.drained.Wait()
	err := errors.Join(p.failure, p.reader.Close())
	summary := p.reader.Summary()
	err = errors.Join(err, p.writer.Close(summary))
	for _, l := range p.writer.Summary(summary).Losses {
		p.lost += l.Count
	}
	for _, n := range p.writer.Summary(summary).Recorded {
		p.recorded += n
	}
	if err = errors.Join(err, p.file.Close()); err != nil {
		return fmt.Errorf("write trace %s: %w", p.path, err)
	}
	return nil
}

// tell says where the trace is.
func (p *inProcess) tell(w io.Writer) {
	fmt.Fprintf(w, "warpscope: %d records, %d lost, in %s\nnext: warpscope inspect %s\n", p.recorded, p.lost, p.path, p.path)
}

// bothSinks tells two.
type bothSinks [2]event.Sink

func (s bothSinks) Define(d *event.Definitions) error {
	return errors.Join(s[0].Define(d), s[1].Define(d))
}

func (s bothSinks) Batch(b *event.Batch) error { return errors.Join(s[0].Batch(b), s[1].Batch(b)) }

func (s bothSinks) Live(l *event.LiveSet) error { return errors.Join(s[0].Live(l), s[1].Live(l)) }
