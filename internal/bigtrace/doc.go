// Package bigtrace makes traces of any length that look like a real one, to measure how fast they are read.
//
// It owns how: the sequence of a real trace's steady part is repeated, with durations and pauses drawn at
// random from those that the same things had there, on a GPU's clock that steps as a real one does. It is
// for benchmarks and scripts only; what it makes says that it was made up.
package bigtrace
