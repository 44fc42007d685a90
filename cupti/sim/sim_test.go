package sim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func built(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("lib/" + DriverName); err != nil {
		t.Fatalf("the simulated device is not built (run make build): %v", err)
	}
}

func TestExtractPutsBothLibrariesInPlace(t *testing.T) {
	built(t)
	base := filepath.Join(t.TempDir(), "deep", "cache")
	path, err := Extract(base)
	if err != nil {
		t.Fatal(err)
	}
	driver, tracer, err := Libraries()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{path: driver, filepath.Join(filepath.Dir(path), TracerName): tracer} {
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, content equal: %v", name, err, bytes.Equal(got, want))
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if filepath.Base(path) != DriverName {
		t.Errorf("the driver is %s: programs look for %s", path, DriverName)
	}
}

func TestExtractLeavesGoodFilesAloneAndReplacesOthers(t *testing.T) {
	built(t)
	base := t.TempDir()
	path, err := Extract(base)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Extract(base); err != nil || again != path {
		t.Fatalf("a second Extract: %s, %v", again, err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("a good file was replaced: %v", err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(base); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) == "damaged" {
		t.Errorf("a damaged file was kept: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestExtractWithoutAPlaceFails(t *testing.T) {
	built(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(filepath.Join(file, "below")); err == nil || errors.Is(err, ErrNotBuilt) {
		t.Errorf("Extract below a file: %v", err)
	}
}
