package device

import (
	"bufio"
	"bytes"
	"cmp"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// hostInterval is the time between two looks at the host's memory.
	hostInterval = 500 * time.Millisecond
	// hostTree is how often, in looks, the program's children are looked for: all of /proc is read for it.
	hostTree = 4
	// hostProcesses is how many processes of a program are followed, those that hold most.
	hostProcesses = 16
)

// HostConfig says what a Host samples.
type HostConfig struct {
	// PID is the program's: its children are followed too.
	PID  int
	Emit func(*event.Batch) error
	Text func(string) event.StringID
}

// Host samples the memory of a program on the host, and of its cgroup, until it is closed.
type Host struct {
	config HostConfig
	proc   string // "/proc"
	groups string // "/sys/fs/cgroup"
	group  group  // of the program; found while it lives
	stop   chan struct{}
	once   sync.Once
	work   sync.WaitGroup

	pids  []int32
	batch event.Batch
}

// NewHost begins to sample. Nothing in it fails: what the system does not tell is not in the trace.
func NewHost(c HostConfig) *Host {
	h := &Host{config: c, proc: "/proc", groups: "/sys/fs/cgroup", stop: make(chan struct{})}
	h.group = findGroup(h.proc, h.groups, c.PID)
	h.work.Go(h.run)
	return h
}

// Close takes a last sample and ends the sampling.
func (h *Host) Close() {
	h.once.Do(func() { close(h.stop) })
	h.work.Wait()
}

func (h *Host) run() {
	ticker := time.NewTicker(hostInterval)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if n%hostTree == 0 {
			h.pids = family(h.proc, int32(h.config.PID))
		}
		h.sample()
		if n%hostTree == hostTree-1 {
			h.flush()
		}
		select {
		case <-ticker.C:
		case <-h.stop:
			h.sample()
			h.flush()
			return
		}
	}
}

func (h *Host) flush() {
	if len(h.batch.Facts.Time) > 0 {
		_ = h.config.Emit(&h.batch) // the sink's failures are the session's to tell
	}
	h.batch = event.Batch{}
}

func (h *Host) add(now event.Time, pid int32, name string, value int64, text string) {
	if value >= 0 {
		addFact(&h.batch.Facts, now, 0, pid, h.config.Text(name), value, h.config.Text(text))
	}
}

// sample appends one look.
func (h *Host) sample() {
	now := monotonic()
	type held struct {
		pid   int32
		bytes int64
	}
	var all []held
	for _, pid := range h.pids {
		if n := field(path.Join(h.proc, strconv.Itoa(int(pid)), "status"), "VmRSS:"); n >= 0 {
			all = append(all, held{pid, n << 10})
		}
	}
	slices.SortFunc(all, func(x, y held) int { return cmp.Or(cmp.Compare(y.bytes, x.bytes), cmp.Compare(x.pid, y.pid)) })
	for _, p := range all[:min(len(all), hostProcesses)] {
		h.add(now, p.pid, event.FactResident, p.bytes, "")
	}
	for _, f := range [][2]string{{event.FactHostTotal, "MemTotal:"}, {event.FactHostFree, "MemAvailable:"}} {
		if n := field(path.Join(h.proc, "meminfo"), f[1]); n >= 0 {
			h.add(now, 0, f[0], n<<10, "")
		}
	}
	used, limit, kills := h.group.read()
	h.add(now, 0, event.FactGroupUsed, used, h.group.name)
	h.add(now, 0, event.FactGroupLimit, limit, h.group.name)
	h.add(now, 0, event.FactKills, kills, h.group.name)
	h.add(now, 0, event.FactKills, field(path.Join(h.proc, "vmstat"), "oom_kill "), "machine")
}

// field returns the number after a name at the beginning of a line; -1: there is none.
func field(file, name string) int64 {
	f, err := os.Open(file)
	if err != nil {
		return notAvailable
	}
	defer func() { _ = f.Close() }() // it was read only
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := bytes.CutPrefix(lines.Bytes(), []byte(name)); ok {
			words := bytes.Fields(rest)
			if len(words) == 0 {
				return notAvailable
			}
			if n, err := strconv.ParseInt(string(words[0]), 10, 64); err == nil {
				return n
			}
		}
	}
	return notAvailable
}

// family returns a process and all that come from it.
func family(proc string, root int32) []int32 {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return []int32{root}
	}
	children := map[int32][]int32{}
	for _, e := range entries {
		pid, err := strconv.ParseInt(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		text, err := os.ReadFile(path.Join(proc, e.Name(), "stat"))
		if err != nil {
			continue
		}
		// "pid (name) state parent …", where a name can hold anything.
		words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(words) < 2 {
			continue
		}
		if parent, err := strconv.ParseInt(words[1], 10, 32); err == nil {
			children[int32(parent)] = append(children[int32(parent)], int32(pid))
		}
	}
	out, seen := []int32{root}, map[int32]bool{root: true}
	for i := 0; i < len(out); i++ {
		for _, child := range children[out[i]] {
			if !seen[child] {
				seen[child] = true
				out = append(out, child)
			}
		}
	}
	return out
}
