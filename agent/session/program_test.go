package session

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("a/data", 0o644)
	file("a/both", 0o644)
	both := file("b/both", 0o755)
	file("b/folder/inside", 0o755)
	path := "PATH=" + filepath.Join(dir, "a") + ":" + filepath.Join(dir, "b")
	t.Chdir(filepath.Join(dir, "b"))

	for _, c := range []struct {
		name, program, path, want string
		status                    int
	}{
		{"in PATH, past one that cannot be executed", "both", path, both, 0},
		{"by path", both, "PATH=", both, 0},
		{"in the current directory by an empty element", "both", "PATH=/nowhere:", "./both", 0},
		{"not in the current directory", "both", "PATH=/nowhere", "", 127},
		{"in PATH, not executable", "data", path, "", 126},
		{"by path, not executable", plain, path, "", 126},
		{"by path, missing", filepath.Join(dir, "missing"), path, "", 127},
		{"by path, below a file", plain + "/x", path, "", 127},
		{"a directory", dir, path, "", 126},
		{"a directory in PATH", "folder", path, "", 127},
		{"empty", "", path, "", 127},
		{"the default PATH", "sh", "HOME=/", "/bin/sh", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := find(c.program, []string{c.path})
			if c.status == 0 {
				if err != nil || got != c.want {
					t.Errorf("found %q, %v, want %q", got, err, c.want)
				}
				return
			}
			var failed *StartError
			if !errors.As(err, &failed) {
				t.Fatalf("found %q, %v, want an error", got, err)
			}
			if failed.Status != c.status {
				t.Errorf("status %d (%v), want %d", failed.Status, err, c.status)
			}
		})
	}
}
