package session

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/warpscope/warpscope/agent/collect"
	"github.com/warpscope/warpscope/agent/device"
	"github.com/warpscope/warpscope/agent/event"
)

// Attach goes on recording processes whose agent has died, into a trace of its own, until they have
// ended or a signal asks this process to end; they go on then. Of the configuration it takes Output, Force,
// MaxSize, Tool, Note, Resolve and Environ; what is recorded was decided when they were started.
//
// An error means that none of them is recorded.
func Attach(c Config, pids []int32) (*Result, error) {
	if c.Output == "" {
		c.Output = DefaultOutput
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	c.Command, c.NoPython = commandOf(pids[0]), true
	s := &session{config: c, python: &pythonHook{}, failing: make(chan struct{}, 1)}
	signals, release := catch(false)
	defer release()
	err := s.open()
	if err == nil {
		err = s.adopt(pids)
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	s.host = device.NewHost(device.HostConfig{PID: int(pids[0]), Emit: s.server.Emit, Text: s.server.Text})
	left := s.readOn(signals)
	for _, p := range left {
		s.say(fmt.Sprintf("%s goes on: what it does from now on is not recorded", describe(&p)))
	}
	return s.finish(exit{}, nil), nil
}

// adopt takes the processes over and gives the trace its name.
func (s *session) adopt(pids []int32) error {
	var failed []error
	taken := 0
	for _, pid := range pids {
		if err := s.server.Adopt(pid); err != nil {
			failed = append(failed, err)
			continue
		}
		taken++
	}
	if taken == 0 {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		s.say(err.Error())
	}
	if err := s.output.settle(int(pids[0])); err != nil {
		s.say(err.Error())
	}
	s.config.Note(fmt.Sprintf("recording %s to %s until %s, or until interrupted", plural(uint64(taken), "process", "processes"), s.output.path, theyEnd(taken)))
	return nil
}

func theyEnd(n int) string {
	if n == 1 {
		return "it ends"
	}
	return "they end"
}

// readOn waits until all processes have ended or a signal asks to end, and returns those that go on.
func (s *session) readOn(signals <-chan os.Signal) []collect.Status {
	look, flush := time.NewTicker(20*time.Millisecond), time.NewTicker(flushInterval)
	defer look.Stop()
	defer flush.Stop()
	for {
		left := s.running()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-s.failing:
			if s.sampler != nil {
				s.sampler.Look()
			}
		case <-flush.C:
			_ = s.sink.Batch(&event.Batch{}) // see supervise
		case sent := <-signals:
			if n, ok := sent.(syscall.Signal); ok && ends(n) {
				return left
			}
		}
	}
}

// commandOf is what a process was started with.
func commandOf(pid int32) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	words := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
	if err != nil || words[0] == "" {
		return []string{fmt.Sprintf("process %d", pid)}
	}
	return words
}
