// Package ceilings knows what a GPU can do: rates that `warpscope bench` measured on it, or else its datasheet's.
//
// It owns the saved files, one a GPU and named by its UUID, and the table of datasheets. It never measures
// (agent/bench does) and never judges (agent/doctor does). It imports nothing of warpscope; agent/bench, agent/doctor and
// agent/cli import it.
package ceilings

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Kind names a ceiling.
type Kind string

// What has a ceiling. Rates of memory are bytes a second, copies counted as read and written; rates of matrix products are
// operations a second, dense, with a multiplication and an addition counted as two.
const (
	Read         Kind = "memory.read"
	Write        Kind = "memory.write"
	Copy         Kind = "memory.copy"
	Triad        Kind = "memory.triad"
	L2           Kind = "memory.l2"
	L1           Kind = "memory.l1"
	Shared       Kind = "memory.shared"
	HostToDevice Kind = "transfer.host-to-device"
	DeviceToHost Kind = "transfer.device-to-host"
	BFloat16     Kind = "matmul.bf16"
	Float16      Kind = "matmul.fp16"
	Float8       Kind = "matmul.fp8"
	Int8         Kind = "matmul.int8"
	TF32         Kind = "matmul.tf32"
	Float32      Kind = "matmul.fp32" // on the CUDA cores
)

// Source says where rates come from.
type Source string

// The sources, the better one first.
const (
	Measured  Source = "measured"
	Datasheet Source = "datasheet"
)

// Set is ceilings of one GPU that come from one source.
type Set struct {
	Version int              `json:"schema_version"`
	UUID    string           `json:"uuid,omitempty"` // as NVML spells it: "GPU-…"
	GPU     string           `json:"gpu"`            // the product's name
	Source  Source           `json:"source"`
	Driver  string           `json:"driver,omitempty"`
	Taken   time.Time        `json:"taken,omitzero"` // when measured; the newest, where several runs were put together
	Rates   map[Kind]float64 `json:"rates"`          // bytes or operations a second
}

// Schema is the version of saved files.
const Schema = 1

// ErrUnknown is what errors.Is finds when neither a measurement nor a datasheet of a GPU is at hand.
var ErrUnknown = errors.New("no ceilings of this GPU")

// Rate is a ceiling, if the set has it.
func (s Set) Rate(k Kind) (float64, bool) {
	r, ok := s.Rates[k]
	return r, ok
}

// check refuses what cannot be rates.
func (s Set) check() error {
	if s.Version != Schema {
		return fmt.Errorf("schema version %d, want %d", s.Version, Schema)
	}
	if len(s.Rates) == 0 {
		return errors.New("no rates")
	}
	for k, r := range s.Rates {
		if !(r > 0) || math.IsInf(r, 0) {
			return fmt.Errorf("%s is %g", k, r)
		}
	}
	return nil
}

// Rate is a ceiling and where it comes from.
type Rate struct {
	PerSecond float64 // bytes or operations
	Source    Source
}

// GPU is all that is known of one GPU: either set may be empty, not both.
type GPU struct {
	Measured, Datasheet Set
}

// Rate is a ceiling as it was measured, else as the datasheet has it; false if neither says.
func (g GPU) Rate(k Kind) (Rate, bool) {
	for _, s := range []Set{g.Measured, g.Datasheet} {
		if r, ok := s.Rate(k); ok {
			return Rate{PerSecond: r, Source: s.Source}, true
		}
	}
	return Rate{}, false
}
