package analyze

import (
	"maps"
	"slices"
)

func (a *Analysis) hostAccount() *HostAccount {
	h := &a.held.host
	if !h.seen {
		return nil
	}
	out := &HostAccount{
		TimeNS: a.offset(h.time), Total: h.total, Available: h.free, Group: h.group, Used: h.used, Limit: h.limit, PeakUsed: h.peakUsed,
		PeakBytes: h.peak, PeakNS: a.offset(h.peakAt), Resident: []OtherAccount{}, Kills: -1,
	}
	for _, pid := range sortedPIDs(h.resident) {
		out.Resident = append(out.Resident, OtherAccount{PID: pid, Bytes: h.resident[pid], Command: a.held.commands[pid]})
	}
	for _, in := range slices.Sorted(maps.Keys(h.kills)) {
		if n := h.kills[in] - h.killsBefore[in]; n > out.Kills {
			out.Kills, out.KillsIn = n, in
		}
	}
	for _, p := range a.processes {
		if p.account == nil {
			continue
		}
		for _, t := range p.account.totals {
			if t.kind == HostMemory {
				out.Pinned += t.all.live
			}
		}
	}
	return out
}
