package cli

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/cuda"
)

// Env is what a command knows of the world.
type Env struct {
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Environ []string // "NAME=value"
	// Executable is this program's file; "": it cannot be started again, as in tests.
	Executable string
	Now        func() time.Time
	// Terminal returns the columns of the terminal that w writes to, and false if it writes to
	// something else.
	Terminal func(w io.Writer) (columns int, ok bool)
	// Exit ends the process as C programs end, for a command whose own process may be traced;
	// nil: it ends by returning from Main.
	Exit func(status int)
}

// System returns the real world.
func System() *Env {
	executable, err := os.Executable()
	if err != nil {
		executable = ""
	}
	return &Env{
		Executable: executable,
		Args:       os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Now: time.Now, Terminal: terminal,
		Exit: cuda.Exit,
	}
}

func terminal(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, true
	}
	return columns, true
}

// Getenv returns the value of an environment variable, "" if it is not set.
func (e *Env) Getenv(name string) string {
	value := ""
	for _, pair := range e.Environ {
		if rest, ok := strings.CutPrefix(pair, name+"="); ok {
			value = rest
		}
	}
	return value
}

// pipeColumns is the width of what is not written to a terminal, where COLUMNS does not say.
const pipeColumns = 100

// Style returns how documents on stdout look: as wide as the terminal (or COLUMNS), with color on a
// terminal unless NO_COLOR says otherwise.
func (e *Env) Style(wide bool) report.Style {
	columns, tty := 0, false
	if e.Terminal != nil {
		columns, tty = e.Terminal(e.Stdout)
	}
	if n, err := strconv.Atoi(e.Getenv("COLUMNS")); err == nil && n > 0 && columns == 0 {
		columns = n
	}
	if columns == 0 {
		columns = pipeColumns
	}
	return report.Style{Width: columns, Color: tty && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb", Wide: wide}
}

// leave ends a command that works on the GPU itself, and so may be traced: what was injected into the process gets its
// turn. Where it cannot end the process it returns err.
func (e *Env) leave(err error) error {
	if e.Exit == nil || errors.As(err, new(usageError)) {
		return err
	}
	status := statusDone
	if err != nil {
		say(e, err)
		status = statusFailed
	}
	e.Exit(status)
	return err
}
