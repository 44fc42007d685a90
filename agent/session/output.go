package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// output is the trace's file. It is created, readable by its owner alone, before the program
// starts, so that whatever is wrong with it stops nothing but warpscope. A name with %p is known
// only after the start: until then the file has a name of its own in the same directory.
type output struct {
	mu      sync.Mutex // guards file and path against a successor's coming
	file    *os.File
	path    string // final, or "" until settle
	pattern string
	names   Names
	force   bool
	keep    bool // not created here: a pipe or a device, never removed
}

// openOutput creates the file that pattern names.
func openOutput(pattern string, names Names, force bool) (*output, error) {
	o := &output{pattern: pattern, names: names, force: force}
	path, err := names.Expand(pattern)
	if errors.Is(err, errNeedsPID) {
		return o, o.createTemporary()
	}
	if err != nil {
		return nil, err
	}
	o.path = path
	return o, o.create()
}

func (o *output) create() error {
	info, err := os.Stat(o.path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("create trace: %s is a directory", o.path)
	case err == nil && !info.Mode().IsRegular():
		o.keep = true
		o.file, err = os.OpenFile(o.path, os.O_WRONLY, 0)
		return outputError(o.path, err)
	case o.force:
		// A new file rather than the old one emptied: whoever reads that goes on reading it,
		// and its permissions are not inherited.
		if err := os.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return outputError(o.path, err)
		}
	}
	o.file, err = os.OpenFile(o.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return outputError(o.path, err)
}

func (o *output) createTemporary() error {
	names := o.names
	names.PID = 1
	likely, err := names.Expand(o.pattern)
	if err != nil {
		return err
	}
	dir := filepath.Dir(likely)
	if dir != filepath.Dir(o.pattern) && strings.Contains(filepath.Dir(o.pattern), "%p") {
		return fmt.Errorf("file name %q: %%p can stand in the file's name only, not in its directory's", o.pattern)
	}
	o.file, err = os.OpenFile(filepath.Join(dir, ".warpscope-"+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return outputError(likely, err)
	}
	return nil
}

// settle gives the file its final name once the program's PID is known. By then the program
// runs: a name that is taken is worked around, and the path says how.
func (o *output) settle(pid int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path != "" {
		return nil
	}
	o.names.PID = pid
	path, err := o.names.Expand(o.pattern)
	if err != nil {
		return err
	}
	ext := filepath.Ext(path)
	for n := 1; ; n++ {
		to := path
		if n > 1 {
			to = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), n, ext)
		}
		err := rename(o.file.Name(), to, o.force)
		if err == nil {
			o.path = to
			return nil
		}
		if !errors.Is(err, fs.ErrExist) || n == 100 {
			o.path = o.file.Name()
			return fmt.Errorf("name the trace %s (it stays %s): %w", path, o.path, err)
		}
	}
}

// rename moves a file, over another one only with force.
func rename(from, to string, force bool) error {
	if force {
		return os.Rename(from, to)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// Network file systems lack it: a link does not replace either.
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// discard removes the file of a program that did not start.
func (o *output) discard() {
	if o.file == nil {
		return
	}
	_ = o.file.Close() // it is about to be removed
	if o.keep {
		return
	}
	path := o.path
	if path == "" {
		path = o.file.Name()
	}
	os.Remove(path)
}

// ErrExists is wrapped by the error for a trace that would overwrite a file.
var ErrExists = errors.New("the file exists (--force overwrites it)")

// outputError words what is wrong with the trace's file.
func outputError(path string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create trace %s: %w", path, ErrExists)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create trace %s: there is no directory %s", path, filepath.Dir(path))
	}
	return fmt.Errorf("create trace %s: %w", path, err)
}
