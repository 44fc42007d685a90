package session

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is the program while it runs.
type child struct {
	process *os.Process
	ended   chan exit // receives once
}

// exit is how a program ended.
type exit struct {
	code   int            // 0..255; -1 after a signal
	signal syscall.Signal // 0: none
	err    error          // the status could not be read
}

// start runs the file at path as argv[0] with the agent's own working directory, terminal, process
// group, session, limits and further open files, so that nothing but the environment tells the program that
// it is traced. In particular it is not killed when the agent dies.
func start(path string, argv, environ []string, files []*os.File) (*child, error) {
	attr := &os.ProcAttr{Env: environ, Files: files}
	process, err := os.StartProcess(path, argv, attr)
	if errors.Is(err, unix.ENOEXEC) {
		// A script without a first line that names its interpreter: execvp gives it to sh.
		process, err = os.StartProcess("/bin/sh", append([]string{"sh", path}, argv[1:]...), attr)
	}
	if err != nil {
		return nil, startError(argv[0], cause(err))
	}
	c := &child{process: process, ended: make(chan exit, 1)}
	go func() { c.ended <- c.wait() }()
	return c, nil
}

// cause takes the system's error out of what os.StartProcess wraps around it.
func cause(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func (c *child) wait() exit {
	state, err := c.process.Wait()
	if err != nil {
		return exit{code: -1, err: err}
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return exit{code: -1, signal: status.Signal()}
	}
	return exit{code: state.ExitCode()}
}

// signal passes a signal on; a program that has just ended no longer needs it.
func (c *child) signal(s os.Signal) {
	_ = c.process.Signal(s)
}
