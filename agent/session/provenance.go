package session

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/event"
)

// Provenance describes this machine and moment for a trace of the command; driver is NVML's
// driver version, "" if unknown.
func Provenance(tool, driver string, command []string) event.Provenance {
	p := event.Provenance{
		Tool:    tool,
		Driver:  driver,
		Command: command,
		CPUs:    int32(runtime.NumCPU()), // those this process, and so the program, may use
	}
	p.Hostname, _ = os.Hostname()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		p.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		p.MemoryBytes = info.Totalram * uint64(info.Unit)
	}
	p.MonoTime, p.WallTime = clocks()
	return p
}

// clocks returns one moment on both clocks, as near as a few readings get to it.
func clocks() (mono event.Time, wall int64) {
	best := int64(1) << 62
	for range 5 {
		before, now, after := clock(unix.CLOCK_MONOTONIC), clock(unix.CLOCK_REALTIME), clock(unix.CLOCK_MONOTONIC)
		if gap := after - before; gap < best {
			best, mono, wall = gap, event.Time(before+gap/2), now
		}
	}
	return mono, wall
}

// clock reads a clock in nanoseconds, 0 if the system does not have it.
func clock(id int32) int64 {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
