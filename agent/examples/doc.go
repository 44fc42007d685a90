// Package examples carries real cases of programs that ran out of GPU memory, as warpscope recorded them: what
// `warpscope doctor --example` opens.
//
// It owns the recorded files and their names. It never reads into them: agent/cli imports it and hands them to
// whoever does.
package examples
