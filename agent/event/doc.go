// Package event is warpscope's event model: what happened on the GPUs and in the programs that
// drive them, as columns of plain Go values.
//
// It owns the meaning of every field (units, zero values, scopes). It does no I/O, knows no file
// format and no CUPTI, and imports only the standard library. agent/collect fills it,
// agent/trace stores it, agent/analyze reads it.
//
// # Times
//
// A [Time] is nanoseconds of the machine's CLOCK_MONOTONIC; device timestamps have been aligned to
// it by the collector. Zero means unknown. [Provenance] ties it to wall time.
//
// # Identifiers
//
// Strings, launches, stacks, frames, processes and GPUs are defined once per trace by a
// [Definitions] that precedes their first use; identifier 0 always means "none". Contexts,
// streams, graphs, correlations and device ordinals are CUPTI's own numbers and are unique only
// within one process.
package event
