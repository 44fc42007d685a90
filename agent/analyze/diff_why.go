package analyze

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// DiffSetting is something about two runs that is not the same.
type DiffSetting struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// DiffPlace is the change of idleness at one place of a step.
type DiffPlace struct {
	Cause  string  `json:"cause"` // identifier, as in an account without "idle-"
	Title  string  `json:"title"`
	Call   string  `json:"call,omitempty"`
	Before string  `json:"before"` // what the GPU waited for
	Symbol string  `json:"before_symbol,omitempty"`
	CountA float64 `json:"count_a"` // a step
	CountB float64 `json:"count_b"`
	A      float64 `json:"a_ns"` // a step
	B      float64 `json:"b_ns"`
	Delta  float64 `json:"delta_ns"`
}

// DiffClock is the SM clock in the measured steps of both.
type DiffClock struct {
	A          int64  `json:"a_mhz"` // 0: not known
	B          int64  `json:"b_mhz"`
	ThrottledA string `json:"throttled_a,omitempty"` // the reason most readings name
	ThrottledB string `json:"throttled_b,omitempty"`
}

// maxDiffPlaces bounds the places of a comparison.
const maxDiffPlaces = 64

// settings lists what about two runs differs, beside what their programs did.
func settings(a, b *Inspection) []DiffSetting {
	out := []DiffSetting{}
	add := func(what, x, y string) {
		if x != y {
			out = append(out, DiffSetting{what, x, y})
		}
	}
	gpus := func(in *Inspection) string {
		var names []string
		for i := range in.GPUs {
			if g := &in.GPUs[i]; g.Kernels+g.Copies+g.Sets+g.Graphs > 0 && !slices.Contains(names, g.Name) {
				names = append(names, g.Name)
			}
		}
		return strings.Join(names, ", ")
	}
	of := func(in *Inspection, get func(*ProcessRow) string) string {
		var values []string
		for i := range in.Processes {
			if v := get(&in.Processes[i]); v != "" && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		return strings.Join(values, ", ")
	}
	add("GPU", gpus(a), gpus(b))
	add("driver", a.Provenance.Driver, b.Provenance.Driver)
	add("recorded by", a.Provenance.Imported, b.Provenance.Imported)
	add("CUPTI", of(a, func(p *ProcessRow) string { return p.CUPTI }), of(b, func(p *ProcessRow) string { return p.CUPTI }))
	add("calls recorded", of(a, func(p *ProcessRow) string { return p.API }), of(b, func(p *ProcessRow) string { return p.API }))
	add("graphs recorded", of(a, func(p *ProcessRow) string { return p.Graphs }), of(b, func(p *ProcessRow) string { return p.Graphs }))
	add("host", a.Provenance.Host, b.Provenance.Host)
	add("command", strings.Join(a.Provenance.Command, " "), strings.Join(b.Provenance.Command, " "))
	return out
}

// idleOf returns why a process's GPU was idle; nil: that was not looked at.
func (r *Inspection) idleOf(k *Key) *IdleRow {
	if r.Idle == nil {
		return nil
	}
	for i := range r.Idle.Rows {
		if row := &r.Idle.Rows[i]; row.Name == k.Name && row.PID == k.PID && row.GPU == k.GPU && row.UUID == k.UUID {
			return row
		}
	}
	return nil
}

// clock returns the clock in the measured steps and why it was held down.
func (f *AccountFacts) clock() (mhz int64, why string) {
	most := 0
	for reason, n := range f.Throttled {
		if n > most || n == most && reason < why {
			why, most = reason, n
		}
	}
	if 2*most < f.Samples {
		why = ""
	}
	return f.ClockMedian, why
}

// places compares where GPUs are idle. Only places that were among the largest of a cause are known: one that is known on
// one side alone may be small, not absent, on the other.
func (r *DiffRow) places(a, b *IdleRow) {
	if a == nil || b == nil {
		return
	}
	type key struct{ cause, call, before, symbol string }
	at := make(map[key]int)
	each := func(in *IdleRow, set func(p *DiffPlace, ns, count float64)) {
		steps := float64(max(in.Steps, 1))
		for i := range in.Causes {
			c := &in.Causes[i]
			for j := range c.Places {
				p := &c.Places[j]
				k := key{c.ID, p.Call, p.Before, p.BeforeSymbol}
				n, ok := at[k]
				if !ok {
					n = len(r.Places)
					at[k] = n
					r.Places = append(r.Places, DiffPlace{Cause: c.ID, Title: c.Title, Call: p.Call, Before: p.Before, Symbol: p.BeforeSymbol})
				}
				set(&r.Places[n], float64(p.TotalNS)/steps, float64(p.Count)/steps)
			}
		}
	}
	each(a, func(p *DiffPlace, ns, count float64) { p.A, p.CountA = p.A+ns, p.CountA+count })
	each(b, func(p *DiffPlace, ns, count float64) { p.B, p.CountB = p.B+ns, p.CountB+count })
	for i := range r.Places {
		r.Places[i].Delta = r.Places[i].B - r.Places[i].A
	}
	slices.SortStableFunc(r.Places, func(x, y DiffPlace) int {
		return cmp.Or(cmp.Compare(math.Abs(y.Delta), math.Abs(x.Delta)), cmp.Compare(x.Cause, y.Cause), cmp.Compare(x.Before, y.Before))
	})
	r.Places = r.Places[:min(len(r.Places), maxDiffPlaces)]
}

// Cause says what of a kernel's change comes from more or fewer calls, and what from longer or shorter ones; the two add up
// to Delta.
func (k *DiffKernel) Cause() (calls, length float64) {
	switch {
	case k.CountA == 0 || k.CountB == 0:
		return k.Delta, 0
	}
	eachA, eachB := k.A/k.CountA, k.B/k.CountB
	// At the mean of both, so that neither run is the one that counts.
	return (k.CountB - k.CountA) * (eachA + eachB) / 2, (eachB - eachA) * (k.CountA + k.CountB) / 2
}
