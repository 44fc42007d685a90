package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/warpscope/warpscope/agent/ceilings"
)

// Schema is the version of the JSON form.
const Schema = 1

// Result is one run of `warpscope bench` on one GPU.
type Result struct {
	Version   int          `json:"schema_version"`
	Tool      string       `json:"warpscope"` // its version
	Taken     time.Time    `json:"taken"`
	Took      float64      `json:"took_seconds"`
	GPU       GPU          `json:"gpu"`
	Others    []Process    `json:"other_processes,omitempty"` // that held memory of the GPU when the run began
	Rows      []Row        `json:"rows"`
	Measured  ceilings.Set `json:"measured"`  // what the shares of the roof are of: of this run, else saved
	Datasheet ceilings.Set `json:"datasheet"` // empty where it is not known
	Notes     []string     `json:"notes,omitempty"`
	Compared  []Change     `json:"compared,omitempty"` // with another run
}

// GPU is what was measured.
type GPU struct {
	Name            string `json:"name"`
	UUID            string `json:"uuid"`
	Driver          string `json:"driver,omitempty"`
	CUDA            int    `json:"cuda"` // the newest version that the driver supports: 13000
	Major           int    `json:"compute_major"`
	Minor           int    `json:"compute_minor"`
	Multiprocessors int    `json:"multiprocessors"`
	L2              uint64 `json:"l2_bytes"`
	Memory          uint64 `json:"memory_bytes"`
	Free            uint64 `json:"free_bytes"` // when the run began
	Simulated       bool   `json:"simulated,omitempty"`
}

// Process is another user of the GPU.
type Process struct {
	PID   int32  `json:"pid"` // as NVML numbers it
	Bytes uint64 `json:"bytes,omitempty"`
}

// Keep leaves the rows of these suites alone.
func (r *Result) Keep(suites []string) {
	r.Rows = slices.DeleteFunc(r.Rows, func(row Row) bool { return !slices.Contains(suites, row.Suite) })
}

// Failed is how many rows failed.
func (r *Result) Failed() int {
	n := 0
	for i := range r.Rows {
		if r.Rows[i].Failure != "" {
			n++
		}
	}
	return n
}

// Throttled is how many rows were measured while the GPU held its clock down, and how many of them at a clock that was well lower.
func (r *Result) Throttled() (n, slowed int) {
	for i := range r.Rows {
		c := &r.Rows[i].Conditions
		if len(c.Throttled) > 0 {
			n++
		}
		if c.Slowed() {
			slowed++
		}
	}
	return n, slowed
}

// Ceilings is what the rows of this run say the GPU can do: the best rate of each kind, of rows whose own kind it is. Rows that failed
// say nothing.
func (r *Result) Ceilings() ceilings.Set {
	set := ceilings.Set{Version: ceilings.Schema, UUID: r.GPU.UUID, GPU: r.GPU.Name, Source: ceilings.Measured, Driver: r.GPU.Driver, Taken: r.Taken,
		Rates: map[ceilings.Kind]float64{}}
	for kind, row := range r.Best() {
		set.Rates[kind], _ = row.rate(row.Times.Median)
	}
	return set
}

// Best are the rows that define a ceiling: the fastest of each kind.
func (r *Result) Best() map[ceilings.Kind]*Row {
	best := map[ceilings.Kind]*Row{}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Failure != "" || row.Skipped != "" || !(row.Times.Median > 0) {
			continue
		}
		kind := row.Memory
		if row.Operations > 0 {
			kind = row.Peak
		}
		// Only plain streams and products show a ceiling; patterns, attention and chains are judged by it.
		if row.Suite != "memory" && row.Suite != "matmul" && row.Suite != "transfer" || row.Useful > 0 || kind == "" {
			continue
		}
		rate, _ := row.rate(row.Times.Median)
		if known := best[kind]; known != nil {
			if other, _ := known.rate(known.Times.Median); other >= rate {
				continue
			}
		}
		best[kind] = row
	}
	return best
}

// Judge judges all rows: by what they measured themselves, else by what was saved, and by the datasheet.
func (r *Result) Judge(saved ceilings.Set) {
	r.Measured = r.Ceilings()
	for k, rate := range saved.Rates {
		if _, ok := r.Measured.Rates[k]; !ok {
			r.Measured.Rates[k] = rate
		}
	}
	for i := range r.Rows {
		if err := r.Rows[i].Judge(r.Measured, r.Datasheet); err != nil {
			r.Rows[i].Failure = err.Error()
		}
	}
}

// Write writes the result as JSON.
func (r *Result) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// largest is the most that a file of results may be: a row is about a kilobyte.
const largest = 16 << 20

// Read reads a result that Write wrote.
func Read(from io.Reader) (*Result, error) {
	text, err := io.ReadAll(io.LimitReader(from, largest+1))
	if err != nil {
		return nil, err
	}
	if len(text) > largest {
		return nil, fmt.Errorf("more than %d bytes: no result of warpscope bench", largest)
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("no result of warpscope bench: %w", err)
	}
	switch {
	case r.Version != Schema:
		return nil, fmt.Errorf("no result of warpscope bench that this version reads: schema_version is %d, want %d", r.Version, Schema)
	case len(r.Rows) == 0:
		return nil, errors.New("no result of warpscope bench: it has no rows")
	}
	return r, nil
}
