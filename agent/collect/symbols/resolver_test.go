package symbols

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	testBase    = 0x7f1234560000
	testBuildID = "00112233445566778899aabbccddeeff00112233"
)

// compile builds the test library with more flags and returns its path.
func compile(t *testing.T, flags ...string) string {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc: ", err)
	}
	out := filepath.Join(t.TempDir(), "libfunctions.so")
	args := append([]string{"-shared", "-fPIC", "-O1", "-Wl,--version-script=testdata/versions.map",
		"-Wl,--build-id=0x" + testBuildID, "-o", out, "testdata/functions.c"}, flags...)
	if text, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, text)
	}
	return out
}

func module(path string) Module { return Module{Path: path, BuildID: testBuildID, Base: testBase} }

// functions lists a file's functions as debug/elf sees them.
func functions(t *testing.T, path string, list func(*elf.File) ([]elf.Symbol, error)) map[string]elf.Symbol {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := list(f)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]elf.Symbol{}
	for _, s := range all {
		if kind := elf.ST_TYPE(s.Info); (kind == elf.STT_FUNC || kind == elf.STT_NOTYPE) && s.Section != elf.SHN_UNDEF {
			found[s.Name] = s
		}
	}
	return found
}

func TestEveryFunctionResolves(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		list  func(*elf.File) ([]elf.Symbol, error)
		least int
	}{
		{"full table", nil, (*elf.File).Symbols, 8},
		{"stripped", []string{"-s"}, (*elf.File).DynamicSymbols, 6},
		{"linked at an address of its own", []string{"-Wl,-Ttext-segment=0x400000"}, (*elf.File).Symbols, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := compile(t, c.flags...)
			r := New()
			defer r.Close()
			checked := 0
			all := functions(t, path, c.list)
			names := map[uint64]map[string]bool{}
			for name, s := range all {
				if names[s.Value] == nil {
					names[s.Value] = map[string]bool{}
				}
				short, _, _ := strings.Cut(name, "@")
				names[s.Value][short] = true
			}
			for name, s := range all {
				if s.Size == 0 {
					continue
				}
				for _, at := range []uint64{0, s.Size - 1} {
					got, offset, ok := r.Lookup(module(path), testBase+s.Value+at)
					if !ok || offset != at {
						t.Errorf("%s+%d: got %q+%d, %v", name, at, got, offset, ok)
					} else if !names[s.Value][got] {
						t.Errorf("%s+%d: got %q, which lies elsewhere", name, at, got)
					}
				}
				checked++
			}
			if checked < c.least {
				t.Errorf("%d functions checked, want %d or more", checked, c.least)
			}
		})
	}
}

func TestNames(t *testing.T) {
	path := compile(t)
	all := functions(t, path, (*elf.File).Symbols)
	r := New()
	defer r.Close()
	for _, c := range []struct {
		symbol string // as debug/elf names it
		at     uint64
		want   string
		offset uint64
	}{
		{"exported", 0, "plain", 0}, // the plainest of three names of one function
		{"exported", 3, "plain", 3},
		{"local_helper", 1, "local_helper", 1},
		{"weak_one", 0, "weak_one", 0},
		{"versioned_new", 0, "versioned", 0}, // exported name, without version
		{"unsized", 0, "unsized", 0},
		{"unsized", 2, "unsized", 2},
		{"unsized", 3, "after_unsized", 0},
		{"after_unsized", 0, "after_unsized", 0},
	} {
		s, ok := all[c.symbol]
		if !ok {
			t.Fatalf("the library has no %s", c.symbol)
		}
		got, offset, ok := r.Lookup(module(path), testBase+s.Value+c.at)
		if !ok || got != c.want || offset != c.offset {
			t.Errorf("%s+%d: got %q+%d, %v; want %s+%d", c.symbol, c.at, got, offset, ok, c.want, c.offset)
		}
	}
	// A return address directly behind a function belongs to it, not to the next.
	s := all["local_helper"]
	if got, offset, ok := r.Resolve(module(path), testBase+s.Value+s.Size); !ok || got != "local_helper" || offset != s.Size {
		t.Errorf("return address at the end: got %q+%d, %v", got, offset, ok)
	}
	for _, pc := range []uint64{0, 1, testBase - 1, testBase, testBase + 1, testBase + 1<<40, ^uint64(0)} {
		if got, offset, ok := r.Resolve(module(path), pc); ok || got != "" || offset != pc-testBase {
			t.Errorf("address %#x: got %q+%d, %v", pc, got, offset, ok)
		}
	}
}

func TestUntrustedFiles(t *testing.T) {
	path := compile(t)
	pc := testBase + functions(t, path, (*elf.File).Symbols)["exported"].Value + 1
	folder := t.TempDir()
	file := func(name string, write func(path string) error) string {
		to := filepath.Join(folder, name)
		if err := write(to); err != nil {
			t.Fatal(err)
		}
		return to
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content := func(data []byte) func(string) error {
		return func(to string) error { return os.WriteFile(to, data, 0o600) }
	}
	for _, c := range []struct {
		name string
		m    Module
		want bool
	}{
		{"as loaded", module(path), true},
		{"build id in capitals", Module{Path: path, BuildID: strings.ToUpper(testBuildID), Base: testBase}, true},
		{"below a root", Module{Root: filepath.Dir(path), Path: "/" + filepath.Base(path), BuildID: testBuildID, Base: testBase}, true},
		{"another build", Module{Path: path, BuildID: "ffff", Base: testBase}, false},
		{"loaded without build id", Module{Path: path, Base: testBase}, false},
		{"missing", module(filepath.Join(folder, "missing.so")), false},
		{"deleted", module(path + " (deleted)"), false},
		{"no path", module(""), false},
		{"relative", module("libfunctions.so"), false},
		{"virtual", module("linux-vdso.so.1"), false},
		{"folder", module(folder), false},
		{"pipe", module(file("pipe", func(to string) error { return syscall.Mkfifo(to, 0o600) })), false},
		{"device", module("/dev/zero"), false},
		{"empty", module(file("empty", content(nil))), false},
		{"text", module(file("text", content([]byte("#!/bin/sh\n")))), false},
		{"cut short", module(file("short", content(whole[:len(whole)/2]))), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New()
			defer r.Close()
			for range 2 { // the second time from memory
				if symbol, offset, ok := r.Resolve(c.m, pc); ok != c.want || !ok && (symbol != "" || offset != pc-testBase) {
					t.Errorf("got %q+%d, %v; want %v", symbol, offset, ok, c.want)
				}
			}
		})
	}
}

func TestLimits(t *testing.T) {
	var paths []string
	for range 3 {
		paths = append(paths, compile(t))
	}
	pc := testBase + functions(t, paths[0], (*elf.File).Symbols)["exported"].Value + 1
	resolveAll := func(r *Resolver) (resolved int) {
		for _, path := range append(paths, paths...) {
			if _, _, ok := r.Resolve(module(path), pc); ok {
				resolved++
			}
		}
		return resolved
	}
	t.Run("files", func(t *testing.T) {
		r := NewWithLimits(Limits{Files: 2})
		if got := resolveAll(r); got != 6 {
			t.Errorf("%d of 6 resolved", got)
		}
		if r.recent.Len() != 2 || len(r.files) != 2 {
			t.Errorf("%d files kept", r.recent.Len())
		}
		if err := r.Close(); err != nil || r.bytes != 0 || len(r.files) != 0 {
			t.Errorf("after Close: %v, %d bytes, %d files", err, r.bytes, len(r.files))
		}
	})
	t.Run("bytes", func(t *testing.T) {
		r := NewWithLimits(Limits{Bytes: 1})
		defer r.Close()
		if got := resolveAll(r); got != 6 || r.recent.Len() != 1 {
			t.Errorf("%d of 6 resolved, %d files kept", got, r.recent.Len())
		}
	})
	t.Run("symbols", func(t *testing.T) {
		r := NewWithLimits(Limits{Symbols: 2})
		defer r.Close()
		if got := resolveAll(r); got != 0 {
			t.Errorf("%d resolved from tables that are too large", got)
		}
	})
	t.Run("time", func(t *testing.T) {
		r := NewWithLimits(Limits{Time: time.Nanosecond})
		defer r.Close()
		if got := resolveAll(r); got != 0 {
			t.Errorf("%d resolved without time", got)
		}
	})
}

func TestConcurrent(t *testing.T) {
	path := compile(t)
	all := functions(t, path, (*elf.File).Symbols)
	r := NewWithLimits(Limits{Files: 1})
	defer r.Close()
	var wg sync.WaitGroup
	failed := make(chan string, 8)
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 200 {
				m := module(path)
				if (n+i)%5 == 0 {
					m.Path = fmt.Sprintf("/missing-%d", i)
				}
				if symbol, _, ok := r.Resolve(m, testBase+all["weak_one"].Value+1); ok != (m.Path == path) || ok && symbol != "weak_one" {
					failed <- fmt.Sprintf("%s: %q, %v", m.Path, symbol, ok)
					return
				}
			}
		}()
	}
	wg.Wait()
	close(failed)
	for text := range failed {
		t.Error(text)
	}
}
