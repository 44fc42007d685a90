// Package bench runs warpscope's own kernels, verifies what they compute and times them.
//
// It owns the choice of problems (a Suite a file), the order prepare, verify, time, and the clock. What it found is a
// result.Result; it never formats (agent/report does), keeps no ceilings (agent/ceilings does) and knows no command line. agent/cli
// imports it.
package bench
