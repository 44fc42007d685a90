package exchange

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Report says what was found in a foreign trace, and what of it was left out.
type Report struct {
	Compression string // "gzip", "zstd"; "" none
	Bytes       int64  // of JSON
	Events      uint64 // in the trace, of any sort

	// Skipped counts events that warpscope does not show, by category.
	Skipped map[string]uint64

	// Damages counts places that are not what a trace has there; events are missing at most of them.
	Damages     uint64
	DamagedAt   int64  // the first, in the JSON, bytes
	Damage      string // what is wrong there
	LostBytes   int64  // passed over at all of them
	Truncated   bool   // the file ends before the trace does
	TruncatedAt int64  // in the JSON, bytes
	Large       uint64 // events of more than 4 MiB, which are not looked into

	skips map[string]*uint64 // Skipped, while it grows
}

// Notes returns one sentence for each thing that whoever relies on the trace must know; none for a
// whole one.
func (r *Report) Notes() []string {
	var notes []string
	in := ""
	if r.Compression != "" {
		in = " of the decompressed file"
	}
	if r.Truncated {
		notes = append(notes, fmt.Sprintf("the trace is incomplete: it ends at byte %d%s; all before was read: copy it again if the original is whole", r.TruncatedAt, in))
	}
	if r.Damages > 0 {
		notes = append(notes, fmt.Sprintf("the trace is damaged in %s, first at byte %d%s (%s); %d bytes were passed over",
			plural(r.Damages, "place", "places"), r.DamagedAt, in, r.Damage, r.LostBytes))
	}
	if r.Large > 0 {
		notes = append(notes, plural(r.Large, "event was", "events were")+" larger than 4 MiB and not looked into")
	}
	return notes
}

// damage notes that what stands at a place cannot be read.
func (r *Report) damage(at int64, what string) {
	if r.Damages == 0 {
		r.DamagedAt, r.Damage = at, what
	}
	r.Damages++
}

// maxCategories bounds the categories that are counted apart: a trace can name any.
const maxCategories = 256

// skip counts an event that is not shown.
func (r *Report) skip(category []byte) {
	if n := r.skips[string(category)]; n != nil {
		*n++
		return
	}
	name := text(category, 64)
	if name == "" {
		name = "without category"
	}
	if len(r.skips) >= maxCategories {
		name = "other"
	}
	n := r.skips[name]
	if n == nil {
		n = new(uint64)
		r.skips[name] = n
	}
	*n++
}

// finish fills in what was counted on the way.
func (r *Report) finish() {
	r.Skipped = make(map[string]uint64, len(r.skips))
	for name, n := range r.skips {
		r.Skipped[name] = *n
	}
}

// skipped says in a sentence what was left out; "" if nothing was.
func (r *Report) skipped() string {
	type row struct {
		name  string
		count uint64
	}
	var rows []row
	for name, count := range r.Skipped {
		rows = append(rows, row{name, count})
	}
	if len(rows) == 0 {
		return ""
	}
	slices.SortFunc(rows, func(x, y row) int { return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(x.name, y.name)) })
	const shown = 12
	var parts []string
	for _, w := range rows[:min(len(rows), shown)] {
		parts = append(parts, fmt.Sprintf("%d %s", w.count, w.name))
	}
	if more := len(rows) - shown; more > 0 {
		n := uint64(0)
		for _, w := range rows[shown:] {
			n += w.count
		}
		parts = append(parts, fmt.Sprintf("%d of %s", n, plural(uint64(more), "other category", "other categories")))
	}
	return "events left out: " + strings.Join(parts, ", ")
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
