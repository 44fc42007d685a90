package session

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/warpscope/warpscope/agent/collect"
)

// triggerVariable tells the library of the trigger before the agent does: NVTX ranges may begin before
// CUDA is initialised.
const triggerVariable = "WARPSCOPE_CAPTURE"

// The signals to the agent that switch the timeline, where a run asks for that.
const (
	startSignal = unix.SIGUSR1
	stopSignal  = unix.SIGUSR2
)

// triggerEnviron puts the trigger into the program's environment, in place of whatever is there.
func triggerEnviron(environ []string, t collect.Trigger) []string {
	if _, ok := lookup(environ, triggerVariable); !ok && t.Kind == collect.TriggerAlways {
		return environ
	}
	return with(environ, triggerVariable, t.String())
}

// switches tells that a signal was for the timeline, and does what it asks for.
func (s *session) switches(sent os.Signal) bool {
	if !s.config.BySignal || sent != startSignal && sent != stopSignal {
		return false
	}
	s.begun = s.begun || sent == startSignal
	s.server.SetTimeline(sent == startSignal)
	return true
}

// triggered says when the timeline is recorded; "" always.
func (c *Config) triggered() string {
	if c.BySignal {
		pid := os.Getpid()
		return fmt.Sprintf(" from SIGUSR1 to SIGUSR2 (kill -USR1 %d, kill -USR2 %d)", pid, pid)
	}
	switch t := c.Trigger; t.Kind {
	case collect.TriggerProfiler:
		return " from cudaProfilerStart to cudaProfilerStop"
	case collect.TriggerRange:
		return " inside NVTX ranges " + t.Range
	case collect.TriggerSteps:
		if t.First == t.Last {
			return fmt.Sprintf(" in step %d", t.First)
		}
		return fmt.Sprintf(" in steps %d to %d", t.First, t.Last)
	case collect.TriggerCall:
		return " from warpscope_start to warpscope_stop"
	}
	return ""
}

// untriggered says why there is no timeline, where signals were to switch it.
func (s *session) untriggered() string {
	if !s.config.BySignal || s.begun {
		return ""
	}
	return "warpscope never got SIGUSR1: no timeline was recorded"
}

// Untriggered says why the trigger of these processes let nothing be recorded; "" if it did, or if
// there is none.
func Untriggered(processes []collect.Status) string {
	var t collect.Trigger
	steps := uint64(0)
	for i := range processes {
		p := &processes[i]
		if p.Trigger.Kind == collect.TriggerAlways || p.Openings > 0 {
			return ""
		}
		t, steps = p.Trigger, max(steps, p.Steps)
	}
	const none = ": no timeline was recorded"
	switch t.Kind {
	case collect.TriggerProfiler:
		return "the program never called cudaProfilerStart (torch.cuda.profiler.start)" + none
	case collect.TriggerRange:
		return fmt.Sprintf("the range %s never began%s", strings.ToValidUTF8(t.Range, "\uFFFD"), none)
	case collect.TriggerSteps:
		if steps == 0 {
			return "the program never called warpscope_step, which counts steps" + none
		}
		return fmt.Sprintf("step %d never began, the program ended in step %d%s", t.First, steps+1, none)
	case collect.TriggerCall:
		return "the program never called warpscope_start" + none
	}
	return ""
}
