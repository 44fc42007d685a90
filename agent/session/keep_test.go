package session

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSuccessor replaces a trace's file, with and without a name of the successor's own.
func TestSuccessor(t *testing.T) {
	for _, named := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "t.wscope")
		o, err := openOutput(path, Names{}, false)
		if err != nil {
			t.Fatal(err)
		}
		for i, content := range []string{"first", "second"} {
			s, err := o.succeed()
			if err != nil {
				t.Fatal(err)
			}
			heir := s.(*successor)
			if named { // as on a file system that has no files without a name
				heir.Close()
				heir.path = temporaryName(dir)
				if heir.File, err = os.OpenFile(heir.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Write([]byte(content)); err != nil {
				t.Fatal(err)
			}
			old := o.file
			if err := s.Succeed(); err != nil {
				t.Fatalf("successor %d: %v", i, err)
			}
			if o.file != heir.File {
				t.Error("the output still has the old file")
			}
			if _, err := old.Write([]byte("x")); err == nil {
				t.Error("the old file is still open")
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != content {
				t.Errorf("%q, %v", got, err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if b := make([]byte, 3); true {
				if _, err := s.ReadAt(b, 0); err != nil || string(b) != content[:3] {
					t.Errorf("read back: %q, %v", b, err)
				}
			}
		}
		s, err := o.succeed()
		if err != nil {
			t.Fatal(err)
		}
		s.Abandon()
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%v, %v", entries, err)
		}
		if err := o.file.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSuccessorKeepsItsPlace has the folder refuse the new name.
func TestSuccessorKeepsItsPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.wscope")
	o, err := openOutput(path, Names{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.file.WriteString("old"); err != nil {
		t.Fatal(err)
	}
	s, err := o.succeed()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Succeed(); err == nil {
		t.Error("a folder that is gone has taken the file")
	}
	s.Abandon()
	if _, err := o.file.WriteString("er"); err != nil {
		t.Errorf("the old file is gone: %v", err)
	}
}

func TestSuccessorNeedsAName(t *testing.T) {
	o, err := openOutput(filepath.Join(t.TempDir(), "%p.wscope"), Names{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.succeed(); err == nil {
		t.Error("a trace without a name has a successor")
	}
	if err := o.settle(unix.Getpid()); err != nil {
		t.Fatal(err)
	}
	s, err := o.succeed()
	if err != nil {
		t.Fatal(err)
	}
	s.Abandon()
	o.discard()
}
