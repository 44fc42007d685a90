// Package collect turns what traced processes publish in shared memory into events.
//
// It owns the reader's side of cupti/include/ws_abi.h: the socket on which capture libraries announce
// themselves, the memory they are given, draining and decoding the rings, the alignment of
// device clocks with CLOCK_MONOTONIC, the identifiers of a trace, the resolution of stacks, and the
// account of what was lost. It never interprets events, never writes files itself (an event.Sink
// does) and never trusts what it reads: every id, size and position in shared memory may be
// hostile, and records are copied before they are checked. agent/session and agent/cli import it.
//
// # Use
//
//	server, err := collect.Listen(collect.Config{Sink: writer, Mode: collect.Timeline})
//	… start the program with WARPSCOPE_SOCKET=server.Address() …
//	server.SetTimeline(true)    // when it was started paused
//	status := server.Processes() // for progress and the closing note
//	err = server.Close()        // final drain
//	summary := server.Summary()
//
// Other writers of the same trace (the sampler of agent/device) go through Server.GPU and
// Server.Emit, so that identifiers stay unique and definitions precede their use.
//
// # Order
//
// Each process has one goroutine, which drains both rings. Allocation records and live sets pass
// through a queue to a second goroutine, shared by all processes, which resolves stacks before it
// writes them: opening a large library for its symbols takes longer than a ring can wait. Rows
// of other kinds do not wait for it, so allocations reach the sink somewhat later than
// kernels of the same moment. Within a process allocations and live sets keep their order.
package collect
