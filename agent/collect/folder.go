package collect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// folder is where an agent's socket lies. It is locked for as long as the agent lives.
type folder struct {
	path string
	lock *os.File // the folder itself
}

// maxDir leaves room for the socket's name in the 108 bytes of a socket address.
const maxDir = 80

// settled is the age at which a folder has been locked, if its agent lives.
const settled = time.Minute

// newFolder makes a folder of mode 0700 with a short path, and removes those of agents that were killed.
func newFolder(parent string) (*folder, error) {
	var errs []error
	for _, p := range []string{parent, os.TempDir(), "/tmp"} {
		if !filepath.IsAbs(p) || len(p) > maxDir {
			if p != "" {
				errs = append(errs, fmt.Errorf("%s: want an absolute path of at most %d bytes", p, maxDir))
			}
			continue
		}
		path, err := os.MkdirTemp(p, "warpscope-")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f := &folder{path: path}
		f.lock, _ = lockFolder(path) // without: others will ask the socket
		sweep(p)
		return f, nil
	}
	return nil, fmt.Errorf("create socket directory: %w", errors.Join(errs...))
}

// socket returns the path of the agent's socket.
func (f *folder) socket() string { return filepath.Join(f.path, "s") }

// remove removes the folder with all that is in it.
func (f *folder) remove() {
	os.RemoveAll(f.path)
	if f.lock != nil {
		_ = f.lock.Close()
	}
}

// lockFolder takes the lock that a living agent holds.
func lockFolder(path string) (*os.File, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// sweep removes the folders of this user's agents that were killed: neither locked nor listened at.
func sweep(parent string) {
	paths, err := filepath.Glob(filepath.Join(parent, "warpscope-*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < settled {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			continue
		}
		old := &folder{path: path}
		if old.lock, err = lockFolder(path); err != nil {
			continue
		}
		connection, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: old.socket(), Net: "unixpacket"})
		if err == nil {
			_ = connection.Close()
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(old.socket())
			_ = os.Remove(path) // nothing else was ever there
		}
		_ = old.lock.Close()
	}
}
