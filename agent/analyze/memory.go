package analyze

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// MemorySummary says what was allocated from the driver, counted call by call.
type MemorySummary struct {
	Processes []ProcessMemory `json:"processes"`
	// Moments are those worth an account, Accounts what was asked for of them.
	Moments  []MemoryMoment   `json:"moments"`
	Accounts []*MemoryAccount `json:"accounts"`
	Timeline []MemoryTimeline `json:"timeline"`
}

// ProcessMemory is the memory of one process.
type ProcessMemory struct {
	Key
	// Totals are by device and kind; kinds must not be added up: host memory is not on the GPU.
	Totals []MemoryTotal `json:"totals"`
	// Largest are the stacks that hold most at the end.
	Largest         []LiveStack `json:"largest_live"`
	OmittedLargest  int         `json:"omitted_largest_live"`
	OmittedFailures int         `json:"omitted_failures"`
	// Failures are failed calls by API, size, result and stack.
	Failures []FailedCall `json:"failures"`
	// FailedCalls counts them all.
	FailedCalls uint64 `json:"failed_calls"`
	// Pools are the last readings of stream-ordered pools.
	Pools []PoolRow `json:"pools"`
	// ReservedBytes is address space reserved at the end: no memory.
	ReservedBytes uint64 `json:"reserved_address_space_bytes"`
	LedgerCounts
}

// MemoryTotal is memory of one kind, on one device where it lies on one.
type MemoryTotal struct {
	Kind MemoryKind `json:"kind"`
	GPU  string     `json:"gpu,omitempty"`
	UUID string     `json:"gpu_uuid,omitempty"`
	Bytes
	Spaces    []SpaceRow   `json:"spaces"`
	Omitted   int          `json:"omitted"`   // of Libraries
	Libraries []LibraryRow `json:"libraries"` // by bytes at the peak
}

// Bytes are the figures of one sort of memory.
type Bytes struct {
	PeakBytes uint64 `json:"peak_bytes"` // live at once
	PeakNS    int64  `json:"peak_at_ns"` // since the start of the trace
	LiveBytes uint64 `json:"live_bytes"` // at the end
	LiveCount uint64 `json:"live_count"`
	Allocated uint64 `json:"allocations"`
	Freed     uint64 `json:"releases"`
	// AllocatedBytes is the sum over all allocations.
	AllocatedBytes uint64 `json:"allocated_bytes"`
}

// SpaceRow is memory obtained in one way.
type SpaceRow struct {
	Space string `json:"space"`
	Bytes
}

// LibraryRow is what one library asked for.
type LibraryRow struct {
	Library string `json:"library"`
	Path    string `json:"path,omitempty"`
	// AtPeakBytes is what it held when the total was at its peak.
	AtPeakBytes uint64 `json:"at_total_peak_bytes"`
	Bytes
}

// LiveStack is what one stack holds at the end.
type LiveStack struct {
	Kind    MemoryKind `json:"kind"`
	GPU     string     `json:"gpu,omitempty"`
	Space   string     `json:"space"`
	Library string     `json:"library"`
	Bytes   uint64     `json:"bytes"`
	Count   uint64     `json:"count"`
	Stack   []Frame    `json:"stack"`
}

// FailedCall is a call that failed, as often as it did.
type FailedCall struct {
	API     string  `json:"api"`
	Op      string  `json:"op"`
	Result  int32   `json:"result"` // CUresult
	Error   string  `json:"error"`
	Space   string  `json:"space"`
	Bytes   uint64  `json:"bytes"` // asked for
	GPU     string  `json:"gpu,omitempty"`
	Count   uint64  `json:"count"`
	FirstNS int64   `json:"first_ns"` // since the start of the trace
	LastNS  int64   `json:"last_ns"`
	Library string  `json:"library"`
	Stack   []Frame `json:"stack"`
}

// PoolRow is a stream-ordered pool's own account.
type PoolRow struct {
	GPU               string `json:"gpu"`
	Pool              uint64 `json:"pool"` // handle; 0: the default pool
	ReservedBytes     uint64 `json:"reserved_bytes"`
	UsedBytes         uint64 `json:"used_bytes"`
	ReservedHighBytes uint64 `json:"reserved_high_bytes"`
	UsedHighBytes     uint64 `json:"used_high_bytes"`
}

// maxLiveStacks bounds the stacks listed.
const maxLiveStacks = 32

type poolKey struct {
	process event.ProcessID
	device  int32
	pool    uint64
}

// maxPools bounds the pools kept apart.
const maxPools = 4096

// addPools keeps the newest reading of each pool, and the highest of its marks.
func (a *Analysis) addPools(p *process, b *event.Pools) {
	for i, t := range b.Time {
		if !a.span.has(t) {
			continue
		}
		key := poolKey{p.id, b.Device[i], b.Pool[i]}
		row := a.pools[key]
		if row == nil {
			if len(a.pools) >= maxPools {
				continue
			}
			row = &PoolRow{Pool: b.Pool[i]}
			a.pools[key] = row
		}
		row.ReservedBytes, row.UsedBytes = b.Reserved[i], b.Used[i]
		row.ReservedHighBytes = max(row.ReservedHighBytes, b.ReservedHigh[i], b.Reserved[i])
		row.UsedHighBytes = max(row.UsedHighBytes, b.UsedHigh[i], b.Used[i])
	}
}

// ordinalName names a device of a process.
func (a *Analysis) ordinalName(p *process, device int32) (name, uuid string) {
	if device < 0 {
		return "", ""
	}
	k := a.deviceKey(a.devices.of(p, uint32(device)).index)
	return k.GPU, k.UUID
}

func (a *Analysis) offset(t event.Time) int64 {
	if t == 0 {
		return 0
	}
	return int64(t - a.clock.Origin())
}

// memorySummary computes the result.
func (a *Analysis) memorySummary() *MemorySummary {
	s := &MemorySummary{Processes: []ProcessMemory{}}
	for _, p := range a.inOrder() {
		pools := a.poolRows(p)
		if p.ledger == nil && len(pools) == 0 {
			continue
		}
		m := ProcessMemory{Key: a.processKey(p.id), Totals: []MemoryTotal{}, Failures: []FailedCall{}, Largest: []LiveStack{}, Pools: pools}
		if p.ledger != nil {
			a.fillMemory(&m, p)
		}
		s.Processes = append(s.Processes, m)
	}
	s.Moments, s.Timeline = a.memoryMoments(), a.memoryTimelines()
	account := a.memoryAccount()
	for i := range s.Processes {
		account.Largest = append(account.Largest, s.Processes[i].Largest...)
	}
	slices.SortStableFunc(account.Largest, func(x, y LiveStack) int { return cmp.Compare(y.Bytes, x.Bytes) })
	account.Largest = account.Largest[:min(len(account.Largest), maxLiveStacks)]
	s.Accounts = []*MemoryAccount{account}
	return s
}

func (a *Analysis) fillMemory(m *ProcessMemory, p *process) {
	account := p.account
	p.ledger.Flush()
	if !a.span.all {
		account.enter(a.span.from)
	}
	for _, t := range account.totals {
		t.note()
		row := MemoryTotal{Kind: t.kind, Bytes: a.bytes(&t.all), Spaces: []SpaceRow{}, Libraries: []LibraryRow{}}
		row.GPU, row.UUID = a.ordinalName(p, t.device)
		for space := range t.spaces {
			if sp := &t.spaces[space]; sp.peak > 0 || sp.opened+sp.closed > 0 {
				row.Spaces = append(row.Spaces, SpaceRow{Space: SpaceName(event.Space(space)), Bytes: a.bytes(sp)})
			}
		}
		for _, lib := range t.ordered {
			l := LibraryRow{Bytes: a.bytes(&lib.sum), AtPeakBytes: lib.share}
			l.Library, l.Path = a.library(lib.module)
			if lib.other {
				l.Library, l.Path = "(other libraries)", ""
			}
			row.Libraries = append(row.Libraries, l)
		}
		slices.SortStableFunc(row.Libraries, func(x, y LibraryRow) int {
			return cmp.Or(cmp.Compare(y.AtPeakBytes, x.AtPeakBytes), cmp.Compare(y.PeakBytes, x.PeakBytes), cmp.Compare(x.Library, y.Library))
		})
		slices.SortStableFunc(row.Spaces, func(x, y SpaceRow) int { return cmp.Compare(y.PeakBytes, x.PeakBytes) })
		m.Totals = append(m.Totals, row)
	}
	rank := map[MemoryKind]int{DeviceMemory: 0, ManagedMemory: 1, HostMemory: 2, SharedMemory: 3}
	slices.SortStableFunc(m.Totals, func(x, y MemoryTotal) int {
		return cmp.Or(cmp.Compare(rank[x.Kind], rank[y.Kind]), cmp.Compare(x.GPU, y.GPU))
	})
	m.Largest = a.largest(p)
	m.FailedCalls = account.failedN
	for _, f := range account.failing {
		row := FailedCall{
			API: a.tables.String(f.API), Op: OpName(f.Op), Result: f.Result, Error: ResultName(f.Result), Space: SpaceName(f.Space), Bytes: f.Size, Count: f.count,
			FirstNS: a.offset(f.first), LastNS: a.offset(f.last), Stack: ResolveStack(&a.tables, f.Stack),
		}
		row.GPU, _ = a.ordinalName(p, f.Device)
		row.Library, _ = a.library(asker(&a.tables, f.Stack))
		if row.API == "" {
			row.API = "(unknown call)"
		}
		m.Failures = append(m.Failures, row)
	}
	m.ReservedBytes = p.ledger.reserved
	m.LedgerCounts = p.ledger.counts
}

func (a *Analysis) bytes(s *sum) Bytes {
	return Bytes{
		PeakBytes: s.peak, PeakNS: a.offset(s.peakTime), LiveBytes: s.live, LiveCount: s.liveCount,
		Allocated: s.opened, Freed: s.closed, AllocatedBytes: s.openedBytes,
	}
}

// library names a module.
func (a *Analysis) library(module event.StringID) (name, file string) {
	file = a.tables.String(module)
	if file == "" {
		return unattributed, ""
	}
	return path.Base(file), file
}

// largest lists what is live by stack, the most bytes first.
func (a *Analysis) largest(p *process) []LiveStack {
	type key struct {
		kind   MemoryKind
		device int32
		space  event.Space
		stack  event.StackID
	}
	rows := make(map[key]*LiveStack)
	for k, o := range p.ledger.live {
		if k.class == classMapping || k.class == classReservation {
			continue
		}
		at := key{kindOf(o), o.Device, o.Space, o.Stack}
		row := rows[at]
		if row == nil {
			row = &LiveStack{Kind: at.kind, Space: SpaceName(o.Space)}
			rows[at] = row
		}
		row.Bytes += o.Size
		row.Count++
	}
	keys := make([]key, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(cmp.Compare(rows[y].Bytes, rows[x].Bytes), cmp.Compare(x.stack, y.stack),
			cmp.Compare(x.space, y.space), cmp.Compare(x.device, y.device), cmp.Compare(x.kind, y.kind))
	})
	list := []LiveStack{}
	for _, k := range keys[:min(len(keys), maxLiveStacks)] {
		row := *rows[k]
		row.GPU, _ = a.ordinalName(p, k.device)
		row.Library, _ = a.library(asker(&a.tables, k.stack))
		row.Stack = ResolveStack(&a.tables, k.stack)
		list = append(list, row)
	}
	return list
}

func (a *Analysis) poolRows(p *process) []PoolRow {
	rows := []PoolRow{}
	for key, row := range a.pools {
		if key.process == p.id {
			r := *row
			r.GPU, _ = a.ordinalName(p, key.device)
			if r.GPU == "" {
				r.GPU = fmt.Sprintf("device %d", key.device)
			}
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(x, y PoolRow) int {
		return cmp.Or(cmp.Compare(x.GPU, y.GPU), cmp.Compare(x.Pool, y.Pool))
	})
	return rows
}
