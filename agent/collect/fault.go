package collect

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// fault runs f and returns an error where memory that f reads is gone: a capture file that was
// truncated behind its reader, or pages that the system could not provide. Sealed memory cannot
// shrink, so from a traced process this does not happen.
func fault(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			at, ok := r.(interface {
				runtime.Error
				Addr() uintptr
			})
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("read capture: its memory is gone (%w)", error(at))
		}
	}()
	f()
	return nil
}
