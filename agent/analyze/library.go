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
		if f.Module != 0 && !isDriver(tables.String(f.Module)) {
			return f.Module
		}
	}
	return 0
}

// maxStackText bounds the frames that are written out.
const maxStackText = 64

// StackText writes a stack, one frame a text, innermost first: "cudaMalloc+0x1b (libcudart.so.12)".
func StackText(tables *event.Tables, id event.StackID) []string {
	var lines []string
	for _, frame := range tables.Stack(id) {
		if len(lines) == maxStackText {
			break
		}
		f := tables.Frame(frame)
		module := tables.String(f.Module)
		if module != "" {
			module = path.Base(module)
		}
		symbol := tables.String(f.Symbol)
		switch {
		case symbol != "" && module != "":
			lines = append(lines, fmt.Sprintf("%s+%#x (%s)", Demangle(symbol), f.Offset, module))
		case symbol != "":
			lines = append(lines, fmt.Sprintf("%s+%#x", Demangle(symbol), f.Offset))
		case module != "":
			lines = append(lines, fmt.Sprintf("%s+%#x", module, f.Offset))
		default:
			lines = append(lines, fmt.Sprintf("%#x", f.Offset))
		}
	}
	return lines
}
