package collect

import (
	"sort"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// publish copies the account of the process to where Status sees it.
func (r *Reader) publish() {
	d, h := r.decode, r.memory.header
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	s.ID = r.id
	if s.Executable == "" && h.Executable != 0 {
		s.Executable = r.memory.arena.text(h.Executable, &d.budget)
		s.Command = words(r.memory.arena.text(h.Command, &d.budget))
	}
	if s.CUPTIPath == "" {
		if at := loadUint64(&h.Cupti_path); at != 0 {
			s.CUPTIPath = strings.ToValidUTF8(r.memory.arena.text(at, &d.budget), "\uFFFD")
		}
	}
	s.State, s.Reason = event.State(loadUint32(&h.State)), loadUint32(&h.Reason)
	if d.state == event.StateKilled {
		s.State = d.state
	}
	s.CUPTIVersion, s.DriverVersion = loadUint32(&h.Cupti_version), loadUint32(&h.Driver_version)
	s.Simulated = loadUint32(&h.Flags)&abi.FlagSimulated != 0
	s.BufferBytes, s.DeviceMost = loadUint64(&h.Buffer_bytes), loadUint64(&h.Device_most)
	if when := loadUint64(&h.When); when != 0 && s.Trigger.Kind == TriggerAlways {
		s.Trigger, _ = ParseTrigger(r.memory.arena.text(when, &d.budget)) // what makes no sense is taken for always
	}
	s.Openings, s.Steps = loadUint32(&h.Openings), loadUint64(&h.Steps)
	for kind := event.KindKernel; kind <= event.KindState; kind++ {
		if n := d.counts[kind] - d.bad[kind]; n > 0 && kind != event.KindClock && kind != event.KindDevice {
			s.Recorded[kind] = n
		}
	}
	s.Losses = r.losses()
}

// losses adds up what is missing or incomplete of the process. Record types and event kinds, loss
// causes of the ABI and of the model have the same numbers.
func (r *Reader) losses() []event.Loss {
	d := r.decode
	var list []event.Loss
	add := func(kind event.Kind, cause event.LossCause, n uint64) {
		list = addLoss(list, event.Loss{Process: r.id, Kind: kind, Cause: cause, Count: n})
	}
	for kind := range r.memory.header.Lost {
		for cause := range int(event.LossLiveTable) + 1 {
			add(known(kind), event.LossCause(cause), loadUint64(&r.memory.header.Lost[kind][cause]))
		}
	}
	for kind := range d.torn {
		add(known(kind), event.LossTorn, d.torn[kind])
		add(known(kind), event.LossUnknownKind, d.bad[kind])
		add(known(kind), event.LossArenaFull, d.blank[kind])
	}
	add(event.KindUnknown, event.LossUnknownKind, d.unknown)
	if d.undelivered {
		add(event.KindUnknown, event.LossUndelivered, 0)
	}
	return list
}

// addLoss adds to the entry of the same process, kind and cause.
func addLoss(list []event.Loss, l event.Loss) []event.Loss {
	if l.Count == 0 && l.Cause != event.LossUndelivered {
		return list
	}
	for i := range list {
		if list[i].Process == l.Process && list[i].Kind == l.Kind && list[i].Cause == l.Cause {
			list[i].Count += l.Count
			return list
		}
	}
	return append(list, l)
}

// known is the event kind of a record type, KindUnknown for types of later versions.
func known(kind int) event.Kind {
	if kind <= int(event.KindState) {
		return event.Kind(kind)
	}
	return event.KindUnknown
}

// summarize adds up what the sink took and what was lost, over the processes and the machine.
func summarize(o *output, processes []Status) event.Summary {
	s := event.Summary{Recorded: map[event.Kind]uint64{}, ExitCode: -1}
	s.Losses = o.counts(0, s.Recorded, s.Losses)
	for i := range processes {
		p := &processes[i]
		s.Losses = append(s.Losses, p.Losses...)
		if p.ID != 0 {
			s.Losses = o.counts(p.ID, s.Recorded, s.Losses)
		}
	}
	sort.SliceStable(s.Losses, func(i, j int) bool {
		a, b := s.Losses[i], s.Losses[j]
		if a.Process != b.Process {
			return a.Process < b.Process
		}
		if a.Kind != b.Kind {
			return a.Kind < b.Kind
		}
		return a.Cause < b.Cause
	})
	return s
}
