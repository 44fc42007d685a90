package analyze

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warpscope/warpscope/agent/event"
)

const (
	// doubtfulClocks is from which part of the launches on, that begin before their call, the clocks are said to disagree.
	doubtfulClocks = 0.01
	// earlier is by how much work must begin before its call for that; mappings of clocks are off by less.
	earlier = event.Time(20_000)
)

// maxDamage bounds the notes on a damaged file that are told again beside figures.
const maxDamage = 2

// timeKinds are the records that figures about steps are made of.
var timeKinds = []event.Kind{0, event.KindKernel, event.KindCopy, event.KindSet, event.KindGraph, event.KindCall, event.KindMarker}

// Doubt finds what makes figures about steps doubtful, of an Inspection that has them; it is called again when more of the
// Inspection is known.
func (r *Inspection) Doubt() {
	r.Doubts, r.DoubtfulCauses = nil, false
	if r.Account == nil && r.Steps == nil && r.Idle == nil {
		return
	}
	add := func(format string, v ...any) { r.Doubts = append(r.Doubts, fmt.Sprintf(format, v...)) }
	if missing := r.missing(); missing != "" {
		r.DoubtfulCauses = true
		add("%s missing from the trace: what ran then counts as idle time, and causes may be wrong", missing)
	}
	if n := r.joins.timeless; n > 0 {
		r.DoubtfulCauses = true
		add("%s pieces of work have no usable times: what they took counts as idle time", grouped(n))
	}
	if slices.ContainsFunc(r.Losses.Rows, func(l LossRow) bool { return l.Unknown }) {
		add("the last moments of a process are missing from the trace: its last steps may seem shorter than they were")
	}
	if r.Losses.Dropped > 0 {
		add("what was older than --keep is not in the trace: figures are of the rest")
	}
	if !r.Losses.Known && !r.Provenance.Complete {
		add("the trace was not closed: nobody knows whether records are missing")
	}
	for i, text := range r.Damage {
		if i == maxDamage || !r.Losses.Known && !r.Provenance.Complete {
			break
		}
		add("%s", text)
		r.DoubtfulCauses = true
	}
	if j := r.joins; j.joined > 0 && float64(j.early) >= doubtfulClocks*float64(j.joined) {
		r.DoubtfulCauses = true
		add("%s of %s pieces of work begin before the call that launched them: the clocks of CPU and GPU disagree, and causes of idleness may be wrong",
			grouped(j.early), grouped(j.joined))
	}
}

// joins is how work and calls were brought together, over all GPUs.
type joins struct {
	timeless uint64 // work without times, or with impossible ones
	joined   uint64 // with its call
	early    uint64 // of those, well before it
}

// missing names the records that steps are made of and that are lost, "" if there are none.
func (r *Inspection) missing() string {
	var parts []string
	for _, kind := range timeKinds {
		var lost uint64
		for _, l := range r.Losses.Rows {
			if l.Kind == KindName(kind) && !l.Kept && l.Cause != CauseName(event.LossAged) {
				lost += l.Count
			}
		}
		if lost == 0 {
			continue
		}
		part := grouped(lost) + " " + KindName(kind)
		for _, k := range r.Records {
			if k.Kind == KindName(kind) && k.Recorded != nil && *k.Recorded > 0 {
				part += fmt.Sprintf(" (%.1f%%)", 100*float64(lost)/float64(lost+*k.Recorded))
			}
		}
		parts = append(parts, part)
	}
	switch n := len(parts); n {
	case 0:
		return ""
	case 1:
		return parts[0] + " are"
	default:
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1] + " are"
	}
}

// grouped writes a count with its thousands apart.
func grouped(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
