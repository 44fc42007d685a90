package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit statuses of a program that could not be started, as shells, env and timeout give them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// StartError says why the program could not be started. Nothing of it has run.
type StartError struct {
	Program string
	Err     error
	Status  int // what to exit with: 126 found but not executable, 127 not found
}

// Error implements error.
func (e *StartError) Error() string { return fmt.Sprintf("start %s: %v", e.Program, e.Err) }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// find returns the path of a program as execvp would: a name with a slash is a path, any other
// is looked for in the PATH of environ, where an empty element is the current directory.
func find(program string, environ []string) (string, error) {
	if program == "" {
		return "", &StartError{Program: `""`, Err: errors.New("the program's name is empty"), Status: exitNotFound}
	}
	if strings.Contains(program, "/") {
		if err := executable(program); err != nil {
			return "", startError(program, err)
		}
		return program, nil
	}
	path, ok := lookup(environ, "PATH")
	if !ok {
		path = "/bin:/usr/bin" // as in glibc
	}
	var denied error
	for _, dir := range strings.Split(path, ":") {
		if dir == "" {
			dir = "."
		}
		candidate := filepath.Join(dir, program)
		if !strings.Contains(candidate, "/") {
			candidate = "./" + candidate
		}
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if denied == nil && errors.Is(err, fs.ErrPermission) {
			denied = fmt.Errorf("%s: %w", candidate, err)
		}
	}
	if denied != nil {
		return "", startError(program, denied)
	}
	return "", &StartError{Program: program, Err: errors.New("not found in PATH"), Status: exitNotFound}
}

// executable returns nil if path is a file that this user may execute.
func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return errors.Unwrap(err)
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return err
	}
	return nil
}

// startError gives a failure to find or execute a program its exit status.
func startError(program string, err error) *StartError {
	status := exitNotExecutable
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		status = exitNotFound
	}
	return &StartError{Program: program, Err: err, Status: status}
}
