// Package session runs one program under capture, from the command line to the finished trace.
//
// It owns the program's environment, its start, the signals that reach it, its exit status and
// the processes that it leaves behind, the trace's file name, and the capture library's place on disk.
// It wires agent/collect and agent/device to agent/trace and says in Result what came of it. It
// never decodes records, never analyses a trace, and never changes what the program would have
// done without it: when anything of warpscope's fails after the start, the program goes on.
// agent/cli imports it.
package session
