package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/python"
	"github.com/warpscope/warpscope/cupti/lib"
)

// Library puts the capture library that this agent carries on disk and returns its path, which
// depends on the contents alone and stays for good: programs keep it in LD_PRELOAD, and a file that
// vanished would make every later child complain.
//
// It looks for a place of the user's own where code may be mapped: $XDG_CACHE_HOME or ~/.cache,
// then /var/tmp, then $TMPDIR. It returns lib.ErrNotBuilt if the agent carries no library.
func Library(environ []string) (string, error) {
	image, err := lib.Library()
	if err != nil {
		return "", err
	}
	return extractLibrary(image, libraryHomes(environ, os.Geteuid()))
}

// extractLibrary puts image into the first of homes where it can, and returns the file's path.
func extractLibrary(image []byte, homes []string) (string, error) {
	folder, err := extract(map[string][]byte{libraryName: image}, homes)
	if err != nil {
		return "", fmt.Errorf("extract %s (set XDG_CACHE_HOME to a directory of your own): %w", libraryName, err)
	}
	return filepath.Join(folder, libraryName), nil
}

// pythonModule puts the Python module on disk, beside the library's own place, and returns its folder.
func pythonModule(environ []string) (string, error) {
	files, err := python.Files()
	if err != nil {
		return "", err
	}
	folder, err := extract(files, libraryHomes(environ, os.Geteuid()))
	if err != nil {
		return "", fmt.Errorf("extract the Python module: %w", err)
	}
	return folder, nil
}

// libraryHomes returns the directories that may hold ours, best first.
func libraryHomes(environ []string, uid int) []string {
	var homes []string
	if cache, _ := lookup(environ, "XDG_CACHE_HOME"); filepath.IsAbs(cache) {
		homes = append(homes, filepath.Join(cache, "warpscope"))
	}
	if home, _ := lookup(environ, "HOME"); filepath.IsAbs(home) {
		homes = append(homes, filepath.Join(home, ".cache", "warpscope"))
	}
	// These are everybody's: a name of one's own, whose ownership is checked.
	own := "warpscope-" + strconv.Itoa(uid)
	homes = append(homes, filepath.Join("/var/tmp", own))
	if tmp, _ := lookup(environ, "TMPDIR"); filepath.IsAbs(tmp) {
		homes = append(homes, filepath.Join(tmp, own))
	}
	return append(homes, filepath.Join("/tmp", own))
}

// extract puts files, by name, into a folder of the first of homes where it can, and returns the folder. Its
// name depends on the files alone.
func extract(files map[string][]byte, homes []string) (string, error) {
	sum := sha256.New()
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		fmt.Fprintf(sum, "%s %d\n", name, len(files[name]))
		sum.Write(files[name])
	}
	version := hex.EncodeToString(sum.Sum(nil)[:8])
	var failures []error
	for _, home := range homes {
		err := place(files, home, version)
		if err == nil {
			return filepath.Join(home, version), nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", filepath.Join(home, version), err))
	}
	return "", errors.Join(failures...)
}

// place makes home/version hold files. Everything below home is reached through open directories
// that belong to this user alone, so that nobody can swap them meanwhile.
func place(files map[string][]byte, home, version string) error {
	if strings.ContainsAny(home, " :$") { // what the dynamic linker splits at, and expands
		return errors.New("LD_PRELOAD cannot hold a path with a space, a colon or a dollar sign")
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return errors.Unwrap(err)
	}
	dir, err := ownDirectory(unix.AT_FDCWD, home)
	if err != nil {
		return err
	}
	defer dir.Close()
	if noexec(dir) {
		return errors.New("the file system is mounted noexec")
	}
	sub, err := ownDirectory(int(dir.Fd()), version)
	if err != nil {
		return err
	}
	defer sub.Close()
	for name, content := range files {
		if holds(sub, name, content) {
			continue
		}
		if err := write(sub, name, content); err != nil {
			return err
		}
	}
	return nil
}

// ownDirectory makes sure that a directory exists, is no link, belongs to this user and can be
// changed by nobody else, and opens it.
func ownDirectory(at int, path string) (*os.File, error) {
	if err := unix.Mkdirat(at, path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	fd, err := unix.Openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = dir.Close() // the first error is the one to tell
		return nil, err
	}
	if int(st.Uid) != os.Geteuid() {
		_ = dir.Close() // the first error is the one to tell
		return nil, fmt.Errorf("belongs to user %d", st.Uid)
	}
	if st.Mode&0o077 != 0 {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			_ = dir.Close() // the first error is the one to tell
			return nil, err
		}
	}
	return dir, nil
}

// noexec tells that code cannot be mapped from where dir lies.
func noexec(dir *os.File) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(int(dir.Fd()), &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}

// holds tells that the file in dir is content, byte for byte, and can be changed by this user
// alone.
func holds(dir *os.File, name string, content []byte) bool {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() ||
		st.Mode&0o022 != 0 || st.Mode&0o400 == 0 || st.Size != int64(len(content)) {
		return false
	}
	found, err := io.ReadAll(io.LimitReader(file, int64(len(content))+1))
	return err == nil && bytes.Equal(found, content)
}

// write puts content into dir at once: under another name first, then renamed, so that no process
// ever maps half of it, and those that have an older file mapped keep it.
func write(dir *os.File, name string, content []byte) error {
	at := int(dir.Fd())
	// A PID would not do: containers that share a home have the same ones.
	temporary := "." + name + "." + rand.Text()
	fd, err := unix.Openat(at, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o500)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), temporary)
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = unix.Renameat(at, temporary, at, name)
	}
	if err != nil {
		_ = unix.Unlinkat(at, temporary, 0) // the first error is the one to tell
		return err
	}
	return dir.Sync()
}
