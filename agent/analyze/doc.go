// Package analyze computes summaries from events: which kernels ran how long, how busy each GPU
// was, what was copied and allocated, and what was lost.
//
// It owns the typed results (JSON-tagged, units in the names) and the rules by which they are
// computed: interval unions for busy time, sequence order for the ledger of allocations, a stated
// error for percentiles. It is an [event.Sink]: it reads batches in bounded memory, does no I/O,
// formats nothing for people, and imports only the event model and the demangler. The command
// line, the report and the doctor use it.
package analyze
