package report

import (
	"cmp"
	"fmt"
	"math"
	"strings"
)

// Roofline is a chart of what work reaches beside what a GPU can do: operations a byte of memory
// traffic against operations a second, both logarithmic, under the GPU's ceilings.
type Roofline struct {
	Roofs  []Roof
	Points []RooflinePoint // the most important first; the first [MaxRooflineMarks] are drawn, all are listed
}

// MaxRooflineMarks is how many points are drawn: as many as there are letters.
const MaxRooflineMarks = 26

// Roof is a ceiling: of operations or, with Bandwidth, of bytes a second.
type Roof struct {
	Name      string // "bf16 tensor", "DRAM"
	Rate      float64
	Bandwidth bool
	Integer   bool   // its operations, and those of the points under it, are not of floating-point numbers
	Origin    string // "measured", "datasheet"; shown beside the rate
}

// RooflinePoint is a piece of work.
type RooflinePoint struct {
	Name string
	// Operations and Bytes are rates, a second. A point without one of them is listed, not drawn.
	Operations, Bytes float64
	// Roof is the index, in Roofs, of the ceiling of operations that holds for it; -1: the highest.
	Roof int
	// Origin says where the rates come from: "measured", "counted", "estimated"; BytesOrigin that of Bytes alone, where it
	// is another one.
	Origin, BytesOrigin string
	// Weight says how much of the work it is, such as "31.2%"; "" where that makes no sense.
	Weight string
}

// Placed is where a point lies under the ceilings.
type Placed struct {
	Intensity  float64 // operations a byte; 0 without operations, +Inf without bytes
	Attainable float64 // the rate of the ceiling over it: operations a second, or bytes where it has no operations
	Share      float64 // of Attainable that it reaches; 0 where there is no ceiling
	Memory     bool    // the ceiling over it is that of memory
}

// usable says whether a rate can be computed with: nothing a GPU does leaves these bounds.
func usable(rate float64) bool { return rate > 1e-3 && rate < 1e24 }

// bandwidth returns the index of the lowest ceiling of bytes, which every operation meets in the end; -1: none.
func (r *Roofline) bandwidth() int {
	best := -1
	for i := range r.Roofs {
		if f := &r.Roofs[i]; f.Bandwidth && usable(f.Rate) && (best < 0 || f.Rate < r.Roofs[best].Rate) {
			best = i
		}
	}
	return best
}

// operations returns the ceiling of operations that holds for a point, as an index; -1: none.
func (r *Roofline) operations(p *RooflinePoint) int {
	if p != nil && p.Roof >= 0 && p.Roof < len(r.Roofs) && !r.Roofs[p.Roof].Bandwidth && usable(r.Roofs[p.Roof].Rate) {
		return p.Roof
	}
	best := -1
	for i := range r.Roofs {
		if f := &r.Roofs[i]; !f.Bandwidth && usable(f.Rate) && (best < 0 || f.Rate > r.Roofs[best].Rate) {
			best = i
		}
	}
	return best
}

// Place says where a point lies.
func (r *Roofline) Place(p *RooflinePoint) Placed {
	at := Placed{}
	memory, compute := math.Inf(1), math.Inf(1)
	if i := r.bandwidth(); i >= 0 {
		memory = r.Roofs[i].Rate
	}
	if i := r.operations(p); i >= 0 {
		compute = r.Roofs[i].Rate
	}
	switch {
	case !usable(p.Operations):
		at.Memory, at.Attainable = true, memory
		if !math.IsInf(memory, 1) && usable(p.Bytes) {
			at.Share = p.Bytes / memory
		}
		return at
	case !usable(p.Bytes):
		at.Intensity, at.Attainable = math.Inf(1), compute
	default:
		at.Intensity = p.Operations / p.Bytes
		at.Memory = at.Intensity*memory < compute
		at.Attainable = min(at.Intensity*memory, compute)
	}
	if !math.IsInf(at.Attainable, 1) {
		at.Share = p.Operations / at.Attainable
	}
	return at
}

// Roofline draws a chart, and lists its points and ceilings under it.
func (d *Document) Roofline(r *Roofline) {
	marks := r.marks()
	d.blocks = append(d.blocks, chart{r, marks})
	t := &Table{Quiet: true, Columns: []Column{
		{}, {Title: "time", Right: true}, {Title: "what", Min: 24}, {Title: "FLOP/byte", Right: true}, {Title: "FLOP/s", Right: true},
		{Title: "memory", Right: true, Drop: 1}, {Title: "of ceiling", Right: true}, {Title: "below"}, {Title: "figures", Drop: 2},
	}}
	var names []string
	for i := range r.Points {
		p := &r.Points[i]
		at := r.Place(p)
		share, below, write := dash, dash, OperationRate
		if p.Roof >= 0 && p.Roof < len(r.Roofs) {
			write = r.Roofs[p.Roof].operations
		}
		if at.Share > 0 {
			share = Share(at.Share)
			if at.Memory {
				below = r.Roofs[r.bandwidth()].Name
			} else {
				below = r.Roofs[r.operations(p)].Name
			}
		}
		names = append(names, Clean(p.Name))
		t.Rows = append(t.Rows, []string{
			string(marks[i]), p.Weight, p.Name, intensityText(at.Intensity), rateOf(p.Operations, p.Origin, write), rateOf(p.Bytes, cmp.Or(p.BytesOrigin, p.Origin), Rate), share, below, p.Origin,
		})
	}
	t.Columns[2].Fit = Fitted(names)
	d.Table(t)
	d.ceilings(r)
}

// ceilings lists the ceilings and where they come from.
func (d *Document) ceilings(r *Roofline) {
	var roofs []string
	for i := range r.Roofs {
		roofs = append(roofs, r.Roofs[i].text(true))
	}
	if len(roofs) > 0 {
		d.Note("ceilings: " + strings.Join(roofs, "; "))
	}
}

// text writes a ceiling: "DRAM 3.03 TB/s (measured)".
func (f *Roof) text(origin bool) string {
	rate := f.operations(f.Rate)
	if f.Bandwidth {
		rate = Rate(f.Rate)
	}
	if origin && f.Origin != "" {
		return fmt.Sprintf("%s %s (%s)", f.Name, rate, f.Origin)
	}
	return f.Name + " " + rate
}

// operations writes a rate of the ceiling's own kind.
func (f *Roof) operations(rate float64) string {
	text := OperationRate(rate)
	if f.Integer {
		text = strings.Replace(text, "FLOP/s", "OP/s", 1)
	}
	return text
}

// OperationRate writes floating-point operations a second: "756 TFLOP/s".
func OperationRate(perSecond float64) string {
	v := perSecond
	units := []string{"FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"}
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return digits(v) + " " + units[i]
}

// rateOf writes a rate; one that is an estimate says so even where there is no room for the column.
func rateOf(v float64, origin string, write func(float64) string) string {
	if !usable(v) {
		return dash
	}
	if origin == "estimated" {
		return "~" + write(v)
	}
	return write(v)
}

func intensityText(v float64) string {
	if v <= 0 || math.IsInf(v, 0) {
		return dash
	}
	return digits(v)
}

// marks gives each point that can be drawn its letter; a blank one has none.
func (r *Roofline) marks() []rune {
	out := make([]rune, len(r.Points))
	next := 'a'
	for i := range r.Points {
		out[i] = ' '
		if p := &r.Points[i]; next < 'a'+MaxRooflineMarks && usable(p.Operations) && usable(p.Bytes) {
			out[i] = next
			next++
		}
	}
	return out
}
