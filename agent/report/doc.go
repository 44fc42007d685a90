// Package report writes typed results for people and for programs: documents of aligned tables
// that fit the terminal, JSON, and single events as text, JSON lines or CSV.
//
// It owns the layout, the units and the shortening of names. It computes no figure and judges
// nothing: what it shows was computed by agent/analyze (or a package above it). Text of a trace is
// a stranger's: it is never written to a terminal with its control characters. The command line
// uses it.
package report
