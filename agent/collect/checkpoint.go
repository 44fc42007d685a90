package collect

import (
	"math"

	"github.com/warpscope/warpscope/agent/event"
	"github.com/warpscope/warpscope/cupti/abi"
)

// Live sets make the ledger exact again after losses, and let readers of a trace begin in its
// midst. Sequence numbers are moments of CLOCK_MONOTONIC, so that a moment cuts the ledger in two: a
// set is planned at one turn, and at the next, when the calls before that moment have arrived, it
// is read and written between the calls before and after. What was released in between is missing from
// it, and its release follows: the two cancel out.

// livePlan says when the next live set is due.
type livePlan struct {
	taken   event.Time // when one was planned last
	calls   uint64     // allocation records read by then
	lost    uint64     // allocation records lost by then
	through uint64     // sequence number up to which a planned set reaches; 0: none is planned
}

// holds tells whether n waiting calls have to wait for a planned set.
func (p *livePlan) holds(n int) bool { return p.through != 0 && n < holdRows }

// lostCalls counts the allocation records that are missing from the ledger.
func (r *Reader) lostCalls() uint64 {
	n := loadUint64(&r.memory.header.Lost[abi.RecAlloc][abi.LossRingFull])
	return n + r.decode.torn[abi.RecAlloc]
}

// liveDue plans a live set when allocations were lost, and now and then while they go on, and writes
// the one that was planned a turn before.
func (r *Reader) liveDue(now event.Time) {
	if r.live.through != 0 {
		// That of an adopted process is planned before its devices are known.
		ready := r.id != 0 || len(r.decode.devices) > 0 || now-r.live.taken >= holdTime
		if now > r.live.taken && ready {
			r.writeLive(r.live.taken)
		}
		return
	}
	age := now - r.live.taken
	resync := r.lostCalls() != r.live.lost && age >= resyncEvery
	checkpoint := r.decode.counts[abi.RecAlloc] != r.live.calls && age >= event.Time(r.config.Checkpoint)
	if (resync || checkpoint) && r.mayWrite(now, len(r.decode.ledger.stacks)) {
		at := r.config.Now()
		r.planLive(at, uint64(at))
	}
}

func (r *Reader) planLive(at event.Time, through uint64) {
	r.live = livePlan{taken: at, calls: r.decode.counts[abi.RecAlloc], lost: r.lostCalls(), through: through}
}

// writeLive writes the calls up to the planned moment, then the set; later calls stay.
func (r *Reader) writeLive(at event.Time) {
	d := r.decode
	set := d.liveSet(&r.memory.live, r.live.through, at)
	before, after := d.ledger.split(r.live.through)
	r.live.through = 0
	d.ledger = before
	r.sendLedger()
	d.ledger = after
	r.define()
	set.process = r.id
	r.ledger.send(set)
}

// liveLast writes what is allocated at the end, if there were any allocations.
func (r *Reader) liveLast() {
	if r.live.through == 0 && r.decode.counts[abi.RecAlloc] == r.live.calls && r.lostCalls() == r.live.lost {
		return
	}
	at := r.lastSign()
	r.planLive(at, math.MaxUint64)
	r.writeLive(at)
}

// liveSet reads the live table as of a sequence number: what was allocated later is left out, its
// records follow.
func (d *decoder) liveSet(table *liveTable, seq uint64, now event.Time) *chunk {
	c := &chunk{stackReader: d.stacks, live: true, time: now}
	table.each(func(l *abi.Live) {
		if l.Seq > seq {
			return
		}
		a := &c.rows
		a.Sequence = append(a.Sequence, l.Seq)
		a.Enter = append(a.Enter, 0)
		a.Duration = append(a.Duration, -1)
		a.Op = append(a.Op, liveOp(l))
		a.Space = append(a.Space, event.Space(l.Space))
		a.Address = append(a.Address, l.Key&abi.KeyMask)
		a.Size = append(a.Size, l.Size)
		a.Handle = append(a.Handle, l.Handle)
		a.Device = append(a.Device, l.Device)
		a.Context = append(a.Context, l.Context)
		a.Stream = append(a.Stream, event.NoStream)
		a.Thread = append(a.Thread, 0)
		a.API = append(a.API, d.text(l.Api))
		a.Result = append(a.Result, 0)
		a.Known = append(a.Known, false)
		c.stacks = append(c.stacks, l.Stack)
	})
	return c
}

// liveOp tells what kind of call made a live entry, from the class of its key.
func liveOp(l *abi.Live) event.AllocOp {
	switch l.Key >> abi.KeyShift {
	case abi.KeyMapping:
		return event.OpMap
	case abi.KeyReservation:
		return event.OpReserve
	}
	if l.Space == abi.SpaceIpc {
		return event.OpImport
	}
	return event.OpAlloc
}
