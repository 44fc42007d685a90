package analyze

import (
	"strings"

	"github.com/ianlancetaylor/demangle"
)

const (
	// maxMangled bounds what is given to the demangler; the longest names of today's templates
	// are around 10 KiB.
	maxMangled = 32 << 10
	// maxDemangled is the power of two that bounds its answer: a short mangled name can ask for
	// exponentially many characters.
	maxDemangled = 16
)

// Demangle returns the C++ (or Rust) name that the linker's symbol stands for, and symbol itself
// if it is none or not well formed.
func Demangle(symbol string) string { return demangled(symbol) }

// demangleFunction is Demangle without the function's parameters and return type.
func demangleFunction(symbol string) string { return demangled(symbol, demangle.NoParams) }

func demangled(symbol string, options ...demangle.Option) string {
	if len(symbol) > maxMangled || !strings.HasPrefix(strings.TrimLeft(symbol, "_"), "Z") &&
		!strings.HasPrefix(symbol, "_R") {
		return symbol
	}
	name, err := demangle.ToString(symbol, append(options, demangle.MaxLength(maxDemangled))...)
	if err != nil {
		return symbol
	}
	return name
}

// demangler remembers what it demangled. Its zero value is ready.
type demangler struct{ known map[string]string }

func (d *demangler) name(symbol string) string {
	if name, ok := d.known[symbol]; ok {
		return name
	}
	if d.known == nil {
		d.known = make(map[string]string)
	}
	name := Demangle(symbol)
	d.known[symbol] = name
	return name
}
