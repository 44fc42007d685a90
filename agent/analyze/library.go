package analyze

import (
	"fmt"
	"path"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// maxLibraries bounds the libraries kept apart in one process.
const maxLibraries = 256

// unattributed stands for memory whose stack names nobody.
const unattributed = "(unknown)"

// driverLibraries are those below the program: whoever calls them is who asked.
var driverLibraries = [...]string{"libcuda.so", "libcudart.so", "libcudart-", "libcupti.so", "libwarpscope", "libnvidia-"}

func isDriver(module string) bool {
	base := path.Base(module)
	for _, prefix := range driverLibraries {
		if strings.HasPrefix(base, prefix) {
			return true
		}
	}
	return false
}

// asker returns the module that asked for what happened at a stack: the first frame outside
// the CUDA driver, the CUDA runtime and warpscope's own library. 0: it is not known.
func asker(tables *event.Tables, id event.StackID) event.StringID {
	for _, frame := range tables.Stack(id) {
		f := tables.Frame(frame)
		module := tables.String(f.Module)
		if f.Module != 0 && (!isDriver(module) || strings.HasPrefix(path.Base(module), "libcupti.so")) {
			return f.Module // CUPTI's own allocations are nobody else's
		}
	}
	return 0
}

// maxStackText bounds the frames that are written out.
const maxStackText = 64

// Frame is a place in a program's code, resolved.
type Frame struct {
	Symbol string `json:"symbol,omitempty"` // demangled, without parameters; "" unknown
	Module string `json:"module,omitempty"` // the file's name without its path; "" unknown
	Offset uint64 `json:"offset"`           // from the symbol, else from the module, else the address
	// Asked marks the first frame outside the CUDA driver, the runtime and warpscope's own library.
	Asked bool `json:"asked,omitempty"`
}

// String writes a frame like "cudaMalloc+0x1b (libcudart.so.12)".
func (f Frame) String() string {
	switch {
	case f.Symbol != "" && f.Module != "":
		return fmt.Sprintf("%s+%#x (%s)", f.Symbol, f.Offset, f.Module)
	case f.Symbol != "" || f.Module != "":
		return fmt.Sprintf("%s%s+%#x", f.Symbol, f.Module, f.Offset)
	}
	return fmt.Sprintf("%#x", f.Offset)
}

// ResolveStack returns a stack's frames, innermost first.
func ResolveStack(tables *event.Tables, id event.StackID) []Frame {
	frames := []Frame{}
	asked := false
	for _, frame := range tables.Stack(id) {
		if len(frames) == maxStackText {
			break
		}
		f := tables.Frame(frame)
		out := Frame{Symbol: demangleFunction(tables.String(f.Symbol)), Module: tables.String(f.Module), Offset: f.Offset}
		if out.Module != "" {
			out.Asked = !asked && !isDriver(out.Module)
			asked = asked || out.Asked
			out.Module = path.Base(out.Module)
		}
		frames = append(frames, out)
	}
	return frames
}
