package analyze

import (
	"cmp"
	"slices"

	"github.com/warpscope/warpscope/agent/event"
)

// CallSummary says what the CPU side did: API calls, waits, and the tracing's own overhead.
type CallSummary struct {
	Calls     uint64      `json:"calls"`
	TotalNS   int64       `json:"total_ns"` // sum over threads
	APIs      []CallRow   `json:"apis"`     // in descending order of total time
	Omitted   int         `json:"omitted"`  // of APIs
	Waits     []NamedTime `json:"waits"`
	Overheads []NamedTime `json:"overheads"`
}

// CallRow is one API.
type CallRow struct {
	Name   string `json:"name"`
	Domain string `json:"domain"` // "driver", "runtime"
	Failed uint64 `json:"failed"` // calls whose result was neither success nor "not ready"
	Spread
}

// NamedTime is a count and a sum of durations.
type NamedTime struct {
	Name    string `json:"name"`
	Count   uint64 `json:"count"`
	TotalNS int64  `json:"total_ns"`
	MaxNS   int64  `json:"max_ns"`
	Unknown uint64 `json:"without_duration,omitempty"`
}

// notReady is what cuEventQuery and cuStreamQuery answer while work goes on: no failure.
const notReady = 600

type callRow struct {
	name    event.StringID
	domain  event.Domain
	spread  Distribution
	failed  uint64
	unknown uint64
}

// callTable adds up API calls by name, in a dense table by StringID.
type callTable struct {
	rows      []*callRow
	index     [3][]uint32 // by domain, then StringID: index in rows, plus 1
	waits     [5]NamedTime
	overheads map[event.OverheadKind]*NamedTime
}

func (t *callTable) row(name event.StringID, domain event.Domain, limit int) *callRow {
	if domain > event.DomainRuntime {
		domain = 0
	}
	if uint64(name) > uint64(limit) {
		name = 0
	}
	index := t.index[domain]
	if uint64(name) >= uint64(len(index)) {
		index = slices.Grow(index, int(name)+1-len(index))[:int(name)+1]
		t.index[domain] = index
	}
	if at := index[name]; at != 0 {
		return t.rows[at-1]
	}
	r := &callRow{name: name, domain: domain}
	t.rows = append(t.rows, r)
	index[name] = uint32(len(t.rows))
	return r
}

// add adds calls; limit is the highest StringID defined.
func (t *callTable) add(s *span, c *event.Calls, limit int) {
	enters, durations, domains, results := c.Enter[:len(c.Name)], c.Duration[:len(c.Name)], c.Domain[:len(c.Name)], c.Result[:len(c.Name)]
	var r *callRow
	var before event.StringID
	var domain event.Domain
	for i, name := range c.Name {
		if !s.has(enters[i]) {
			continue
		}
		if r == nil || name != before || domains[i] != domain {
			before, domain = name, domains[i]
			r = t.row(name, domain, limit)
		}
		if result := results[i]; result != 0 && result != notReady {
			r.failed++
		}
		if duration := durations[i]; uint64(duration) < maxDuration {
			r.spread.Add(duration)
		} else {
			r.unknown++
		}
	}
}

func (t *NamedTime) add(duration int64) {
	t.Count++
	if uint64(duration) >= maxDuration {
		t.Unknown++
		return
	}
	t.TotalNS += duration
	t.MaxNS = max(t.MaxNS, duration)
}

func (t *callTable) addSyncs(s *span, syncs *event.Syncs) {
	for i, kind := range syncs.Type {
		if !s.has(syncs.Start[i]) {
			continue
		}
		if int(kind) >= len(t.waits) {
			kind = event.SyncUnknown
		}
		t.waits[kind].add(syncs.Duration[i])
	}
}

// maxOverheads bounds the kinds of overhead kept apart.
const maxOverheads = 64

func (t *callTable) addOverheads(s *span, o *event.Overheads) {
	for i, kind := range o.Kind {
		if !s.has(o.Start[i]) {
			continue
		}
		row := t.overheads[kind]
		if row == nil {
			if t.overheads == nil {
				t.overheads = make(map[event.OverheadKind]*NamedTime)
			}
			if len(t.overheads) >= maxOverheads {
				kind = 0
			}
			if row = t.overheads[kind]; row == nil {
				row = &NamedTime{Name: OverheadName(kind)}
				t.overheads[kind] = row
			}
		}
		row.add(o.Duration[i])
	}
}

func (t *callTable) summary(tables *event.Tables) *CallSummary {
	s := &CallSummary{APIs: []CallRow{}, Waits: []NamedTime{}, Overheads: []NamedTime{}}
	for _, r := range t.rows {
		row := CallRow{Name: tables.String(r.name), Domain: DomainName(r.domain), Failed: r.failed, Spread: r.spread.Spread()}
		row.Unknown = r.unknown
		if row.Name == "" {
			row.Name = "(unknown)"
		}
		s.Calls += row.Count + row.Unknown
		s.TotalNS += row.TotalNS
		s.APIs = append(s.APIs, row)
	}
	slices.SortFunc(s.APIs, func(x, y CallRow) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Domain, y.Domain))
	})
	for kind, w := range t.waits {
		if w.Count > 0 {
			w.Name = SyncTypeName(event.SyncType(kind))
			s.Waits = append(s.Waits, w)
		}
	}
	for _, o := range t.overheads {
		s.Overheads = append(s.Overheads, *o)
	}
	byTime := func(x, y NamedTime) int {
		return cmp.Or(cmp.Compare(y.TotalNS, x.TotalNS), cmp.Compare(x.Name, y.Name))
	}
	slices.SortFunc(s.Waits, byTime)
	slices.SortFunc(s.Overheads, byTime)
	return s
}
