package session

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passed are the signals that the program gets when they are sent to the agent.
func passed() []os.Signal {
	return []os.Signal{
		unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT,
		unix.SIGINT, unix.SIGQUIT,
	}
}

// catch makes the agent survive the signals that are meant for the program and returns them.
// What was ignored when the agent started stays so, for the program too (nohup).
//
// A stop from the terminal (Ctrl-Z) is not caught: it stops both, and continuing continues both.
// With switches, the signals that switch the timeline are caught in any case.
func catch(switches bool) (signals chan os.Signal, release func()) {
	signals = make(chan os.Signal, 16)
	for _, s := range passed() {
		if !signal.Ignored(s) || switches && (s == startSignal || s == stopSignal) {
			signal.Notify(signals, s)
		}
	}
	return signals, func() { signal.Stop(signals) }
}

// meantForBoth tells that a signal came from the terminal, which sends it to the whole foreground
// process group: the program has got it too. Go does not say who sent a signal, so this goes by
// whether the terminal could have: an interrupt sent to the agent alone with kill, while
// it is in the foreground, does not reach the program.
func meantForBoth(s os.Signal) bool {
	return (s == unix.SIGINT || s == unix.SIGQUIT) && inForeground()
}

// inForeground tells that the agent's process group is the one that its terminal talks to.
func inForeground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Raise ends this process by the signal that ended the program, so that who waits for it (a shell
// that must stop its loop at Ctrl-C, a scheduler) sees what it would have seen without warpscope. No
// second core is dumped. It returns only where that fails, as in process 1 of a container: exit
// with 128 plus the signal's number then.
func Raise(s syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	// signal.Reset would leave Go's own handler, which prints every goroutine at a SIGSEGV or
	// SIGABRT: the kernel's default action is wanted. All zeros are SIG_DFL, no flags, no mask.
	var action [4]uint64
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	var set unix.Sigset_t
	set.Val[(uint(s)-1)/64] |= 1 << ((uint(s) - 1) % 64)
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), s)
}
