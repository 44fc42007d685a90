package session

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/device"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/trace"
)

// defaultGrace is how long processes that outlive the program may still record. Data loaders and
// helpers end within it; a daemon does not, and must not keep the trace open.
const defaultGrace = 2 * time.Second

// flushInterval is how often the trace is asked to write what it holds.
const flushInterval = time.Second

// maxSaid is how many sentences of the collector's the user gets to see; all are in the trace.
const maxSaid = 5

// session is one run, from its parts being made ready to the finished trace.
type session struct {
	config  Config
	path    string // of the program
	foreign string
	library string
	notes   []string // for the trace
	begun   bool     // a signal has switched the timeline on

	output  *output
	python  *pythonHook
	writer  *trace.Writer
	sink    *sink
	server  *collect.Server
	pacer   *pacer         // nil: no budget
	system  *device.System // nil: no NVML
	sampler *device.Sampler
	failing chan struct{} // a call has failed for want of memory
	host    *device.Host
	child   *child
}

// Run runs the program under capture until it has ended and its trace is complete.
//
// An error means that the program has not run: a *StartError, or whatever of warpscope's own could
// not be made ready. From the start on, nothing that fails here stops the program; it is in Result.Err.
//
// While it runs, the signals of the process belong to the program: see catch. SIGPIPE stays
// harmless afterwards too, so that the last words are not lost in a pipe whose reader has gone.
func Run(c Config) (*Result, error) {
	if c.Output == "" {
		c.Output = DefaultOutput
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	if c.grace == 0 {
		c.grace = defaultGrace
	}
	s := &session{config: c, library: c.library, failing: make(chan struct{}, 1)}
	signals, release := catch(c.BySignal)
	defer release()
	err := s.prepare()
	if err == nil {
		err = s.start(signals)
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	ended := s.supervise(signals)
	signal.Ignore(unix.SIGPIPE) // no further program inherits it
	left := s.drain(signals)
	return s.finish(ended, left), nil
}

// prepare makes everything ready that can fail, before anything of the program runs.
func (s *session) prepare() error {
	c := &s.config
	var err error
	if s.path, err = find(c.Command[0], c.Environ); err != nil {
		return err
	}
	if s.foreign = foreignInjection(c.Environ); s.foreign != "" {
		s.say(fmt.Sprintf("another tool (%s) already traces CUDA in this environment (%s): the program runs without capture; unset it to record with warpscope",
			s.foreign, injectionVariable))
	} else if s.library == "" {
		if s.library, err = Library(c.Environ); err != nil {
			return err
		}
	}
	return s.open()
}

// open makes the trace, the samples and the socket ready.
func (s *session) open() error {
	c := &s.config
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	rank := max(Rank(c.Environ), 0)
	if s.output, err = openOutput(c.Output, Names{Rank: fmt.Sprint(rank), Host: host}, c.Force); err != nil {
		return err
	}
	s.python = &pythonHook{}
	if !c.NoPython && s.foreign == "" {
		if s.python, err = newPythonHook(c.Environ, s.output.file.Name()); err != nil {
			s.say(err.Error() + ": no steps, pauses and snapshots from Python")
		}
	}
	driver := ""
	if s.system, err = device.Open(); err != nil {
		s.say(err.Error() + ": no GPU memory, clocks or power are sampled")
	} else {
		driver = s.system.Driver()
	}
	provenance := Provenance(c.Tool, driver, c.Command)
	provenance.Notes = s.notes
	s.notes = nil
	var options []trace.Option
	if c.MaxSize > 0 {
		options = append(options, trace.WithMaxSize(c.MaxSize))
	}
	if c.ExactCalls {
		options = append(options, trace.WithCallResolution(1))
	}
	if c.Keep > 0 {
		if s.output.keep {
			return fmt.Errorf("--keep: %s is a pipe or a device, from which nothing can be dropped again", s.output.path)
		}
		options = append(options, trace.WithKeep(c.Keep, monotonic, s.output.succeed))
	}
	if s.writer, err = trace.NewWriter(s.output.file, provenance, options...); err != nil {
		return fmt.Errorf("begin trace: %w", err)
	}
	s.sink = &sink{writer: s.writer}
	config := collect.Config{
		Sink: s.sink, Mode: c.Mode, API: c.API, Graphs: c.Graphs,
		StartPaused: c.StartAfter > 0 || c.BySignal || c.Budget > 0, Trigger: c.Trigger, Resolve: c.Resolve,
		Checkpoint: checkpoints(c.Keep), OutOfMemory: s.outOfMemory,
	}
	if c.Budget > 0 {
		if s.pacer, err = newPacer(c.Budget); err != nil {
			return err
		}
		config.Ruler = s.pacer
	}
	if s.server, err = collect.Listen(config); err != nil {
		return err
	}
	return s.sample()
}

// sample begins to sample the GPUs, if there are any.
func (s *session) sample() error {
	if s.system == nil {
		return nil
	}
	var ids []event.GPUID
	for _, g := range s.system.GPUs() {
		ids = append(ids, s.server.GPU(g))
	}
	var err error
	s.sampler, err = device.NewSampler(s.system, device.Config{GPUs: ids, Emit: s.server.Emit, Text: s.server.Text})
	return err
}

// outOfMemory has the GPUs looked at while what failed is still there.
func (s *session) outOfMemory() {
	select {
	case s.failing <- struct{}{}:
	default: // it has been asked for
	}
}

// start starts the program and gives the trace its name.
func (s *session) start(signals <-chan os.Signal) error {
	c := &s.config
	for len(signals) > 0 { // sent while the parts were made ready: there is no program to pass it to
		sent, ok := (<-signals).(syscall.Signal)
		if ok && !s.switches(sent) && ends(sent) {
			return &StartError{Program: c.Command[0], Err: fmt.Errorf("interrupted (%v)", sent), Status: 128 + int(sent)}
		}
	}
	environ := c.Environ
	if s.foreign == "" {
		var notes []string
		environ, notes = captureEnviron(c.Environ, s.library, s.server.Address())
		environ = triggerEnviron(environ, c.Trigger)
		environ = s.python.environ(environ, c)
		for _, note := range notes {
			s.say(note)
		}
	}
	var err error
	if s.child, err = start(s.path, c.Command, environ, []*os.File{c.Stdin, c.Stdout, c.Stderr}); err != nil {
		return err
	}
	if err := s.output.settle(s.child.process.Pid); err != nil {
		s.say(err.Error())
	}
	s.host = device.NewHost(device.HostConfig{PID: s.child.process.Pid, Emit: s.server.Emit, Text: s.server.Text})
	if s.pacer != nil {
		s.pacer.start(s.server)
	}
	c.Note(s.opening())
	return nil
}

// ends tells that a signal asks a process to end.
func ends(s syscall.Signal) bool {
	return s == unix.SIGINT || s == unix.SIGTERM || s == unix.SIGHUP || s == unix.SIGQUIT
}

// supervise passes signals on and switches the timeline until the program ends.
func (s *session) supervise(signals <-chan os.Signal) exit {
	var on, off <-chan time.Time
	c := &s.config
	if c.StartAfter > 0 {
		on = time.After(c.StartAfter)
	}
	if c.Duration > 0 {
		off = time.After(c.StartAfter + c.Duration)
	}
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case ended := <-s.child.ended:
			return ended
		case <-s.failing:
			if s.sampler != nil {
				s.sampler.Look()
			}
		case <-ticker.C:
			// The writer looks at the age of what it holds when it is called: while nothing
			// happens nobody else does, and a trace is to be readable while it grows.
			_ = s.sink.Batch(&event.Batch{})
		case sent := <-signals:
			if !s.switches(sent) && !meantForBoth(sent) {
				s.child.signal(sent)
			}
		case <-on:
			s.server.SetTimeline(true)
		case <-off:
			s.server.SetTimeline(false)
		}
	}
}

// drain waits a little for traced processes that outlive the program, and returns those that go
// on. A signal that asks to end cuts it short.
func (s *session) drain(signals <-chan os.Signal) []collect.Status {
	deadline := time.After(s.config.grace)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		left := s.running()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case sent := <-signals:
			if n, ok := sent.(syscall.Signal); ok && ends(n) {
				return left
			}
		case <-deadline:
			return left
		}
	}
}

// running returns the traced processes that go on.
func (s *session) running() []collect.Status {
	var left []collect.Status
	for _, p := range s.server.Processes() {
		if p.Running {
			left = append(left, p)
		}
	}
	return left
}

// finish completes the trace.
func (s *session) finish(ended exit, left []collect.Status) *Result {
	r := &Result{ExitCode: ended.code, Signal: ended.signal, Foreign: s.foreign, Path: s.output.path, Size: -1}
	errs := []error{ended.err}
	s.host.Close()
	if s.sampler != nil {
		err := s.sampler.Close()
		if err == nil {
			s.calibrate(ended)
			err = s.system.Close()
		}
		if err != nil {
			s.notes = append(s.notes, err.Error())
		}
	}
	for _, p := range left {
		s.say(fmt.Sprintf("%s outlives the program: what it does from now on is not recorded", describe(&p)))
	}
	s.pacer.close()
	errs = append(errs, s.server.Close())
	r.Processes = s.server.Processes()
	r.Summary = s.server.Summary()
	for i, note := range r.Summary.Notes {
		switch {
		case i < maxSaid:
			s.config.Note(note)
		case i == maxSaid:
			s.config.Note(fmt.Sprintf("%d more notes are in the trace", len(r.Summary.Notes)-maxSaid))
		}
	}
	s.notes = append(s.notes, r.Summary.Notes...)
	for _, note := range []string{s.untriggered(), Untriggered(r.Processes)} {
		if note != "" {
			s.say(note)
		}
	}
	s.notes = append(s.notes, r.deviceMemory()...)
	notes := r.findings(s.config.StartAfter > 0 || s.config.Duration > 0)
	if !s.config.NoPython {
		notes = append(notes, r.isolated()...)
	}
	for _, note := range notes {
		s.say(note)
	}
	if s.pacer != nil && s.foreign == "" && len(r.Processes) > 0 {
		r.Budget = &s.pacer.result
		for _, note := range budgetNotes(r.Budget, r.process) {
			s.say(note)
		}
	}
	snapshots, err := s.python.collect(s.output.path)
	if err != nil {
		s.say(err.Error())
	}
	for _, path := range snapshots {
		if step, ok := stepSnapshot(path); ok {
			s.say(fmt.Sprintf("what PyTorch's allocator held after step %s is in %s: warpscope inspect --memory reads it", step, path))
			continue
		}
		r.Snapshots = append(r.Snapshots, path)
		if !FailureSnapshot(path) {
			continue
		}
		s.say(fmt.Sprintf("PyTorch ran out of memory; what its allocator held then is in %s: warpscope doctor reads it", path))
	}
	r.Summary.ExitCode = int32(ended.code)
	r.Summary.Signal = int32(ended.signal)
	r.Summary.Notes = s.notes
	errs = append(errs, s.sink.err(), s.writer.Close(r.Summary))
	r.Summary = s.writer.Summary(r.Summary) // what the trace says, the report says too
	if info, err := s.output.file.Stat(); err == nil && info.Mode().IsRegular() {
		r.Size = info.Size()
	}
	errs = append(errs, s.output.file.Close())
	r.Err = errors.Join(errs...)
	return r
}

// abandon undoes what was made ready for a program that did not start.
func (s *session) abandon() {
	if s.sampler != nil && s.sampler.Close() != nil {
		s.system = nil // it does not answer
	}
	if s.system != nil {
		_ = s.system.Close()
	}
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.output != nil {
		s.output.discard()
	}
}

// say tells the user and the trace.
func (s *session) say(note string) {
	s.notes = append(s.notes, note)
	s.config.Note(note)
}
