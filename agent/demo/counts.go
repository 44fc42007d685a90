package demo

// Moved is a number of copies and their bytes.
type Moved struct {
	Count uint64 `json:"count"`
	Bytes uint64 `json:"bytes"`
}

// Counts is what the program did, counted where it did it.
type Counts struct {
	Source          string            `json:"source"`
	Device          string            `json:"device"`
	Simulated       bool              `json:"simulated"`
	Steps           int               `json:"steps"`   // finished
	Kernels         uint64            `json:"kernels"` // launched one by one
	KernelsByName   map[string]uint64 `json:"kernels_by_name"`
	GraphLaunches   uint64            `json:"graph_launches"`
	GraphNodes      uint64            `json:"graph_nodes"` // kernels that the graph launches ran
	Copies          uint64            `json:"copies"`
	CopiesByKind    map[string]Moved  `json:"copies_by_kind"` // "HtoD", "DtoH"
	Sets            uint64            `json:"sets"`
	SetBytes        uint64            `json:"set_bytes"`
	Allocations     uint64            `json:"allocations"` // of device memory, from pools too
	AllocationBytes uint64            `json:"allocation_bytes"`
	Releases        uint64            `json:"releases"`
	Failed          uint64            `json:"failed"` // calls that ran out of memory
	FailedBytes     uint64            `json:"failed_bytes"`
	PinnedBytes     uint64            `json:"pinned_bytes"` // host memory
}
