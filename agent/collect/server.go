package collect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

// maxProcesses bounds the processes of one trace, ended ones included.
const maxProcesses = 4096

// Server takes in the processes of one trace. Its methods are safe for concurrent use.
type Server struct {
	config   Config
	output   *output
	ledger   *ledger
	folder   *folder
	listener *net.UnixListener
	timeline atomic.Bool

	mu        sync.Mutex
	processes []*process
	attached  []*Reader
	notes     []string
	closed    bool
	closing   chan struct{}
	shut      sync.Once
	shutErr   error
	work      sync.WaitGroup // handshakes and the accepting goroutine
}

// Listen opens a socket in a directory that only this user can enter, and takes in every process
// that announces itself there until Close.
func Listen(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	f, err := newFolder(config.Dir)
	if err != nil {
		return nil, err
	}
	address := &net.UnixAddr{Name: f.socket(), Net: "unixpacket"}
	listener, err := net.ListenUnix("unixpacket", address)
	if err != nil {
		f.remove()
		return nil, fmt.Errorf("listen for traced processes: %w", err)
	}
	o := newOutput(config.Sink)
	s := &Server{
		config: config, output: o, ledger: newLedger(o, config.Resolve),
		folder: f, listener: listener, closing: make(chan struct{}),
	}
	s.timeline.Store(!config.StartPaused)
	s.ledger.start()
	s.work.Add(1)
	go s.accept()
	return s, nil
}

// Address returns the path of the socket, which traced programs find in WARPSCOPE_SOCKET.
func (s *Server) Address() string { return s.folder.socket() }

// SetTimeline switches the timeline of all processes, and of those to come, on or off. The ledger
// goes on. Libraries are woken for it and switch within some milliseconds.
func (s *Server) SetTimeline(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeline.Store(on)
	for _, p := range s.processes {
		p.want(on)
	}
}

// Processes returns the state of every process so far, in the order in which they connected.
func (s *Server) Processes() []Status {
	s.mu.Lock()
	list, attached := slices.Clone(s.processes), slices.Clone(s.attached)
	s.mu.Unlock()
	var all []Status
	for _, p := range list {
		all = append(all, p.status())
	}
	for _, r := range attached {
		all = append(all, r.Status())
	}
	return all
}

// GPU returns the identifier of a GPU in this trace. The first description of a UUID is kept, so
// what knows most about GPUs should come first.
func (s *Server) GPU(g event.GPU) event.GPUID { return s.output.ids.gpu(g) }

// Text returns the identifier of a string in this trace, 0 of "".
func (s *Server) Text(text string) event.StringID { return s.output.ids.text(text) }

// Emit writes events of the machine, such as samples of its GPUs, in order with everything else.
func (s *Server) Emit(b *event.Batch) error { return s.output.batch(b) }

// Attach reads a capture in this process's own memory into the trace. The caller calls Drain now
// and then and Close before the memory goes away, and before the server is closed.
func (s *Server) Attach(memory []byte) (*Reader, error) {
	m, err := openMemory(memory, false)
	if err != nil {
		return nil, err
	}
	r := newReader(m, s.config, s.output, s.ledger, owner{pid: int32(os.Getpid()), rank: -1})
	r.flushed = make(chan struct{})
	r.unmap = func() { close(r.flushed) }
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("attach capture: the collection is closed")
	}
	s.attached = append(s.attached, r)
	return r, nil
}

// Err returns the first error of the sink, nil while all went well.
func (s *Server) Err() error { return s.output.failure() }

// Summary returns what was recorded and lost so far, by kind. Complete after Close. The exit code is
// the caller's to fill in.
func (s *Server) Summary() event.Summary {
	sum := summarize(s.output, s.Processes())
	sum.End = s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.Notes = slices.Clone(s.notes)
	return sum
}

// note keeps a sentence for the summary; a flood of them is cut off.
func (s *Server) note(format string, args ...any) {
	const most = 100
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) < most {
		s.notes = append(s.notes, fmt.Sprintf(format, args...))
	}
}

// Close reads what all processes have published, writes it, and removes the socket. Processes that
// still run go on without a reader. It returns the first error of the sink, or says that
// the time allowed was not enough; calling it again returns the same.
func (s *Server) Close() error {
	s.shut.Do(func() { s.shutErr = s.close() })
	return s.shutErr
}

func (s *Server) close() error {
	deadline := time.NewTimer(s.config.CloseTimeout)
	defer deadline.Stop()
	// Half of the time is for symbols; then frames keep library and offset.
	hurry := time.AfterFunc(s.config.CloseTimeout/2, func() { s.ledger.resolver.hurry.Store(true) })
	defer hurry.Stop()

	close(s.closing)
	s.listener.Close()
	s.folder.remove()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.work.Wait()
		s.mu.Lock()
		s.closed = true
		list := slices.Clone(s.processes)
		s.mu.Unlock()
		for _, p := range list {
			close(p.stop)
		}
		for _, p := range list {
			<-p.done
		}
		s.ledger.close()
	}()
	select {
	case <-finished:
		_ = s.output.flush() // its error is kept
		return s.output.failure()
	case <-deadline.C:
		s.output.stop()
		return errors.Join(s.output.failure(), fmt.Errorf("close collection: not everything could be written within %v", s.config.CloseTimeout))
	}
}
