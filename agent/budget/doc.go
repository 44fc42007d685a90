// Package budget decides when a program's timeline is recorded, so that what the recording costs
// stays below a share of the program's time, and estimates from what was recorded what there was.
//
// It owns the measure of the slowdown (how far the program comes in a window of recording, against
// the time around it), the plan of windows, and the estimator of totals with their errors. It
// is pure: it does no I/O, reads no clock and starts no goroutine; chance comes from a seed. It never
// touches a process: agent/session switches timelines and tells it what came of that, agent/analyze
// uses the estimator. The method and what it takes for granted are in docs/adr/0011-budget.md.
package budget
