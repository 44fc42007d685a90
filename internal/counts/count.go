package counts

// count is an independent count. What a program did not count is nil and not compared.
type count struct {
	Source         string            `json:"source"`
	Kernels        *uint64           `json:"kernels"`
	KernelsByName  map[string]uint64 `json:"kernels_by_name"`
	Copies         *uint64           `json:"copies"`
	CopiesByKind   map[string]moved  `json:"copies_by_kind"` // "HtoD", "HtoD (Pageable -> Device)"
	Sets           *uint64           `json:"sets"`
	SetBytes       *uint64           `json:"set_bytes"`
	Ranges         *uint64           `json:"nvtx_ranges"`
	GraphLaunches  *uint64           `json:"graph_launches"`
	GraphNodes     *uint64           `json:"graph_nodes"`
	Allocations    *uint64           `json:"allocations"`
	AllocatedBytes *uint64           `json:"allocation_bytes"`
	Releases       *uint64           `json:"releases"`
	Failed         *uint64           `json:"failed"`
	FailedBytes    *uint64           `json:"failed_bytes"`
}

// moved is a number of copies and their bytes.
type moved struct {
	Count uint64 `json:"count"`
	Bytes uint64 `json:"bytes"`
}

// multiply makes the count that of n runs.
func (c *count) multiply(n uint64) {
	for _, value := range []*uint64{
		c.Kernels, c.Copies, c.Sets, c.SetBytes, c.Ranges, c.GraphLaunches, c.GraphNodes,
		c.Allocations, c.AllocatedBytes, c.Releases, c.Failed, c.FailedBytes,
	} {
		if value != nil {
			*value *= n
		}
	}
	for name := range c.KernelsByName {
		c.KernelsByName[name] *= n
	}
	for kind, m := range c.CopiesByKind {
		c.CopiesByKind[kind] = moved{m.Count * n, m.Bytes * n}
	}
}

// expandGraphs makes kernels of graph nodes. Names are no longer known for all of them.
func (c *count) expandGraphs() {
	if c.Kernels == nil || c.GraphNodes == nil {
		return
	}
	*c.Kernels += *c.GraphNodes
	if *c.GraphNodes > 0 {
		c.KernelsByName = nil
	}
	c.GraphLaunches = nil
}
