package lint

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxLines bounds hand-written files: a longer one is more than one room.
const maxLines = 500

// longer files that are one thing: the ABI has one header, so that it has one definition.
var longer = map[string]int{"cupti/include/ws_abi.h": 700}

var generated = regexp.MustCompile(`(?m)^(//|#|/\*) ?Code generated .* DO NOT EDIT`)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if p.Error != nil {
			t.Errorf("%s: %s", p.name(), p.Error.Err)
			continue
		}
		if strings.TrimSpace(p.Doc) == "" && len(p.GoFiles)+len(p.CgoFiles) > 0 {
			t.Errorf("%s has no package comment", p.name())
		}
	}
}

// TestFilesAreShort walks the whole tree, for Go ignores C, shell and Python.
func TestFilesAreShort(t *testing.T) {
	checked := 0
	walk(t, func(path string, text []byte) {
		checked++
		if generated.Match(text[:min(len(text), 1024)]) {
			return
		}
		limit := max(maxLines, longer[path])
		if lines := bytes.Count(text, []byte("\n")); lines > limit {
			t.Errorf("%s has %d lines, more than %d", path, lines, limit)
		}
	})
	if checked < 20 {
		t.Fatalf("found only %d source files", checked)
	}
}

// walk calls visit for each source file of the repository.
func walk(t *testing.T, visit func(path string, text []byte)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == "testdata" || name == "build" || name == "bin" || name == "dist" || name != "." && strings.HasPrefix(name, ".") && path != top {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(name) {
		case ".go", ".c", ".h", ".cu", ".py", ".sh", ".ts":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		visit(relative, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
