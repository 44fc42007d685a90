package collect

import (
	"strings"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// flushFull writes what is large enough, between two records of a turn.
func (r *Reader) flushFull(now event.Time) {
	d := r.decode
	if len(d.ledger.stacks) >= chunkRows && r.mayWrite(now, len(d.ledger.stacks)) {
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
	r.sendLedger()
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
		Command:       d.words(h.Command),
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

// livePlan says when the next live set is due.
type livePlan struct {
	checked event.Time // when one was taken last
	through uint64     // sequence number that it includes
	lost    uint64     // allocation records lost when it was taken
}

// lostCalls counts the allocation records that are missing from the ledger.
func (r *Reader) lostCalls() uint64 {
	n := loadUint64(&r.memory.header.Lost[abi.RecAlloc][abi.LossRingFull])
	return n + r.decode.torn[abi.RecAlloc]
}

// sequence returns the highest sequence number that may be in the live table.
func (r *Reader) sequence() uint64 {
	return max(loadUint64(&r.memory.header.Seq), r.decode.sequence)
}

// liveDue takes a live set when allocations were lost, and now and then while they go on; the turn
// after, when all calls before it have been read, it is written between the calls before and after.
func (r *Reader) liveDue(now event.Time) {
	if r.pending != nil {
		r.sendLive()
		return
	}
	age := now - r.live.checked
	resync := r.lostCalls() != r.live.lost && age >= resyncEvery
	checkpoint := r.sequence() != r.live.through && age >= event.Time(r.config.Checkpoint)
	if (resync || checkpoint) && r.mayWrite(now, len(r.decode.ledger.stacks)) {
		r.takeLive(now)
	}
}

// takeLive reads the live table. Where calls go on meanwhile it is read again, a few times; the
// calls' own records correct what a reading caught half way.
func (r *Reader) takeLive(now event.Time) {
	lost := r.lostCalls()
	for range 3 {
		seq := r.sequence()
		r.pending = r.decode.liveSet(&r.memory.live, seq, now)
		r.live = livePlan{checked: now, through: seq, lost: lost}
		if r.sequence() == seq {
			return
		}
	}
}

// sendLive writes the calls up to the live set's moment, then the set; later calls stay.
func (r *Reader) sendLive() {
	d := r.decode
	before, after := d.ledger.split(r.live.through)
	d.ledger = before
	r.sendLedger()
	d.ledger = after
	r.define()
	r.pending.process = r.id
	r.ledger.send(r.pending)
	r.pending = nil
}

// liveLast writes the state at the end.
func (r *Reader) liveLast() {
	if r.pending != nil {
		r.sendLive()
	}
	if r.sequence() != r.live.through || r.lostCalls() != r.live.lost {
		now := r.config.Now()
		if r.memory.alloc.fixed {
			now = event.Time(loadUint64(&r.memory.header.Heartbeat))
		}
		r.takeLive(now)
		r.sendLive()
	}
}
