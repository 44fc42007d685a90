package bigtrace

import (
	"reflect"

	"github.com/warpscope/warpscope/agent/event"
)

// appendRows appends what b holds: to `repeated` what goes on and on, to once what does not.
func appendRows(repeated, once, b *event.Batch) {
	appendTable(&repeated.Kernels, &b.Kernels)
	appendTable(&repeated.Copies, &b.Copies)
	appendTable(&repeated.Sets, &b.Sets)
	appendTable(&repeated.Syncs, &b.Syncs)
	appendTable(&repeated.Calls, &b.Calls)
	appendTable(&repeated.Markers, &b.Markers)
	appendTable(&repeated.Overheads, &b.Overheads)
	appendTable(&once.Allocations, &b.Allocations)
	appendTable(&once.Contexts, &b.Contexts)
	appendTable(&once.Modules, &b.Modules)
	appendTable(&once.States, &b.States)
	once.Process = b.Process
}

func appendSamples(to, b *event.Batch) {
	appendTable(&to.GPUSamples, &b.GPUSamples)
	appendTable(&to.Usages, &b.Usages)
}

// appendTable appends all columns of one kind.
func appendTable(to, from any) {
	x, y := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for i := range x.NumField() {
		x.Field(i).Set(reflect.AppendSlice(x.Field(i), y.Field(i)))
	}
}

// clear empties all columns and keeps their memory.
func clearTable(table any) {
	x := reflect.ValueOf(table).Elem()
	for i := range x.NumField() {
		x.Field(i).SetLen(0)
	}
}
