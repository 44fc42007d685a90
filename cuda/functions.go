package cuda

import (
	"reflect"
	"unsafe"

	"github.com/ebitengine/purego"
)

type (
	rc   = Result
	word = uintptr // a handle
	addr = Pointer
)

// functions are the driver's entry points with their C signatures, declared topic by topic beside
// their use. The tag `cuda` is the symbol, `since` the CUDA version of the first driver that has it, where the call is
// younger than CUDA 10.
type functions struct {
	baseCalls
	deviceCalls
	contextCalls
	moduleCalls
	memoryCalls
	poolCalls
	vmmCalls
	copyCalls
	peerCalls
	streamCalls
	eventCalls
	graphCalls
	tensorMapCalls
}

// bind looks every symbol up and makes it callable. RegisterFunc panics on a null address, and a
// driver older than a call is no reason to stop: an absent call gets a stand-in that
// returns `missing`, which check turns into an UnsupportedError.
func (d *Driver) bind() {
	d.since = make(map[string]int)
	topics := reflect.ValueOf(&d.fn).Elem()
	for i := range topics.NumField() {
		d.bindTopic(topics.Field(i))
	}
}

func (d *Driver) bindTopic(fields reflect.Value) {
	for i := range fields.NumField() {
		field := fields.Type().Field(i)
		symbol := field.Tag.Get("cuda")
		// The fields are not exported; their addresses are ours to set.
		slot := reflect.NewAt(field.Type, unsafe.Pointer(fields.Field(i).UnsafeAddr()))
		if address, err := purego.Dlsym(d.handle, symbol); err == nil && address != 0 {
			purego.RegisterFunc(slot.Interface(), address)
			continue
		}
		d.since[symbol] = parseVersion(field.Tag.Get("since"))
		slot.Elem().Set(reflect.MakeFunc(field.Type, func([]reflect.Value) []reflect.Value {
			return []reflect.Value{reflect.ValueOf(missing)}
		}))
	}
}

// parseVersion reads a `since` tag; without one the call is as old as CUDA 10.0 at least.
func parseVersion(tag string) int {
	version := 0
	for _, c := range tag {
		version = version*10 + int(c-'0')
	}
	return max(version, 10000)
}
