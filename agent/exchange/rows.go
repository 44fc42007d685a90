package exchange

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// rowKind is what a row becomes.
type rowKind uint8

const (
	rowKernel rowKind = iota
	rowCopy
	rowSet
	rowSync
	rowOverhead // up to here owner is a label, from here on a process
	rowCall
	rowBegin
	rowEnd
)

// recorded is what each kind of row counts as.
func (k rowKind) recorded() event.Kind {
	switch k {
	case rowKernel:
		return event.KindKernel
	case rowCopy:
		return event.KindCopy
	case rowSet:
		return event.KindSet
	case rowSync:
		return event.KindSync
	case rowOverhead:
		return event.KindOverhead
	case rowCall:
		return event.KindCall
	}
	return event.KindMarker
}

// row is an event that waits for those that stand behind it in the file and precede it in time.
type row struct {
	time        event.Time
	duration    int64  // ns; -1 unknown
	size        uint64 // bytes; of ranges, their other end
	node        uint64 // of a graph
	what        uint32 // launch, name of a call, text, or kind of overhead
	domain      uint32 // string, of ranges; of calls the event.Domain
	correlation uint32
	device      uint32
	context     uint32
	stream      uint32
	graph       uint32 // of ranges, their id
	other       uint32 // thread; of a copy the other device; of a sync its event
	owner       uint32
	kind        rowKind
	copyKind    event.CopyKind // of a sync, its event.SyncType
	source      event.MemoryKind
	target      event.MemoryKind
}

// maxWaiting is how many rows wait, about 80 MB: half a gigabyte of JSON and more. A trace of no
// more than that is put in the order of time as a whole, and its head and tail are known before
// its first event is handed on.
const maxWaiting = 1 << 20

// key orders rows.
type key struct {
	time event.Time
	at   uint32
}

// inOrder returns the rows' indices in the order of time. Of ranges that begin together the longer
// comes first, of those that end together the one that began last, so that they stay nested.
func inOrder(rows []row, keys []key) []key {
	keys = keys[:0]
	for i := range rows {
		keys = append(keys, key{rows[i].time, uint32(i)})
	}
	slices.SortFunc(keys, func(x, y key) int {
		switch {
		case x.time < y.time:
			return -1
		case x.time > y.time:
			return 1
		}
		return compareTies(&rows[x.at], &rows[y.at], x.at, y.at)
	})
	return keys
}

// Ranks of rows at one moment: what began earlier ends, then what lasts begins, then what takes no
// time begins and ends.
const (
	rankEnd = iota
	rankBegin
	rankPointBegin
	rankPointEnd
	rankOther
)

func (r *row) rank() int {
	point := r.size == uint64(r.time)
	switch {
	case r.kind == rowEnd && point:
		return rankPointEnd
	case r.kind == rowEnd:
		return rankEnd
	case r.kind == rowBegin && point:
		return rankPointBegin
	case r.kind == rowBegin:
		return rankBegin
	}
	return rankOther
}

func compareTies(x, y *row, i, j uint32) int {
	rank := x.rank()
	if c := cmp.Compare(rank, y.rank()); c != 0 {
		return c
	}
	switch rank {
	case rankEnd:
		return cmp.Or(cmp.Compare(y.size, x.size), cmp.Compare(j, i))
	case rankBegin:
		return cmp.Or(cmp.Compare(y.size, x.size), cmp.Compare(i, j))
	case rankPointEnd:
		return cmp.Compare(j, i)
	}
	return cmp.Compare(i, j)
}

// batchRows is how many rows are handed on at a time.
const batchRows = 1 << 15

// batches collects rows by process and hands them on.
type batches struct {
	sink     event.Sink
	by       map[event.ProcessID]*event.Batch
	order    []event.ProcessID
	rows     int
	recorded map[event.Kind]uint64
}

func newBatches(sink event.Sink) batches {
	return batches{sink: sink, by: make(map[event.ProcessID]*event.Batch), recorded: make(map[event.Kind]uint64)}
}

// add adds a row of a process.
func (s *batches) add(p event.ProcessID, r *row, async bool) error {
	b := s.by[p]
	if b == nil {
		b = &event.Batch{Process: p}
		s.by[p] = b
		s.order = append(s.order, p)
	}
	r.appendTo(b, async)
	s.recorded[r.kind.recorded()]++
	s.rows++
	if s.rows >= batchRows {
		return s.flush()
	}
	return nil
}

// flush hands on what was added.
func (s *batches) flush() error {
	if s.rows == 0 {
		return nil
	}
	s.rows = 0
	for _, p := range s.order {
		b := s.by[p]
		if isEmpty(b) {
			continue
		}
		if err := s.sink.Batch(b); err != nil {
			return err
		}
		clearBatch(b)
	}
	return nil
}

func isEmpty(b *event.Batch) bool {
	return len(b.Kernels.Start)+len(b.Copies.Start)+len(b.Sets.Start)+len(b.Syncs.Start)+len(b.Calls.Enter)+
		len(b.Markers.Time)+len(b.Overheads.Start) == 0
}
