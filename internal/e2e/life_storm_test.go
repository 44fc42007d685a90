package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStorms does much of everything, with the agent and without. Nothing is lost here: rings and
// files have room for it, and what is live at the end is exactly what the program has.
func TestStorms(t *testing.T) {
	b := newBuild(t)
	program := b.compile("storm")
	n := scale()
	for _, test := range []struct {
		scenario string
		count    int
		names    int // different kernels; 0: not checked
	}{
		{"launches", 200_000 * n, 1},
		{"kernels", 3000 * n, 3000 * n},
		{"allocations", 1500 * n, 0},
		{"mappings", 300 * n, 0},
		{"threads", 2000 * n, 1},
	} {
		if b.sanitizer != "" {
			test.count /= 10
			test.names = min(test.names, test.count)
		}
		check := func(t *testing.T, w *tool, r result, f *figures) {
			if r.status != 0 {
				t.Errorf("exit status %d\n%s", r.status, r.stderr)
			}
			c := w.tallies()[0]
			whole(t, f, &c)
			if test.names != 0 && len(f.Kernels.Groups) != test.names {
				t.Errorf("%d kernels by name, want %d", len(f.Kernels.Groups), test.names)
			}
		}
		t.Run(test.scenario, func(t *testing.T) {
			w := newTool(t)
			r, f := w.trace(b, nil, program, test.scenario, "0", fmt.Sprint(test.count))
			check(t, w, r, f)
		})
		t.Run(test.scenario+", without the agent", func(t *testing.T) {
			w := newTool(t)
			r, f := w.alone(b, nil, program, test.scenario, "0", fmt.Sprint(test.count))
			check(t, w, r, f)
		})
	}
}

// fillers makes libraries that differ in nothing but their name.
func fillers(t *testing.T, b *build, many int) string {
	t.Helper()
	image, err := os.ReadFile(b.compile("filler", "-shared", "-fPIC"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for i := range many {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("libfiller%d.so", i)), image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// TestManyLibraries loads more libraries than any table of fixed size would hold, and allocates
// through the last of them: the stack names it.
func TestManyLibraries(t *testing.T) {
	const many = 400
	b := newBuild(t)
	program, folder := b.compile("hostile"), fillers(t, b, many)
	check := func(t *testing.T, w *tool, r result, f *figures) {
		if r.status != 0 {
			t.Errorf("exit status %d\n%s", r.status, r.stderr)
		}
		c := w.tallies()[0]
		whole(t, f, &c)
		found := uint64(0)
		for _, p := range f.Memory.Processes {
			for _, l := range p.Largest {
				for _, frame := range l.Stack {
					if strings.Contains(frame.Module, fmt.Sprintf("libfiller%d.so", many-1)) && frame.Symbol == "filler_call" {
						found += l.Bytes
					}
				}
			}
		}
		if found != 2*54321 {
			t.Errorf("%d bytes through the last library, want both allocations: %+v", found, f.Memory.Processes)
		}
	}
	t.Run("with the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.trace(b, nil, program, "many_libraries", "0", folder, fmt.Sprint(many))
		check(t, w, r, f)
	})
	t.Run("without the agent", func(t *testing.T) {
		w := newTool(t)
		r, f := w.alone(b, nil, program, "many_libraries", "0", folder, fmt.Sprint(many))
		check(t, w, r, f)
	})
}

// TestClosedLibraries unloads libraries while stacks that lead through them are being taken.
func TestClosedLibraries(t *testing.T) {
	b := newBuild(t)
	program, folder := b.compile("hostile"), fillers(t, b, 40)
	w := newTool(t)
	r, f := w.trace(b, nil, program, "close_libraries", "0", folder, "40")
	if r.status != 0 {
		t.Errorf("exit status %d\n%s", r.status, r.stderr)
	}
	c := w.tallies()[0]
	whole(t, f, &c)
}
