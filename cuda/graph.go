package cuda

import "errors"

type graphCalls struct {
	graphInstantiate func(exec *word, graph word, flags uint64) rc   `cuda:"cuGraphInstantiateWithFlags" since:"11040"`
	graphUpload      func(exec, stream word) rc                      `cuda:"cuGraphUpload" since:"11010"`
	graphLaunch      func(exec, stream word) rc                      `cuda:"cuGraphLaunch" since:"10000"`
	graphGetNodes    func(graph word, nodes *word, count *uint64) rc `cuda:"cuGraphGetNodes" since:"10000"`
	graphDestroy     func(graph word) rc                             `cuda:"cuGraphDestroy" since:"10000"`
	graphExecDestroy func(exec word) rc                              `cuda:"cuGraphExecDestroy" since:"10000"`
}

// CaptureMode says which other calls are forbidden while a stream is captured.
type CaptureMode int32

// CUstreamCaptureMode
const (
	CaptureGlobal      CaptureMode = 0 // calls of any thread that could interfere
	CaptureThreadLocal CaptureMode = 1 // those of this thread
	CaptureRelaxed     CaptureMode = 2
)

// Graph is a recorded piece of work.
type Graph struct {
	d      *Driver
	handle uintptr
	closed bool
}

// GraphExec is a graph made ready to run.
type GraphExec struct {
	d      *Driver
	handle uintptr
	closed bool
}

// BeginCapture turns the stream's work into nodes of a graph, until EndCapture.
func (s *Stream) BeginCapture(mode CaptureMode) error {
	return s.d.check("cuStreamBeginCapture_v2", s.d.fn.streamBeginCapture(s.handle, int32(mode)))
}

// EndCapture gives the graph.
func (s *Stream) EndCapture() (*Graph, error) {
	g := &Graph{d: s.d}
	if err := s.d.check("cuStreamEndCapture", s.d.fn.streamEndCapture(s.handle, &g.handle)); err != nil {
		return nil, err
	}
	return g, nil
}

// Capturing reports whether the stream is being captured.
func (s *Stream) Capturing() (bool, error) {
	var status int32
	err := s.d.check("cuStreamIsCapturing", s.d.fn.streamIsCapturing(s.handle, &status))
	return status != 0, err
}

// Capture records what f puts into the stream.
func (s *Stream) Capture(f func() error) (*Graph, error) {
	if err := s.BeginCapture(CaptureThreadLocal); err != nil {
		return nil, err
	}
	workErr := f()
	g, err := s.EndCapture()
	if workErr != nil {
		if err == nil {
			err = g.Close()
		}
		return nil, errors.Join(workErr, err)
	}
	return g, err
}

// Nodes is the number of nodes.
func (g *Graph) Nodes() (int, error) {
	var count uint64
	err := g.d.check("cuGraphGetNodes", g.d.fn.graphGetNodes(g.handle, nil, &count))
	return int(count), err
}

// Instantiate makes the graph ready to run. The graph may be closed afterwards.
func (g *Graph) Instantiate() (*GraphExec, error) {
	e := &GraphExec{d: g.d}
	if err := g.d.check("cuGraphInstantiateWithFlags", g.d.fn.graphInstantiate(&e.handle, g.handle, 0)); err != nil {
		return nil, err
	}
	return e, nil
}

// Close destroys the graph. A second Close does nothing.
func (g *Graph) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	return g.d.check("cuGraphDestroy", g.d.fn.graphDestroy(g.handle))
}

// Upload sends the graph to the device ahead of its first launch.
func (e *GraphExec) Upload(s *Stream) error {
	return e.d.check("cuGraphUpload", e.d.fn.graphUpload(e.handle, s.handle))
}

// Launch runs the graph in the stream.
func (e *GraphExec) Launch(s *Stream) error {
	return e.d.check("cuGraphLaunch", e.d.fn.graphLaunch(e.handle, s.handle))
}

// Close destroys the executable graph. A second Close does nothing.
func (e *GraphExec) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	return e.d.check("cuGraphExecDestroy", e.d.fn.graphExecDestroy(e.handle))
}
