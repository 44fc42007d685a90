package session

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal: what is written to keyboard is typed.
func terminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	raw, err := keyboard.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			n, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

// shellHelper is the least of a shell with job control: it runs an agent as its foreground job,
// continues it when it was stopped, and says so.
func shellHelper() error {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), helperVariable+"=agent")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil {
			return err
		}
		if !status.Stopped() {
			fmt.Printf("ended by signal %d, status %d\n", max(int(status.Signal()), 0), status.ExitStatus())
			return nil
		}
		fmt.Printf("stopped by signal %d\n", status.StopSignal())
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGCONT); err != nil {
			return err
		}
	}
}

// counterHelper is a program that says each interrupt at once; a shell would join two in a row.
func counterHelper() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGUSR1)
	fmt.Println("ready", os.Getppid())
	for s := range signals {
		if s == unix.SIGUSR1 {
			fmt.Println("end")
			os.Exit(7)
		}
		fmt.Println("interrupted")
	}
	return nil
}

// onTerminal starts an agent as the foreground job of a terminal; its output goes to a pipe.
func onTerminal(t *testing.T, dir, script string) (keyboard *os.File, next func() string, cmd *exec.Cmd) {
	t.Helper()
	keyboard, tty := terminal(t)
	cmd = agent(t, dir, "sh", "-c", script)
	cmd.Env = append(cmd.Env, helperVariable+"=shell")
	cmd.Stdin = tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	return keyboard, lines(t, cmd), cmd
}

func TestInterruptFromTheTerminalReachesTheProgramOnce(t *testing.T) {
	dir := t.TempDir()
	// The second signal follows the first through the agent: had that passed the interrupt on
	// too, it would be seen before.
	keyboard, next, cmd := onTerminal(t, dir,
		"exec env "+helperVariable+"=counter "+os.Args[0])
	var pid int
	if line := next(); len(line) < 6 {
		t.Fatal(line)
	} else if _, err := fmt.Sscanf(line, "ready %d", &pid); err != nil {
		t.Fatal(line, err)
	}
	if _, err := keyboard.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "interrupted" {
		t.Fatalf("the program says %q", got)
	}
	if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"end", "ended by signal 0, status 7"} {
		if got := next(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	_ = cmd.Wait()
	if info, err := os.Stat(filepath.Join(dir, "t.wscope")); err != nil || info.Size() == 0 {
		t.Errorf("no trace: %v", err)
	}
}

func TestInterruptThatEndsTheProgramEndsTheAgentLikewise(t *testing.T) {
	dir := t.TempDir()
	keyboard, next, cmd := onTerminal(t, dir, `echo ready; exec sleep 1000`)
	if got := next(); got != "ready" {
		t.Fatal(got)
	}
	if _, err := keyboard.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "ended by signal 2, status -1" {
		t.Errorf("%q", got)
	}
	_ = cmd.Wait()
	if info, err := os.Stat(filepath.Join(dir, "t.wscope")); err != nil || info.Size() == 0 {
		t.Errorf("no trace: %v", err)
	}
}

func TestStopFromTheTerminalStopsBoth(t *testing.T) {
	keyboard, next, cmd := onTerminal(t, t.TempDir(),
		`trap 'echo continued; exit 8' CONT; echo ready; while :; do sleep 0.02; done`)
	if got := next(); got != "ready" {
		t.Fatal(got)
	}
	if _, err := keyboard.Write([]byte{26}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 3 {
		got = append(got, next())
	}
	_ = cmd.Wait()
	if all := strings.Join(got, "|"); all != "stopped by signal 20|continued|ended by signal 0, status 8" {
		t.Errorf("%s", all)
	}
}
