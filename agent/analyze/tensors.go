package analyze

import "github.com/warpscope/warpscope/agent/event"

// stackRows is how many stacks are kept of each list.
const stackRows = 20

// Tensors is what a memory snapshot says of one device. Sizes are bytes.
type Tensors struct {
	File     string   `json:"file,omitempty"`
	Device   int32    `json:"device"`
	Settings string   `json:"settings,omitempty"` // PYTORCH_CUDA_ALLOC_CONF; "" the defaults, or not recorded
	Known    bool     `json:"settings_known"`
	On       bool     `json:"expandable_segments"`
	Now      Holding  `json:"now"`              // when the snapshot was made
	Peak     *Holding `json:"peak,omitempty"`   // when tensors took most; nil: there is no history
	Failed   *Holding `json:"failed,omitempty"` // at the last failure; nil: nothing failed
	// Failures are all of them, the earliest first.
	Failures []TensorFailure `json:"failures"`
	History  History         `json:"history"`
	Growth   Growth          `json:"growth"`
	Replay   *Replay         `json:"replay"`
	// Added is what warpscope's Python module adds to the last failure; nil: the snapshot is not its.
	Added *AddedFailure `json:"added,omitempty"`
	// Others are the other processes on the GPU at the last failure, by NVML; OthersKnown: they were looked for.
	Others      []OtherProcess `json:"other_processes,omitempty"`
	OthersKnown bool           `json:"other_processes_known,omitempty"`
	// WentOn: the program is known to have ended well in spite of its failures.
	WentOn bool     `json:"went_on,omitempty"`
	Notes  []string `json:"notes"`
}

// OtherProcess is a process beside the one that failed.
type OtherProcess struct {
	PID     int32  `json:"pid"`
	Bytes   uint64 `json:"bytes"`
	Command string `json:"command,omitempty"`
}

// AddedFailure is what warpscope's Python module knew of a failure. Sizes are bytes, 0 where not known.
type AddedFailure struct {
	PID         int32  `json:"pid"`
	MonotonicNS int64  `json:"monotonic_ns"`
	Requested   uint64 `json:"requested_bytes"`
	Limit       uint64 `json:"limit_bytes"` // the GPU's size, or what the program has allowed itself
	Total       uint64 `json:"device_total_bytes,omitempty"`
	Free        uint64 `json:"device_free_bytes"`
	PyTorch     string `json:"pytorch"`
	Text        string `json:"text,omitempty"` // of the guilty line
	// Elsewhere: the stack is the main thread's, which waited for the one that failed.
	Elsewhere bool   `json:"stack_of_main_thread,omitempty"`
	Stack     []Line `json:"stack"`
	LimitedAt []Line `json:"limited_at,omitempty"` // who set the limit, innermost first
	Roles     bool   `json:"roles_known"`          // optimizers were asked for their tensors' addresses …
	Complete  bool   `json:"roles_complete"`       // … all of them
	// Progress is how far training was; nil: not known.
	Progress *Progress `json:"progress,omitempty"`
}

// Progress is how far a program's training was, by calls of its optimizer.
type Progress struct {
	Steps  uint64 `json:"steps"`
	Zeroed uint64 `json:"zero_grad_calls"`
	Kept   uint64 `json:"zero_grad_keeps"` // of them, those that keep the gradients' memory
	// Applied: the last step has used the gradients, and they have not been given back since.
	Applied    bool   `json:"gradients_applied"`
	StackSteps uint64 `json:"stack_steps"` // in which allocations had their stacks recorded
	// Live is what tensors held after each Every-th step; PerStep the slope over the later three quarters, and Late the
	// part of their growth that the later half of them has.
	Every   uint64   `json:"live_every"`
	Live    []uint64 `json:"live_bytes"`
	PerStep float64  `json:"bytes_per_step"`
	Rise    int64    `json:"rise_bytes"`
	Late    float64  `json:"late_share"`
	Grows   bool     `json:"grows"`
}

// History says what of the past a snapshot tells.
type History struct {
	Events   uint64 `json:"events"`
	Allocs   uint64 `json:"allocations"`
	Begin    int64  `json:"begin_unix_ns,omitempty"`
	End      int64  `json:"end_unix_ns,omitempty"`
	Complete bool   `json:"complete"` // it begins with an empty allocator
	Retries  uint64 `json:"retries"`  // times that cached memory was given back to make room
	Stacks   bool   `json:"stacks"`   // allocations have theirs
	MaxLive  uint64 `json:"max_live_bytes"`
	MaxHeld  uint64 `json:"max_reserved_bytes"`
	MaxWait  uint64 `json:"max_pending_bytes"`
}

// TensorFailure is an allocation that failed.
type TensorFailure struct {
	TimeUnixNS int64  `json:"time_unix_ns,omitempty"`
	Asked      uint64 `json:"asked_bytes"` // by the program, rounded
	Grow       uint64 `json:"grow_bytes"`  // by the allocator from the driver
	Free       uint64 `json:"device_free"` // on the device
	Stack      []Line `json:"stack"`       // innermost first
	Stream     uint32 `json:"stream"`
	Index      int    `json:"-"`            // of the event
	Limited    bool   `json:"limited"`      // the device had enough: a limit of the program's own failed it
	After      uint64 `json:"events_after"` // the program went on for so long
}

// Holding is what the allocator holds at a moment.
type Holding struct {
	Reserved  uint64 `json:"reserved_bytes"`
	Live      uint64 `json:"live_bytes"`      // blocks of tensors
	Requested uint64 `json:"requested_bytes"` // of it, what was asked for
	Pending   uint64 `json:"pending_bytes"`   // given back, but another stream may still use it
	Segments  uint64 `json:"segments"`
	Blocks    uint64 `json:"live_blocks"`

	Free        uint64 `json:"free_bytes"`         // in segments, in no block
	FreePartly  uint64 `json:"free_partly_used"`   // of it, in segments that are partly used
	LargestFree uint64 `json:"largest_free_bytes"` // in the default pool
	Private     uint64 `json:"private_bytes"`      // in private pools, of Reserved
	PrivateIdle uint64 `json:"private_idle_bytes"` // of it, in no block

	Pools  []PoolHolding  `json:"pools"`
	Stacks []StackHolding `json:"stacks"` // those that hold most
	Roles  []RoleHolding  `json:"roles"`
	// Bare is what tensors without a stack hold, by the size that was asked for.
	Bare map[uint64]uint64 `json:"-"`
	// Exact: from the snapshot's own blocks; else played back through the history, where the blocks'
	// rounding is computed.
	Exact bool `json:"exact"`
}

// PoolHolding is a pool's part of a Holding, by stream.
type PoolHolding struct {
	Pool        string `json:"pool"` // "default", "private 0,1"
	Stream      uint32 `json:"stream"`
	Small       bool   `json:"small"`
	Expandable  bool   `json:"expandable"`
	Segments    uint64 `json:"segments"`
	Reserved    uint64 `json:"reserved_bytes"`
	Live        uint64 `json:"live_bytes"`
	Pending     uint64 `json:"pending_bytes"`
	FreePartly  uint64 `json:"free_partly_used"`
	FreeWhole   uint64 `json:"free_whole_segments"`
	LargestFree uint64 `json:"largest_free_bytes"`
}

// StackHolding is what one stack holds.
type StackHolding struct {
	Bytes   uint64 `json:"bytes"` // as asked for
	Blocks  uint64 `json:"blocks"`
	Largest uint64 `json:"largest_bytes"`
	Role    Role   `json:"role"`
	Known   bool   `json:"role_known"` // by addresses, not told from the stack
	Stack   []Line `json:"stack"`      // innermost first; empty: none was recorded
	Guilty  int    `json:"guilty"`
	id      uint32
}

// RoleHolding is what tensors of one role hold.
type RoleHolding struct {
	Role   Role   `json:"role"`
	Bytes  uint64 `json:"bytes"`
	Known  uint64 `json:"known_bytes"` // of them, by addresses; the others are told from their stacks
	Blocks uint64 `json:"blocks"`
}

// TensorsOf computes what a snapshot says, by device.
func TensorsOf(s *event.Snapshot) []*Tensors {
	var out []*Tensors
	for i := range s.Devices {
		out = append(out, analyzeDevice(s, &s.Devices[i]))
	}
	return out
}

func analyzeDevice(s *event.Snapshot, d *event.DeviceSnapshot) *Tensors {
	t := &Tensors{
		Device: d.Device, Known: s.Settings.Known, Settings: s.Settings.Text, On: s.Settings.Expandable, Failures: []TensorFailure{}, Notes: []string{},
	}
	t.Notes = append(t.Notes, s.Notes...)
	h := &holder{s: s, roles: make([]Role, len(s.Stacks))}
	for i := range d.Segments {
		t.On = t.On || d.Segments[i].Expandable
	}
	if a := s.Added; a != nil && a.Device == d.Device {
		t.Added = addedFailure(a)
		h.know(a.Roles)
	}
	h.know(s.Roles)
	t.Now = h.holding(d.Segments)
	t.Now.Exact = true
	h.known = nil // at earlier moments other tensors may have been there
	t.Replay = ReplayDevice(s, d)
	m := newMoments(s, d)
	t.History = m.history
	t.History.Complete = m.complete
	after := m.allocsAfter()
	for n, i := range m.failures {
		e := &d.Events[i]
		settings := settingsOf(&s.Settings)
		f := TensorFailure{
			TimeUnixNS: e.Time, Asked: e.Size, Grow: settings.growth(e.Size), Free: e.Address, Stack: linesOf(s, e.Stack), Stream: e.Stream, Index: i, After: after[n],
		}
		f.Limited = f.Free >= f.Grow
		t.Failures = append(t.Failures, f)
	}
	if t.Added != nil {
		t.join(settingsOf(&s.Settings))
	}
	// After the last event, the snapshot's own figures hold.
	moment := func(i int) *Holding {
		held := t.Now
		if i < len(d.Events)-1 {
			held = h.holding(m.at(i))
		}
		return &held
	}
	if len(d.Events) > 0 {
		t.Peak = moment(m.peak)
	}
	if n := len(t.Failures); n > 0 {
		t.Failed = moment(t.Failures[n-1].Index)
	}
	t.Growth = growthOf(s, d, h)
	return t
}

func addedFailure(a *event.SnapshotFailure) *AddedFailure {
	out := &AddedFailure{
		PID: a.PID, MonotonicNS: a.Time, Requested: a.Requested, Limit: a.Limit, Total: a.Total, Free: a.Free, PyTorch: a.Framework, Elsewhere: a.Elsewhere,
		Stack: codeLines(a.Stack), LimitedAt: codeLines(a.Limited), Roles: len(a.Roles) > 0, Complete: a.Complete,
	}
	if g := GuiltyLine(out.Stack); g >= 0 {
		out.Text = a.Stack[g].Text
	}
	if a.Progress != nil {
		out.Progress = progressOf(a.Progress)
	}
	return out
}

func codeLines(stack []event.CodeLine) []Line {
	out := make([]Line, 0, len(stack))
	for _, l := range stack {
		out = append(out, Line{l.Function, l.File, l.Line})
	}
	return out
}

// join puts what the module saw of the failure to what PyTorch's allocator wrote of it. Without a history
// PyTorch may have written nothing.
func (t *Tensors) join(settings cacheSettings) {
	n, last := len(t.Failures), int(t.History.Events)-1
	if n == 0 || t.Failures[n-1].Index != last {
		t.Failures = append(t.Failures, TensorFailure{
			Asked: t.Added.Requested, Grow: settings.growth(t.Added.Requested), Free: t.Added.Free, Stack: []Line{}, Index: last,
		})
		n++
	}
	f := &t.Failures[n-1]
	if len(f.Stack) == 0 {
		f.Stack = t.Added.Stack
	}
	f.Limited = f.Free >= f.Grow
}
