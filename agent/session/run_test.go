package session

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect"
)

// The agent of these tests is the test binary itself (see agentHelper), started like warpscope run: with
// the environment's AGENT_OUTPUT as -o and its arguments as the program. Its programs are shell
// scripts. Its capture library is an empty file of the right name, so that the dynamic linker
// complains where it must not be loaded; none of the programs uses CUDA.

// agentHelper is what warpscope run does with a session.
func agentHelper() error {
	c := Config{
		Command: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Output: os.Getenv("AGENT_OUTPUT"), Force: os.Getenv("AGENT_FORCE") != "",
		Mode: collect.Timeline, API: collect.APILaunch, Tool: "warpscope test",
		Note:    func(s string) { fmt.Fprintln(os.Stderr, "warpscope:", s) },
		library: os.Getenv("AGENT_LIBRARY"),
	}
	c.StartAfter, _ = time.ParseDuration(os.Getenv("AGENT_START_AFTER"))
	c.Duration, _ = time.ParseDuration(os.Getenv("AGENT_DURATION"))
	r, err := Run(c)
	var failed *StartError
	switch {
	case errors.As(err, &failed):
		fmt.Fprintln(os.Stderr, "warpscope:", err)
		os.Exit(failed.Status)
	case err != nil:
		return err
	}
	for _, line := range r.Report() {
		fmt.Fprintln(os.Stderr, "warpscope:", line)
	}
	if r.Signal != 0 {
		Raise(r.Signal)
	}
	os.Exit(r.Status())
	return nil
}

// agent prepares an agent that runs the command in dir.
func agent(t *testing.T, dir string, command ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], command...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), helperVariable+"=agent", "AGENT_OUTPUT=t.wscope", "AGENT_LIBRARY="+standIn(t),
		"CUDA_INJECTION64_PATH=", "NVTX_INJECTION64_PATH=", "LD_PRELOAD=", "TMPDIR="+dir)
	return cmd
}

// standIn returns a library that does nothing, in place of the real one.
func standIn(t *testing.T) string {
	t.Helper()
	path, err := buildStandIn()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buildStandIn builds it once.
var buildStandIn = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv(scratchVariable), libraryName)
	cc := exec.Command("gcc", "-shared", "-fPIC", "-x", "c", "-o", path, "-")
	cc.Stdin = strings.NewReader("int ws_stand_in = 1;\n")
	if out, err := cc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a stand-in for the capture library: %w: %s", err, out)
	}
	return path, nil
})

// ended returns how an agent ended.
func ended(t *testing.T, cmd *exec.Cmd) syscall.WaitStatus {
	t.Helper()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		t.Fatal("no wait status")
	}
	return status
}

func TestStatusOfTheProgramPassesThrough(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
		signal syscall.Signal
	}{
		{"exit 0", 0, 0},
		{"exit 3", 3, 0},
		{"exit 255", 255, 0},
		{"kill -TERM $$", -1, unix.SIGTERM},
		{"kill -KILL $$", -1, unix.SIGKILL},
		{"kill -SEGV $$", -1, unix.SIGSEGV},
		{"kill -ABRT $$", -1, unix.SIGABRT},
		{"kill -INT $$", -1, unix.SIGINT},
		{"kill -PIPE $$", -1, unix.SIGPIPE},
	} {
		t.Run(c.script, func(t *testing.T) {
			dir := t.TempDir()
			cmd := agent(t, dir, "sh", "-c", c.script)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run()
			status := ended(t, cmd)
			if c.signal == 0 && status.ExitStatus() != c.code {
				t.Errorf("exit status %d, want %d; %s", status.ExitStatus(), c.code, &stderr)
			}
			if c.signal != 0 && (!status.Signaled() || status.Signal() != c.signal || status.CoreDump()) {
				t.Errorf("ended by %v (signalled %v, core %v), want %v; %s",
					status.Signal(), status.Signaled(), status.CoreDump(), c.signal, &stderr)
			}
			if strings.Contains(stderr.String(), "goroutine") {
				t.Errorf("a Go traceback: %s", &stderr)
			}
			if info, err := os.Stat(filepath.Join(dir, "t.wscope")); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
				t.Errorf("trace %v, %v", info, err)
			}
		})
	}
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken"), []byte("#!/nowhere/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		status  int
		says    string
	}{
		{"warpscope-no-such-program", 127, "not found in PATH"},
		{"./missing", 127, "no such file"},
		{"./data", 126, "permission denied"},
		{".", 127, "not found"},
		{"./", 126, "is a directory"},
		{"./broken", 127, "no such file"},
	} {
		t.Run(c.program, func(t *testing.T) {
			cmd := agent(t, dir, c.program)
			out, _ := cmd.CombinedOutput()
			if got := ended(t, cmd).ExitStatus(); got != c.status {
				t.Errorf("exit status %d, want %d", got, c.status)
			}
			if !strings.Contains(string(out), c.says) || strings.Contains(string(out), "panic") {
				t.Errorf("it says %q, want %q", out, c.says)
			}
			left, _ := filepath.Glob(filepath.Join(dir, "*wscope*"))
			hidden, _ := filepath.Glob(filepath.Join(dir, ".warpscope*"))
			if len(left)+len(hidden) > 0 {
				t.Errorf("left behind %q %q", left, hidden)
			}
		})
	}
}

func TestScriptWithoutInterpreterLine(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("echo script $1 $#; exit 4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := agent(t, dir, "./script", "a b", "c")
	out, _ := cmd.Output()
	if string(out) != "script a b 2\n" || ended(t, cmd).ExitStatus() != 4 {
		t.Errorf("printed %q, status %d", out, ended(t, cmd).ExitStatus())
	}
}

func TestStandardStreamsAndFurtherFilesPassThrough(t *testing.T) {
	cmd := agent(t, t.TempDir(), "sh", "-c", "cat; echo error >&2; cat <&3")
	cmd.Stdin = strings.NewReader("input\n")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{r}
	if _, err := w.WriteString("third\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "input\nthird\n" {
		t.Errorf("stdout %q: nothing of warpscope's may be in it", &stdout)
	}
	if !strings.Contains(stderr.String(), "\nerror\n") {
		t.Errorf("stderr %q", &stderr)
	}
}

// lines starts cmd and returns a channel of what the program prints.
func lines(t *testing.T, cmd *exec.Cmd) (next func() string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pending []byte
	return func() string {
		for {
			if i := bytes.IndexByte(pending, '\n'); i >= 0 {
				line := string(pending[:i])
				pending = pending[i+1:]
				return line
			}
			b := make([]byte, 256)
			n, err := out.Read(b)
			pending = append(pending, b[:n]...)
			if err != nil && n == 0 {
				return "end: " + err.Error()
			}
		}
	}
}

func TestSignalsReachTheProgram(t *testing.T) {
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			name := strings.TrimPrefix(unix.SignalName(s), "SIG")
			script := fmt.Sprintf(`trap 'echo got %s; exit 9' %s; echo ready; while :; do sleep 0.02; done`, name, name)
			cmd := agent(t, t.TempDir(), "sh", "-c", script)
			next := lines(t, cmd)
			if got := next(); got != "ready" {
				t.Fatal(got)
			}
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != "got "+name {
				t.Errorf("the program says %q", got)
			}
			_ = cmd.Wait()
			if status := ended(t, cmd); status.ExitStatus() != 9 {
				t.Errorf("exit status %d, want the program's 9", status.ExitStatus())
			}
		})
	}
}

func TestInterruptWithoutTerminalReachesTheProgram(t *testing.T) {
	cmd := agent(t, t.TempDir(), "sh", "-c", `trap 'echo got INT; exit 9' INT; echo ready; while :; do sleep 0.02; done`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	next := lines(t, cmd)
	if got := next(); got != "ready" {
		t.Fatal(got)
	}
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "got INT" {
		t.Errorf("the program says %q", got)
	}
	_ = cmd.Wait()
	if status := ended(t, cmd); status.ExitStatus() != 9 {
		t.Errorf("exit status %d", status.ExitStatus())
	}
}

func TestIgnoredHangupStaysIgnored(t *testing.T) {
	cmd := exec.Command("nohup", append([]string{os.Args[0]}, "sh", "-c", `kill -HUP $$; echo alive`)...)
	base := agent(t, t.TempDir(), "x")
	cmd.Env, cmd.Dir = base.Env, base.Dir
	out, err := cmd.Output()
	if err != nil || string(out) != "alive\n" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestProgramOutlivesAKilledAgent(t *testing.T) {
	dir := t.TempDir()
	cmd := agent(t, dir, "sh", "-c", `echo $$; while [ ! -e go ]; do sleep 0.02; done; echo done > result`)
	next := lines(t, cmd)
	if pid := next(); pid == "" || strings.HasPrefix(pid, "end") {
		t.Fatal(pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = cmd.Process.Wait()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for {
		if b, _ := os.ReadFile(filepath.Join(dir, "result")); string(b) == "done\n" {
			return
		}
		time.Sleep(5 * time.Millisecond) // until the test's own limit
	}
}

func TestEnvironmentOfTheProgram(t *testing.T) {
	cmd := agent(t, t.TempDir(), "sh", "-c",
		`echo "$CUDA_INJECTION64_PATH|$NVTX_INJECTION64_PATH|$LD_PRELOAD"; test -S "$WARPSCOPE_SOCKET" && echo socket`)
	out, err := cmd.Output()
	var library string
	for _, entry := range cmd.Env {
		if value, ok := strings.CutPrefix(entry, "AGENT_LIBRARY="); ok {
			library = value
		}
	}
	if want := library + "|" + library + "|" + library + "\nsocket\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func TestForeignInjectionRunsWithoutCapture(t *testing.T) {
	cmd := agent(t, t.TempDir(), "sh", "-c", `echo "$CUDA_INJECTION64_PATH|$LD_PRELOAD|$WARPSCOPE_SOCKET"; exit 5`)
	cmd.Env = append(cmd.Env, "CUDA_INJECTION64_PATH=/opt/tool.so")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if string(out) != "/opt/tool.so||\n" || ended(t, cmd).ExitStatus() != 5 {
		t.Errorf("printed %q, status %d", out, ended(t, cmd).ExitStatus())
	}
	if !strings.Contains(stderr.String(), "/opt/tool.so") || !strings.Contains(stderr.String(), "without capture") {
		t.Errorf("it is not said: %s", &stderr)
	}
}

func TestNoProcessUsedCUDA(t *testing.T) {
	cmd := agent(t, t.TempDir(), "true")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"to t.wscope\n", "no process of the program used CUDA", "nothing lost", "cost not measured",
		"trace t.wscope, ", "next: warpscope inspect t.wscope\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "old.wscope"), []byte("precious"), 0o644),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ output, says string }{
		{"old.wscope", "the file exists (--force overwrites it)"},
		{"folder", "is a directory"},
		{"missing/t.wscope", "there is no directory missing"},
		{"missing/%p.wscope", "there is no directory missing"},
		{"old.wscope/t.wscope", "not a directory"},
		{"/proc/t.wscope", "/proc"},
		{"/dev/full", "no space left on device"},
		{"%z", "%z is none of"},
	} {
		t.Run(c.output, func(t *testing.T) {
			cmd := agent(t, dir, "touch", "started")
			cmd.Env = append(cmd.Env, "AGENT_OUTPUT="+c.output)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, it says %q, want %q", err, out, c.says)
			}
			if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
				t.Error("the program was started")
			}
		})
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "old.wscope")); string(b) != "precious" {
		t.Errorf("the old file now holds %d bytes", len(b))
	}
}

func TestForceOverwrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.wscope")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := agent(t, dir, "true")
	cmd.Env = append(cmd.Env, "AGENT_FORCE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() <= 3 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestNameWithPIDIsTheProgramsAndNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	cmd := agent(t, dir, "sh", "-c", `echo $$; echo old > r7-$$.wscope; while [ ! -e r7-$$-2.wscope ] && [ -e r7-$$.wscope ] && [ ! -e go ]; do sleep 0.02; done`)
	cmd.Env = append(cmd.Env, "AGENT_OUTPUT=r%r-%p.wscope", "RANK=7")
	next := lines(t, cmd)
	pid := next()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "r7-"+pid+"*.wscope"))
	if len(found) == 0 || len(found) > 2 {
		t.Fatalf("traces %q for PID %s", found, pid)
	}
	if hidden, _ := filepath.Glob(filepath.Join(dir, ".warpscope*")); len(hidden) > 0 {
		t.Errorf("left behind %q", hidden)
	}
}

func TestSettleWorksAroundATakenName(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a-12.wscope", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a-12-2.wscope", "a-12-3.wscope"} {
		o, err := openOutput("a-%p.wscope", Names{}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.settle(12); err != nil || o.path != want {
			t.Errorf("trace %d is %s, %v, want %s", i, o.path, err, want)
		}
	}
	o, err := openOutput("a-%p.wscope", Names{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.settle(12); err != nil || o.path != "a-12.wscope" {
		t.Errorf("with force: %s, %v", o.path, err)
	}
	if entries, _ := os.ReadDir("."); len(entries) != 3 {
		t.Errorf("files %v", entries)
	}
}

// TestDiskThatFillsUp bounds the size of the agent's files, as a full disk would, once the trace
// has been begun.
func TestDiskThatFillsUp(t *testing.T) {
	dir := t.TempDir()
	cmd := agent(t, dir, "sh", "-c", "echo ready; while [ ! -e go ]; do sleep 0.02; done; exit 6")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	next := lines(t, cmd)
	if got := next(); got != "ready" {
		t.Fatal(got)
	}
	info, err := os.Stat(filepath.Join(dir, "t.wscope"))
	if err != nil {
		t.Fatal(err)
	}
	full := unix.Rlimit{Cur: uint64(info.Size()) + 10, Max: uint64(info.Size()) + 10}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_FSIZE, &full, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if status := ended(t, cmd); status.ExitStatus() != 6 {
		t.Errorf("exit status %d, want the program's 6", status.ExitStatus())
	}
	if !strings.Contains(stderr.String(), "the trace is not complete: ") || !strings.Contains(stderr.String(), "file too large") {
		t.Errorf("it does not say that the trace is not complete:\n%s", &stderr)
	}
	if now, err := os.Stat(filepath.Join(dir, "t.wscope")); err != nil || now.Size() < info.Size() {
		t.Errorf("what was recorded is gone: %v, %v", now, err)
	}
}
