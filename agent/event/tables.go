package event

// Tables collects Definitions and resolves identifiers. Its zero value is ready to use.
type Tables struct {
	strings   []string
	launches  []Launch
	frames    []Frame
	stacks    []Stack
	gpus      []GPU
	processes []Process
}

// Apply appends the definitions of d; identifiers continue where the previous ones ended.
func (t *Tables) Apply(d *Definitions) {
	t.strings = append(t.strings, d.Strings...)
	t.launches = append(t.launches, d.Launches...)
	t.frames = append(t.frames, d.Frames...)
	t.stacks = append(t.stacks, d.Stacks...)
	t.gpus = append(t.gpus, d.GPUs...)
	t.processes = append(t.processes, d.Processes...)
}

// String returns the text of id, "" if there is none.
func (t *Tables) String(id StringID) string { return at(t.strings, uint32(id)) }

// Launch returns the launch of id, its zero value if there is none.
func (t *Tables) Launch(id LaunchID) Launch { return at(t.launches, uint32(id)) }

// Frame returns the frame of id, its zero value if there is none.
func (t *Tables) Frame(id FrameID) Frame { return at(t.frames, uint32(id)) }

// Stack returns the stack of id, nil if there is none.
func (t *Tables) Stack(id StackID) Stack { return at(t.stacks, uint32(id)) }

// GPU returns the GPU of id, its zero value if there is none.
func (t *Tables) GPU(id GPUID) GPU { return at(t.gpus, uint32(id)) }

// Process returns the process of id, its zero value if there is none.
func (t *Tables) Process(id ProcessID) Process { return at(t.processes, uint32(id)) }

// Processes returns all processes; the process with identifier i is at i-1.
func (t *Tables) Processes() []Process { return t.processes }

// GPUs returns all GPUs; the GPU with identifier i is at i-1.
func (t *Tables) GPUs() []GPU { return t.gpus }

// Counts returns how many of each are defined: the next identifier is one higher.
func (t *Tables) Counts() (strings, launches, frames, stacks, gpus, processes int) {
	return len(t.strings), len(t.launches), len(t.frames), len(t.stacks), len(t.gpus), len(t.processes)
}

func at[T any](items []T, id uint32) T {
	if id == 0 || uint64(id) > uint64(len(items)) {
		var zero T
		return zero
	}
	return items[id-1]
}
