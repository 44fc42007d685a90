package trace

import (
	"fmt"
	"sort"

	"google.golang.org/protobuf/proto"

	"github.com/warpscope/warpscope/agent/event"
	tracepb "github.com/warpscope/warpscope/proto/warpscope/trace/v1"
)

func marshalProvenance(p *event.Provenance) ([]byte, error) {
	b, err := proto.Marshal(&tracepb.Provenance{
		Tool: cut(p.Tool), Hostname: cut(p.Hostname), Kernel: cut(p.Kernel), Driver: cut(p.Driver),
		Command: cutAll(p.Command), MonoTime: int64(p.MonoTime), WallTime: p.WallTime, Simulated: p.Simulated,
		Notes: cutAll(p.Notes), Cpus: p.CPUs, MemoryBytes: p.MemoryBytes, CallResolution: p.CallResolution,
	})
	if err != nil {
		return nil, fmt.Errorf("encode provenance: %w", err)
	}
	return b, nil
}

func unmarshalProvenance(payload []byte) (*event.Provenance, error) {
	if err := few(payload); err != nil {
		return nil, err
	}
	var m tracepb.Provenance
	if err := proto.Unmarshal(payload, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", errPayload, err)
	}
	return &event.Provenance{
		Tool: string(m.Tool), Hostname: string(m.Hostname), Kernel: string(m.Kernel), Driver: string(m.Driver),
		Command: texts(m.Command), MonoTime: event.Time(m.MonoTime), WallTime: m.WallTime, Simulated: m.Simulated,
		Notes: texts(m.Notes), CPUs: m.Cpus, MemoryBytes: m.MemoryBytes, CallResolution: m.CallResolution,
	}, nil
}

func marshalSummary(s *event.Summary) ([]byte, error) {
	m := &tracepb.Summary{End: int64(s.End), ExitCode: s.ExitCode, Signal: s.Signal, Notes: cutAll(s.Notes), LossesUnknown: s.LossesUnknown}
	for kind, n := range s.Recorded {
		m.Recorded = append(m.Recorded, &tracepb.Count{Kind: uint32(kind), Count: n})
	}
	sort.Slice(m.Recorded, func(i, j int) bool { return m.Recorded[i].Kind < m.Recorded[j].Kind })
	for _, l := range s.Losses {
		m.Losses = append(m.Losses, &tracepb.Loss{Process: uint32(l.Process), Kind: uint32(l.Kind), Cause: uint32(l.Cause), Count: l.Count})
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode summary: %w", err)
	}
	return b, nil
}

func unmarshalSummary(payload []byte) (*event.Summary, error) {
	if err := few(payload); err != nil {
		return nil, err
	}
	var m tracepb.Summary
	if err := proto.Unmarshal(payload, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", errPayload, err)
	}
	s := &event.Summary{Recorded: map[event.Kind]uint64{}, End: event.Time(m.End), ExitCode: m.ExitCode, Signal: m.Signal, Notes: texts(m.Notes),
		LossesUnknown: m.LossesUnknown}
	for _, c := range m.Recorded {
		if c.Kind > 255 {
			continue // no kind of ours
		}
		s.Recorded[event.Kind(c.Kind)] += c.Count
	}
	for _, l := range m.Losses {
		s.Losses = append(s.Losses, event.Loss{Process: event.ProcessID(l.Process), Kind: event.Kind(min(l.Kind, 255)),
			Cause: event.LossCause(min(l.Cause, 255)), Count: l.Count})
	}
	return s, nil
}
