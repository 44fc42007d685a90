package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/warpscope/warpscope/agent/analyze"
)

// Leaks is what grows: by PyTorch's snapshots, and by what the driver gave at three moments.
type Leaks struct {
	File    string
	Tensors []*analyze.Tensors
	Driver  []*analyze.MemorySummary
	Times   []int64 // of Driver, since the start of the trace
}

// LeakRow is what one caller of the driver held at the three moments.
type LeakRow struct {
	Process string   `json:"process"`
	GPU     string   `json:"gpu"`
	Library string   `json:"library"`
	Bytes   []uint64 `json:"bytes"`
	// Grows: in both halves after the warm-up.
	Grows bool            `json:"grows"`
	Stack []analyze.Frame `json:"stack"`
}

// Rows returns what each stack held, those that grew most first.
func (l *Leaks) Rows() []LeakRow {
	rows := map[string]*LeakRow{}
	for n, m := range l.Driver {
		for i := range m.Processes {
			p := &m.Processes[i]
			for _, live := range p.Largest {
				if live.Kind == analyze.HostMemory {
					continue
				}
				key := p.Name + live.GPU + live.Space + fmt.Sprint(live.Stack)
				r := rows[key]
				if r == nil {
					r = &LeakRow{Process: p.Name, GPU: live.GPU, Library: live.Library, Stack: live.Stack, Bytes: make([]uint64, len(l.Driver))}
					rows[key] = r
				}
				r.Bytes[n] += live.Bytes
			}
		}
	}
	out := []LeakRow{}
	for _, r := range rows {
		if n := len(r.Bytes); n == 3 && r.Bytes[2] > r.Bytes[0] {
			r.Grows = r.Bytes[2] > r.Bytes[1] && r.Bytes[1] > r.Bytes[0]
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(x, y LeakRow) int {
		return cmp.Or(cmp.Compare(y.Bytes[2]-y.Bytes[0], x.Bytes[2]-x.Bytes[0]), cmp.Compare(x.Process, y.Process), cmp.Compare(x.Library, y.Library))
	})
	return out
}

// Document writes it.
func (l *Leaks) Document() *Document {
	d := &Document{}
	d.Title(l.File)
	for _, t := range l.Tensors {
		d.Heading(fmt.Sprintf("GPU %d", t.Device), "PyTorch's allocator, "+t.File)
		d.growth(&t.Growth)
	}
	d.Heading("What the driver gave and has not got back", "by who asked, at a quarter, five eighths and the end of what was traced")
	rows := l.Rows()
	if len(rows) == 0 {
		d.Line("nothing grew after the first quarter")
	}
	for i := range rows[:min(len(rows), largestRows)] {
		r := &rows[i]
		how := "it does not go on growing"
		if r.Grows {
			how = "and goes on growing"
		}
		d.Hanging(fmt.Sprintf("%s, then %s, then %s on %s, by %s, %s", Bytes(r.Bytes[0]), Bytes(r.Bytes[1]), Bytes(r.Bytes[2]), r.GPU, r.Library, how))
		d.stack(r.Stack)
	}
	d.more(len(rows)-min(len(rows), largestRows), "--json lists them")
	return d
}
