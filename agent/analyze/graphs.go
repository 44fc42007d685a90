package analyze

import "github.com/warpscope/warpscope/agent/event"

// maxGraphs bounds the graphs counted apart.
const maxGraphs = 1 << 16

type graphKey struct {
	process event.ProcessID
	graph   uint32
}

// graphTable adds up launches of whole graphs.
type graphTable struct {
	spread  Distribution
	unknown uint64
	ids     map[graphKey]struct{}
}

func (t *graphTable) add(s *span, p *process, g *event.Graphs) {
	for i, id := range g.Graph {
		if !s.has(g.Start[i]) {
			continue
		}
		if t.ids == nil {
			t.ids = make(map[graphKey]struct{})
		}
		if len(t.ids) < maxGraphs {
			t.ids[graphKey{p.id, id}] = struct{}{}
		}
		if uint64(g.Duration[i]) >= maxDuration {
			t.unknown++
			continue
		}
		t.spread.Add(g.Duration[i])
	}
}

// summary computes the result, nil if there were no such launches.
func (t *graphTable) summary(busy int64, nodes bool) *GraphSummary {
	if len(t.ids) == 0 {
		return nil
	}
	s := &GraphSummary{Spread: t.spread.Spread(), Graphs: len(t.ids), NodesRecorded: nodes}
	s.Unknown = t.unknown
	s.BusyShare = share(s.TotalNS, busy)
	return s
}
