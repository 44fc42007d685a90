package report

import (
	"slices"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// form is a C++ name without what says nothing to a reader: its return type, parameters and
// namespaces are gone, its template arguments are a tree.
type form struct {
	label string
	args  []form
	// quiet arguments (numbers, flags, counters of lambdas) are shown only where they tell two
	// names apart, or where there is room for everything.
	quiet bool
	// A counter numbers the lambdas of a function: it is shown only where nothing else differs.
	counter bool
}

// maxForm bounds the depth to which template arguments are looked into.
const maxForm = 12

// vague labels say nothing alone: what they are given as first argument, or where they are
// defined, is the kernel's real name.
var vague = [...]string{"Kernel", "Kernel2", "kernel", "device_kernel", "DeviceKernel", "run", "operator()", "kernel_agent", "launch"}

func isVague(label string) bool { return slices.Contains(vague[:], label) }

// plumbing is template arguments that carry pointers and offsets about: they name no work.
var plumbing = [...]string{
	"array", "Array", "OffsetCalculator", "TrivialOffsetCalculator", "LoadWithoutCast", "StoreWithoutCast", "LoadWithCast",
	"StoreWithCast", "TensorListMetadata", "TensorListScalarListMetadata", "FusedOptimizerTensorListMetadata", "DepthToMetadata",
}

// wrappers carry the functor that is applied as one of their arguments, after the types it works
// on: the functor is what the kernel does.
var wrappers = map[string]int{
	"gpu_kernel_impl_nocast": 0, "gpu_kernel_impl": 0, "func_wrapper_t": 1, "ReduceOp": 1, "BinaryFunctor": 3, "AUnaryFunctor": 3, "BUnaryFunctor": 3,
}

// unwrap returns the functor in a wrapper, with the type it works on; the wrapper itself becomes
// what is shown only where nothing else differs.
func unwrap(f form) form {
	at, ok := wrappers[f.label]
	if !ok || at >= len(f.args) || f.args[at].quiet {
		return f
	}
	inner := f.args[at]
	out := form{label: inner.label, args: inner.args}
	if at > 0 && !f.args[0].quiet {
		out.args = []form{f.args[0]}
	}
	return form{label: out.label, args: append(slices.Clone(out.args), form{label: f.exact(), quiet: true, counter: true})}
}

// formOf returns the form of a symbol; whole is its demangled name.
func formOf(symbol, whole string) form {
	if symbol == "" || symbol == whole {
		return form{label: whole}
	}
	ast, err := demangle.ToAST(symbol, demangle.NoParams, demangle.MaxLength(16))
	if err != nil {
		return form{label: whole}
	}
	f := walk(ast, 0)
	if f.label == "" {
		return form{label: whole}
	}
	// cutlass::Kernel2<the_real_name>
	label := f.label
	if at := strings.LastIndex(label, "::"); at >= 0 {
		label = label[at+2:]
	}
	if isVague(label) && len(f.args) > 0 && !f.args[0].quiet {
		return f.args[0]
	}
	return f
}

// walk turns a node of the demangler's tree into a form.
func walk(ast demangle.AST, depth int) form {
	f := unwrap(walkNode(ast, depth))
	f.quiet = f.quiet || slices.Contains(plumbing[:], f.label)
	return f
}

func walkNode(ast demangle.AST, depth int) form {
	if depth > maxForm {
		return form{label: "…"}
	}
	depth++
	switch n := ast.(type) {
	case *demangle.Typed:
		return walk(n.Name, depth)
	case *demangle.Clone:
		return walk(n.Base, depth)
	case *demangle.TaggedName:
		return walk(n.Name, depth)
	case *demangle.MethodWithQualifiers:
		return walk(n.Method, depth)
	case *demangle.TypeWithQualifiers:
		return walk(n.Base, depth)
	case *demangle.PackExpansion:
		return walk(n.Base, depth)
	case *demangle.DefaultArg:
		return walk(n.Arg, depth)
	case *demangle.PointerType:
		return suffixed(walk(n.Base, depth), "*")
	case *demangle.ReferenceType:
		return suffixed(walk(n.Base, depth), "&")
	case *demangle.RvalueReferenceType:
		return suffixed(walk(n.Base, depth), "&&")
	case *demangle.Unary:
		return walk(n.Expr, depth)
	case *demangle.Qualified:
		return walkQualified(n, depth)
	case *demangle.Template:
		f := walk(n.Name, depth)
		f.args = append(f.args, walkAll(n.Args, depth)...)
		return f
	case *demangle.Closure:
		f := form{label: "lambda", args: walkAll(n.Types, depth)}
		f.args = append(f.args, form{label: "#" + itoa(n.Num+1), quiet: true, counter: true})
		return f
	case *demangle.Literal:
		return form{label: literal(n), quiet: true}
	case *demangle.Name:
		return form{label: n.Name}
	case *demangle.BuiltinType:
		return form{label: n.Name}
	}
	return form{label: plainText(ast)}
}

func walkAll(list []demangle.AST, depth int) []form {
	var out []form
	for _, a := range list {
		if pack, ok := a.(*demangle.ArgumentPack); ok {
			out = append(out, walkAll(pack.Args, depth)...)
			continue
		}
		out = append(out, walk(a, depth))
	}
	return out
}

// walkQualified drops the scope, unless the name in it means nothing without: a lambda is known by
// the function around it, a method called kernel by its class.
func walkQualified(q *demangle.Qualified, depth int) form {
	name := walk(q.Name, depth)
	switch {
	case name.label == "lambda" || name.label == "operator()" || strings.HasPrefix(name.label, "{"):
		scope := walk(q.Scope, depth)
		if scope.label == "" {
			return name
		}
		scope.args = append(scope.args, name.args...)
		return scope
	case isVague(name.label) && len(name.args) == 0:
		scope := walk(q.Scope, depth)
		if scope.label == "" || scope.label == "(anonymous namespace)" {
			return name
		}
		return form{label: scope.label + "::" + name.label, args: scope.args}
	}
	return name
}

func suffixed(f form, suffix string) form {
	if len(f.args) == 0 {
		f.label += suffix
	}
	return f
}

func itoa(n int) string {
	const digits = "0123456789"
	if n < 0 || n >= 1000 {
		return "n"
	}
	if n < 10 {
		return digits[n : n+1]
	}
	return itoa(n/10) + digits[n%10:n%10+1]
}

func literal(l *demangle.Literal) string {
	if t, ok := l.Type.(*demangle.BuiltinType); ok && t.Name == "bool" {
		switch l.Val {
		case "0":
			return "false"
		case "1":
			return "true"
		}
	}
	if l.Neg {
		return "-" + l.Val
	}
	return l.Val
}

// plainText writes what has no form of its own, without namespaces.
func plainText(ast demangle.AST) string {
	text := demangle.ASTToString(ast, demangle.NoParams)
	var b strings.Builder
	start := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ':' && i+1 < len(text) && text[i+1] == ':':
			i++
			start = i + 1
		case c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		default:
			b.WriteString(text[start : i+1])
			start = i + 1
		}
	}
	b.WriteString(text[start:])
	return b.String()
}

// full writes a form with all its arguments.
func (f *form) full() string {
	var parts []string
	for i := range f.args {
		if !f.args[i].counter {
			parts = append(parts, f.args[i].full())
		}
	}
	return f.with(parts)
}

// exact writes a form with everything that tells it from others.
func (f *form) exact() string {
	parts := make([]string, len(f.args))
	for i := range f.args {
		parts[i] = f.args[i].exact()
	}
	return f.with(parts)
}

// telling writes a form with the arguments that name something.
func (f *form) telling() string { return f.tellingTo(2) }

// brief is telling without the arguments' own arguments.
func (f *form) brief() string { return f.tellingTo(1) }

func (f *form) tellingTo(depth int) string {
	if depth == 0 {
		return f.label
	}
	var parts []string
	for i := range f.args {
		if !f.args[i].quiet {
			parts = append(parts, f.args[i].tellingTo(depth-1))
		}
	}
	return f.with(parts)
}

func (f *form) with(args []string) string {
	if len(args) == 0 {
		return f.label
	}
	return f.label + "<" + strings.Join(args, ", ") + ">"
}

// short writes a form with the arguments among chosen, each as brief as depth says.
func (f *form) short(chosen []int, depth int) string {
	var parts []string
	for _, i := range chosen {
		if i >= len(f.args) {
			continue
		}
		a := &f.args[i]
		switch {
		case depth == 0 || len(a.args) == 0:
			parts = append(parts, a.label)
		case depth == 1:
			parts = append(parts, a.brief())
		default:
			parts = append(parts, a.exact())
		}
	}
	return f.with(parts)
}
