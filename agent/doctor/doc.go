// Package doctor judges: its rules turn summaries of a trace into findings, each with what it costs,
// the evidence, the exact change to make, and what was ruled out.
//
// It owns the rules, their thresholds and their identifiers, which are a public contract. It reads no
// file and computes no summary: agent/analyze does. It never infers bytes or shapes from the names of
// kernels, and never guesses: a rule whose evidence is not in the trace becomes a note that names the
// rerun that would bring it. The command line and agent/report use it.
package doctor
