package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/agent/session"
	"github.com/warpscope/warpscope/agent/trace"
	"github.com/warpscope/warpscope/agent/version"
	"github.com/warpscope/warpscope/cupti/abi"
)

const (
	captureSuffix   = ".wscap"
	traceSuffix     = ".wscope"
	recoveredSuffix = "-recovered.wscope"
)

func newRecover(env *Env) *cobra.Command {
	var r recovery
	c := &cobra.Command{
		Use:   "recover [flags] FILE…",
		Short: "Make traces of capture files, and of traces that were cut off",
		Long: "Make a trace of what a program recorded by itself (warpscope-PID" + captureSuffix + ", from LD_PRELOAD alone), or of a trace\n" +
			"whose recording did not end in order. All that is whole is kept; what is missing is counted.\n\n" +
			"Without -o, NAME" + captureSuffix + " becomes NAME" + traceSuffix + ", and NAME" + traceSuffix + " becomes NAME" + recoveredSuffix + ".\n" +
			"With -o, the capture files of the processes of one run become one trace.",
		Example: "  warpscope recover warpscope-4711.wscap\n" +
			"  warpscope recover -o run.wscope warpscope-*.wscap\n" +
			"  warpscope recover -o - cut.wscope | warpscope inspect -",
		Args: atLeast(1, "the file to recover"),
		RunE: func(c *cobra.Command, files []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			defer stop()
			r.env, r.ctx = env, ctx
			return r.run(files)
		},
	}
	flags := c.Flags()
	flags.SortFlags = false
	flags.StringVarP(&r.output, "output", "o", "", "trace `FILE` to write, - for standard output")
	flags.BoolVar(&r.force, "force", false, "overwrite the trace file if there is one")
	return c
}

// recovery is one call of the command.
type recovery struct {
	env    *Env
	ctx    context.Context // of the command's run
	output string
	force  bool
}

// source is a file to recover: a capture or a trace.
type source struct {
	path    string
	capture *collect.CaptureFile // nil: a trace
}

// run recovers every file that can be; the first failure decides the status.
func (r *recovery) run(files []string) error {
	var sources []source
	var failed error
	for _, f := range files {
		s, err := r.look(f)
		if err == nil {
			sources = append(sources, s)
			continue
		}
		if failed != nil {
			say(r.env, failed)
		}
		failed = err
	}
	if r.output != "" {
		if failed != nil {
			return failed // a trace of the rest would look whole
		}
		return r.together(sources)
	}
	for _, s := range sources {
		if err := r.alone(s); err != nil {
			if failed != nil {
				say(r.env, failed)
			}
			failed = err
		}
	}
	return failed
}

// look finds out what a file is.
func (r *recovery) look(path string) (source, error) {
	if path == "-" {
		if r.output == "" {
			return source{}, usagef("a trace from standard input needs -o")
		}
		return source{path: path}, nil
	}
	capture, err := collect.OpenCapture(path)
	switch {
	case err == nil:
		return source{path, &capture}, nil
	case errors.Is(err, collect.ErrNotReady):
		return source{}, fmt.Errorf("%s: its process ended before it recorded anything", path)
	case errors.Is(err, collect.ErrVersion):
		return source{}, fmt.Errorf("%w: recover it with the warpscope that recorded it", err)
	case errors.Is(err, collect.ErrNotCapture) && looksLikeCapture(path):
		return source{}, fmt.Errorf("%s is damaged or was cut off before its first record: nothing can be recovered", path)
	case errors.Is(err, fs.ErrInvalid):
		return source{}, fmt.Errorf("recover %s: it is no file", path)
	case errors.Is(err, collect.ErrNotCapture):
		return source{path: path}, nil // then it must be a trace
	}
	return source{}, err
}

// looksLikeCapture tells a broken capture file from what is none.
func looksLikeCapture(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [8]byte
	n, _ := io.ReadFull(f, magic[:])
	return n == len(magic) && binary.LittleEndian.Uint64(magic[:]) == abi.AbiMagic || n == 0 && strings.HasSuffix(path, captureSuffix)
}

// alone makes a trace of one file, with a name like the file's.
func (r *recovery) alone(s source) error {
	if s.capture != nil {
		return r.captures([]source{s}, strings.TrimSuffix(s.path, captureSuffix)+traceSuffix)
	}
	return r.trace(s, strings.TrimSuffix(s.path, traceSuffix)+recoveredSuffix)
}

// together makes one trace of all files.
func (r *recovery) together(sources []source) error {
	for _, s := range sources {
		switch {
		case s.capture == nil && len(sources) > 1:
			return usagef("%s is a trace: -o takes one trace, or the capture files of one run", s.path)
		case s.capture != nil && !s.capture.Comparable(sources[0].capture):
			return usagef("%s and %s are not of one run: the machine was started anew in between, or they are of two machines", sources[0].path, s.path)
		}
	}
	if sources[0].capture == nil {
		return r.trace(sources[0], r.output)
	}
	return r.captures(sources, r.output)
}

// captures makes one trace of capture files.
func (r *recovery) captures(sources []source, path string) error {
	first := sources[0].capture
	var files []string
	for _, s := range sources {
		files = append(files, s.path)
		if s.capture.Start < first.Start {
			first = s.capture
		}
		if s.capture.Running {
			r.note("%s is still being written by process %d: the trace has what is in it now", s.path, s.capture.PID)
		}
	}
	var result *collect.Recovered
	untriggered := ""
	size, err := r.write(path, func(w io.Writer) error {
		writer, err := trace.NewWriter(w, provenance(first, files))
		if err != nil {
			return err
		}
		result, err = collect.Recover(collect.Config{Sink: interruptible{writer, r.ctx}}, files...)
		if err != nil {
			return err
		}
		if untriggered = session.Untriggered(result.Processes); untriggered != "" {
			result.Summary.Notes = append(result.Summary.Notes, untriggered)
		}
		return writer.Close(result.Summary)
	})
	if err != nil {
		return fmt.Errorf("recover %s: %w", strings.Join(files, ", "), err)
	}
	for i := range result.Processes {
		p := &result.Processes[i]
		r.note("process %d, %s: %s records, %s lost or incomplete%s", p.PID, program(p), report.Count(p.Total()), report.Count(p.Lost()), ending(p, sources[i].capture.Running))
	}
	if untriggered != "" {
		r.note("%s", untriggered)
	}
	var records uint64
	for _, n := range result.Summary.Recorded {
		records += n
	}
	r.done(path, size, report.Count(records)+" records")
	return nil
}

// trace makes a whole trace of one that was cut off.
func (r *recovery) trace(s source, path string) error {
	in := r.env.Stdin
	if s.path != "-" {
		f, err := os.Open(s.path)
		if err != nil {
			return fmt.Errorf("recover trace: %w", err)
		}
		defer f.Close()
		in = f
	}
	var found trace.Report
	size, err := r.write(path, func(w io.Writer) (err error) {
		found, err = trace.Recover(w, interruptibleReader{in, r.ctx})
		if err == nil && found.Err() == nil && r.output == "" {
			return errWhole
		}
		return err
	})
	switch {
	case errors.Is(err, errWhole):
		r.note("%s is whole, there is nothing to recover", s.path)
		return nil
	case errors.Is(err, trace.ErrNotTrace):
		return fmt.Errorf("%s is neither a trace nor a capture file", s.path)
	case err != nil:
		return fmt.Errorf("recover %s: %w", s.path, err)
	}
	for _, n := range found.Notes() {
		r.note("%s", n)
	}
	r.done(path, size, fmt.Sprintf("%d frames", found.Frames))
	return nil
}

// errWhole ends the writing of a copy that nobody needs.
var errWhole = errors.New("the trace is whole")

// write makes a file as replaceFile does, or writes to standard output. It returns the bytes written.
func (r *recovery) write(path string, fill func(io.Writer) error) (int64, error) {
	if path == "-" {
		count := &counted{Writer: r.env.Stdout}
		err := fill(count)
		return count.n, err
	}
	info, err := os.Stat(path)
	special := err == nil && !info.Mode().IsRegular() // is written to, not replaced
	if _, err := os.Lstat(path); err == nil && !special && !r.force {
		return 0, usagef("%s exists already: name another file with -o, or give --force", path)
	}
	return replaceFile("trace", path, fill)
}

func (r *recovery) note(format string, v ...any) {
	fmt.Fprintf(r.env.Stderr, "warpscope: %s\n", oneLine(fmt.Sprintf(format, v...)))
}

// done says where the trace is and what to type next.
func (r *recovery) done(path string, size int64, what string) {
	if path == "-" {
		return
	}
	r.note("%s, %s, in %s", what, report.Bytes(size), path)
	r.note("next: warpscope inspect %s", path)
}

// provenance describes the run that capture files are of. What they do not say is this machine's, if
// it has not been started anew since.
func provenance(first *collect.CaptureFile, files []string) event.Provenance {
	here := session.Provenance("", "", nil)
	now := collect.CaptureFile{Start: here.MonoTime, WallStart: here.WallTime}
	p := event.Provenance{}
	if first.Comparable(&now) {
		p = here
	}
	p.Tool = "warpscope " + version.String()
	p.Command = first.Command
	p.MonoTime, p.WallTime = first.Start, first.WallStart
	p.Simulated = first.Simulated
	p.Notes = []string{"recorded without an agent, recovered from " + strings.Join(files, ", ")}
	return p
}

// program is how a process is called in a note.
func program(p *collect.Status) string {
	if len(p.Command) == 0 {
		return filepath.Base(p.Executable)
	}
	return report.Cut(strings.Join(p.Command, " "), 60)
}

// ending says how a process ended, unless in order.
func ending(p *collect.Status, running bool) string {
	switch {
	case running:
		return ", still running"
	case p.State == event.StateKilled:
		return ", ended without finishing its capture (killed, or crashed): what CUPTI still held is lost, how much is not known"
	case p.State == event.StateRefused:
		return ", its capture could not start"
	}
	return ""
}

// interruptible ends a recovery when the command is interrupted.
type interruptible struct {
	*trace.Writer
	ctx context.Context
}

func (i interruptible) Batch(b *event.Batch) error {
	if err := i.ctx.Err(); err != nil {
		return errInterrupted
	}
	return i.Writer.Batch(b)
}

var errInterrupted = errors.New("interrupted")

type interruptibleReader struct {
	io.Reader
	ctx context.Context
}

func (i interruptibleReader) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, errInterrupted
	}
	return i.Reader.Read(p)
}
