package examples_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/warpscope/warpscope/agent/examples"
)

func TestEveryExampleCanBeOpened(t *testing.T) {
	list, err := examples.List()
	if err != nil || len(list) == 0 {
		t.Fatalf("%d examples, %v", len(list), err)
	}
	for _, e := range list {
		folder := t.TempDir()
		file, err := examples.Write(e.Name, folder)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if info, err := os.Stat(file); err != nil || info.Size() == 0 || filepath.Dir(file) != folder || filepath.Ext(file) != ".wscope" {
			t.Errorf("%s is opened at %s: %v", e.Name, file, err)
		}
		if e.About == "" {
			t.Errorf("%s says nothing of itself", e.Name)
		}
	}
}

func TestNamesThatAreNoneOpenNothing(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../cases", "optimizer-first-step/about.txt", "none", "/etc"} {
		if file, err := examples.Write(name, t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %q, %v", name, file, err)
		}
	}
}
