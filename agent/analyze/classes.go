package analyze

import (
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

// Class is what a kernel does, as far as its name tells.
type Class uint8

// The classes of kernels.
const (
	ClassOther Class = iota
	ClassMatmul
	ClassAttention
	ClassConvolution
	ClassElementwise
	ClassReduction // and normalisation, softmax, losses
	ClassGather    // embeddings, indexing, sorting
	ClassOptimizer
	ClassCommunication
	ClassMemory // moves, converts or fills data without computing
	ClassGraph  // a CUDA graph whose kernels were not recorded one by one
	classes
)

// String returns the class's stable identifier.
func (c Class) String() string {
	return word([]string{
		"other", "matmul", "attention", "convolution", "elementwise", "reduction", "gather", "optimizer", "communication", "memory", "graph",
	}, "class", c)
}

// ClassTitle says what a class holds, in a few words.
func ClassTitle(c Class) string {
	return word([]string{
		"other kernels", "matrix multiplication", "attention", "convolution", "elementwise", "reductions, normalisation", "embedding, indexing, sorting",
		"optimizer", "communication", "casts, copies, fills by kernels", "CUDA graphs, not looked into",
	}, "class", c)
}

// ClassOf tells what a kernel does from its name, mangled or not. Names it does not know are
// ClassOther: the class says nothing of bytes, shapes or efficiency.
func ClassOf(symbol string) Class {
	name := Demangle(symbol)
	name = strings.ReplaceAll(name, "(anonymous namespace)::", "")
	name = strings.ReplaceAll(name, "<unnamed>::", "")
	head, rest := split(strings.ToLower(name))
	if generic(head) {
		// cutlass::Kernel2<the_real_name>: what the kernel is stands in its arguments.
		if c, ok := match(rest); ok {
			return c
		}
	}
	if c, ok := match(head); ok {
		if c == ClassElementwise && contains(rest, movers) && !strings.Contains(head, "triton") {
			return ClassMemory
		}
		return c
	}
	return ClassOther
}

// movers are functors that PyTorch applies elementwise and that compute nothing.
var movers = []string{"direct_copy_kernel", "float16_copy_kernel", "float8_copy_kernel", "copy_kernel_cuda", "fillfunctor"}

// split returns a function's name without return type, template arguments and parameters, and its
// template arguments.
func split(name string) (head, rest string) {
	depth, end := 0, len(name)
	var h, r strings.Builder
scan:
	for i := 0; i < end; i++ {
		switch c := name[i]; {
		case c == '<':
			depth++
			r.WriteByte(' ')
		case c == '>' && depth > 0:
			depth--
		case c == '(' && depth == 0:
			break scan
		case depth > 0:
			r.WriteByte(c)
		case c == ' ':
			h.Reset() // what came before was the return type
		default:
			h.WriteByte(c)
		}
	}
	return h.String(), r.String()
}

// generic says whether a function is a shell whose arguments say what it does.
func generic(head string) bool {
	if at := strings.LastIndex(head, "::"); at >= 0 {
		head = head[at+2:]
	}
	switch head {
	case "kernel", "kernel2", "device_kernel", "devicekernel", "kernel_agent", "run", "launch", "operator", "static_kernel", "static_kernel_by_val":
		return true
	}
	return false
}

func contains(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// match finds the first rule that a name in lower case meets.
func match(name string) (Class, bool) {
	for i := range classRules {
		if contains(name, classRules[i].parts) {
			return classRules[i].class, true
		}
	}
	return ClassOther, false
}

// classTable remembers the classes of names.
type classTable struct {
	known []uint8 // by StringID: class + 1
}

func (t *classTable) of(tables *event.Tables, id event.StringID) Class {
	strings, _, _, _, _, _ := tables.Counts()
	if uint64(id) > uint64(strings) {
		return ClassOther
	}
	for uint64(len(t.known)) <= uint64(id) {
		t.known = append(t.known, make([]uint8, int(id)+1-len(t.known))...)
	}
	if t.known[id] == 0 {
		t.known[id] = uint8(ClassOf(tables.String(id))) + 1
	}
	return Class(t.known[id] - 1)
}
