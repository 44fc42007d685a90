package lint

import (
	"slices"
	"strings"
	"testing"
)

// levels is the house, from the roof to the ground: a package imports only from levels below its own,
// so that two on one level never import each other.
var levels = [][]string{
	{"agent/cmd/warpscope"},
	{"agent/cli"},
	{"agent/view", "agent/monitor"},
	{"agent/session", "agent/bench", "agent/bench/sample", "agent/report", "agent/exchange"},
	{"agent/doctor"},
	{"agent/analyze", "agent/collect", "agent/device", "agent/demo", "agent/bench/result"},
	{"agent/ceilings", "agent/trace", "agent/budget", "agent/collect/symbols", "agent/event/scene", "agent/exchange/pickle"},
	{"agent/event", "cupti/abi", "proto/warpscope/trace/v1", "cupti", "cupti/lib", "cupti/sim", "kernels", "agent/version", "agent/python", "agent/examples"},
	{"cuda"},
}

// exceptions are imports inside one level that the house allows by name.
var exceptions = map[string][]string{
	"cupti":   {"cupti/abi"},
	"kernels": {},
}

// inside are the packages of the house that an internal package may use: what makes traces for benchmarks
// writes them as the agent does.
var inside = map[string][]string{
	"internal/bigtrace": {"agent/event", "agent/trace"},
	"internal/tracecut": {"agent/event", "agent/trace"},
}

// level returns a package's place, counted from the roof.
func level(name string) (int, bool) {
	for i, names := range levels {
		if slices.Contains(names, name) {
			return i, true
		}
	}
	return 0, false
}

func TestImportsRunDownwards(t *testing.T) {
	for _, p := range packages(t) {
		name := p.name()
		if strings.HasPrefix(name, "internal/") {
			checkInternal(t, p)
			continue
		}
		own, ok := level(name)
		if !ok {
			t.Errorf("%s has no place in the house: give it a level in internal/lint", name)
			continue
		}
		for _, path := range p.Imports {
			imported, ok := strings.CutPrefix(path, module+"/")
			if !ok {
				continue
			}
			if strings.HasPrefix(imported, "internal/") {
				t.Errorf("%s imports %s: internal packages serve tests and scripts only", name, imported)
				continue
			}
			below, ok := level(imported)
			if !ok {
				continue // reported above, as a package of its own
			}
			if below <= own && !slices.Contains(exceptions[name], imported) {
				t.Errorf("%s imports %s, which is not below it", name, imported)
			}
		}
	}
}

// checkInternal: what tests and scripts use stands apart from the house.
func checkInternal(t *testing.T, p pkg) {
	for _, path := range p.Imports {
		if slices.Contains(inside[p.name()], strings.TrimPrefix(path, module+"/")) {
			continue
		}
		if strings.HasPrefix(path, module+"/") && !strings.HasPrefix(path, module+"/internal/") {
			t.Errorf("%s imports %s: it must see warpscope from outside only", p.name(), path)
		}
	}
}

// TestForeignCodeStaysInItsRoom: each of these has one place from which it is used.
func TestForeignCodeStaysInItsRoom(t *testing.T) {
	rooms := []struct {
		imported string // a path or its beginning
		rooms    []string
		tests    bool // also in test files
	}{
		{"github.com/ebitengine/purego", []string{"cuda"}, true},
		{"C", []string{"cupti", "kernels"}, true},
		{"google.golang.org/protobuf", []string{"agent/trace", "proto/warpscope/trace/v1"}, true},
		{module + "/proto", []string{"agent/trace"}, true},
		{"github.com/NVIDIA/go-nvml", []string{"agent/device"}, true},
		{"github.com/spf13/cobra", []string{"agent/cli"}, true},
		{"net/http", []string{"agent/view", "agent/monitor"}, false},
	}
	for _, p := range packages(t) {
		imports := p.Imports
		testImports := slices.Concat(p.TestImports, p.XTestImports)
		for _, rule := range rooms {
			if slices.Contains(rule.rooms, p.name()) {
				continue
			}
			matches := func(path string) bool {
				return path == rule.imported || strings.HasPrefix(path, rule.imported+"/")
			}
			if slices.ContainsFunc(imports, matches) || rule.tests && slices.ContainsFunc(testImports, matches) {
				t.Errorf("%s imports %s, which belongs in %s", p.name(), rule.imported, strings.Join(rule.rooms, " and "))
			}
		}
		if len(p.CgoFiles) > 0 && !slices.Contains([]string{"cupti", "kernels"}, p.name()) {
			t.Errorf("%s uses cgo (%s)", p.name(), strings.Join(p.CgoFiles, ", "))
		}
	}
}

// TestPureness: these packages are what they are because of what they do not import.
func TestPureness(t *testing.T) {
	forbidden := map[string][]string{
		"agent/event":   {module, "os", "io", "net", "golang.org", "github.com", "google.golang.org"},
		"agent/analyze": {"os", "net", "syscall", "os/exec"},
		"agent/doctor":  {"os", "net", "syscall", "os/exec"},
	}
	for _, p := range packages(t) {
		for _, path := range p.Imports {
			for _, prefix := range forbidden[p.name()] {
				if path == prefix || strings.HasPrefix(path, prefix+"/") {
					t.Errorf("%s imports %s", p.name(), path)
				}
			}
		}
	}
}
