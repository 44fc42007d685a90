package collect

import (
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// flushFull writes what is large enough, between two records of a turn.
func (r *Reader) flushFull(now event.Time) {
	d := r.decode
	if n := len(d.ledger.stacks); n >= chunkRows && r.mayWrite(now, n) && !r.live.holds(n) {
		r.sendLedger()
	}
	if n := d.pending(); n >= batchRows && r.mayWrite(now, n) {
		r.flushBatch()
	}
}

// flushDue writes what is large or old enough, at the end of a turn.
func (r *Reader) flushDue(now event.Time) {
	d := r.decode
	waiting := d.pending() + len(d.ledger.stacks)
	if waiting == 0 {
		r.ageing = false
		return
	}
	if !r.ageing {
		r.ageing, r.oldest = true, now
	}
	if now-r.oldest < event.Time(r.config.FlushAge) {
		r.flushFull(now)
		return
	}
	if r.mayWrite(now, waiting) {
		r.flush(false)
	}
}

// mayWrite tells whether n waiting rows can be written: their times are aligned, and the process can be
// defined, once for all, with the GPUs behind its ordinals.
func (r *Reader) mayWrite(now event.Time, n int) bool {
	d := r.decode
	late := n >= holdRows || r.ageing && now-r.oldest >= holdTime
	if d.unaligned && d.sample != 0 && !late {
		return false
	}
	if r.id != 0 || len(d.devices) > 0 {
		return true
	}
	// A program that has done nothing yet but load the library may still start its GPUs.
	onlyStates := len(d.batch.States.Time) == n
	return late && !onlyStates
}

// pending counts the rows of the batch.
func (d *decoder) pending() int {
	n := 0
	for _, k := range rows(&d.batch) {
		n += k
	}
	return n
}

// flush writes everything. With all set a process that left no row is defined too.
func (r *Reader) flush(all bool) {
	if all {
		r.define()
	}
	r.flushBatch()
	if all || !r.live.holds(len(r.decode.ledger.stacks)) {
		r.sendLedger()
	}
	r.ageing = false
}

func (r *Reader) flushBatch() {
	d := r.decode
	if d.pending() == 0 {
		return
	}
	d.alignAnyway()
	r.define()
	d.batch.Process = r.id
	_ = r.output.batch(&d.batch) // the output keeps the error and counts the rows
	reset(&d.batch)
}

func (r *Reader) sendLedger() {
	d := r.decode
	if len(d.ledger.stacks) == 0 {
		return
	}
	r.define()
	d.ledger.process = r.id
	r.ledger.send(d.ledger)
	d.ledger = &chunk{stackReader: d.stacks}
}

// define describes the process to the trace, at the last possible moment.
func (r *Reader) define() {
	if r.id != 0 {
		return
	}
	d, h := r.decode, r.memory.header
	p := event.Process{
		PID: r.owner.pid, InnerPID: h.Pid, ParentPID: r.owner.parent, Rank: r.owner.rank,
		StartTime:     event.Time(h.Mono_start),
		Executable:    strings.ToValidUTF8(r.memory.arena.text(h.Executable, &d.budget), "\uFFFD"),
		Command:       words(r.memory.arena.text(h.Command, &d.budget)),
		Mode:          Mode(loadUint32(&h.Mode)).String(),
		API:           APILevel(loadUint32(&h.Api)).String(),
		Graphs:        GraphLevel(loadUint32(&h.Graphs)).String(),
		CUPTIVersion:  loadUint32(&h.Cupti_version),
		CUPTIPath:     strings.ToValidUTF8(r.memory.arena.text(h.Cupti_path, &d.budget), "\uFFFD"),
		DriverVersion: loadUint32(&h.Driver_version),
		Devices:       append([]event.GPUID(nil), d.devices...),
		Simulated:     loadUint32(&h.Flags)&abi.FlagSimulated != 0,
	}
	if p.PID == 0 {
		p.PID = h.Pid
	}
	if p.ParentPID == 0 {
		p.ParentPID = h.Ppid
	}
	r.id = r.output.ids.process(p)
}
