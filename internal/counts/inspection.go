package counts

// inspection is the part of `warpscope inspect --json` that is compared.
type inspection struct {
	Losses struct {
		Known bool   `json:"known"`
		Lost  uint64 `json:"lost"`
	} `json:"losses"`
	Kernels *struct {
		All    spread `json:"all"`
		Groups []struct {
			Name string `json:"name"`
			spread
		} `json:"groups"`
	} `json:"kernels"`
	GraphLaunches *spread `json:"graph_launches"`
	Copies        *struct {
		All    copyGroup   `json:"all"`
		Groups []copyGroup `json:"groups"`
		Sets   []copyGroup `json:"sets"`
	} `json:"copies"`
	Memory *struct {
		Processes []struct {
			Totals []struct {
				Kind           string `json:"kind"`
				Allocations    uint64 `json:"allocations"`
				AllocatedBytes uint64 `json:"allocated_bytes"`
				Releases       uint64 `json:"releases"`
			} `json:"totals"`
			Failures []struct {
				Bytes uint64 `json:"bytes"`
				Count uint64 `json:"count"`
			} `json:"failures"`
			FailedCalls uint64 `json:"failed_calls"`
		} `json:"processes"`
	} `json:"memory"`
	Ranges *struct {
		Ranges []spread `json:"ranges"`
	} `json:"nvtx"`
}

type spread struct {
	Count uint64 `json:"count"`
}

type copyGroup struct {
	spread
	Kind  string `json:"kind"`
	Bytes uint64 `json:"bytes"`
}

// memory sums up what was allocated on GPUs, over all processes.
func (i *inspection) memory() (allocations, bytes, releases, failed, failedBytes uint64) {
	if i.Memory == nil {
		return
	}
	for _, p := range i.Memory.Processes {
		for _, t := range p.Totals {
			if t.Kind == "device" {
				allocations += t.Allocations
				bytes += t.AllocatedBytes
				releases += t.Releases
			}
		}
		failed += p.FailedCalls
		for _, f := range p.Failures {
			failedBytes += f.Bytes * f.Count
		}
	}
	return
}
