package exchange

import (
	"bytes"

	"github.com/warpscope/warpscope/agent/event"
)

// What is kept of one file's names and launch configurations, all together.
const (
	maxText     = 128 << 20 // bytes
	maxName     = 64 << 10  // bytes of one; a longer one is cut
	maxStrings  = 1 << 20
	maxLaunches = 1 << 20
)

// names hands out identifiers for strings and launches, and collects those that are new.
type names struct {
	raw      map[string]event.StringID // as they stand in the file, escapes and all
	plain    map[string]event.StringID
	launches map[event.Launch]event.LaunchID
	async    map[event.StringID]bool // of calls' names
	bytes    int
	fresh    event.Definitions // not handed to the sink yet
	dropped  uint64            // events whose name or launch is beyond the bounds
}

func newNames() names {
	return names{raw: make(map[string]event.StringID), plain: make(map[string]event.StringID), launches: make(map[event.Launch]event.LaunchID), async: make(map[event.StringID]bool)}
}

// quoted returns the identifier of a string as it stands in the file, without its quotes.
func (n *names) quoted(raw []byte) event.StringID {
	if id, ok := n.raw[string(raw)]; ok {
		return id
	}
	if len(raw) == 0 {
		return 0
	}
	s := text(raw, maxName)
	id := n.of(s)
	if id != 0 && n.bytes+len(raw) <= maxText {
		n.bytes += len(raw)
		n.raw[string(raw)] = id
	}
	return id
}

// of returns the identifier of a text; 0 if there are too many.
func (n *names) of(s string) event.StringID {
	if s == "" {
		return 0
	}
	if id, ok := n.plain[s]; ok {
		return id
	}
	if len(n.plain) >= maxStrings || n.bytes+len(s) > maxText {
		n.dropped++
		return 0
	}
	n.bytes += len(s)
	id := event.StringID(len(n.plain) + 1)
	n.plain[s] = id
	n.fresh.Strings = append(n.fresh.Strings, s)
	return id
}

// launch returns the identifier of a launch configuration; 0 if there are too many.
func (n *names) launch(l event.Launch) event.LaunchID {
	if id, ok := n.launches[l]; ok {
		return id
	}
	if len(n.launches) >= maxLaunches {
		n.dropped++
		return 0
	}
	id := event.LaunchID(len(n.launches) + 1)
	n.launches[l] = id
	n.fresh.Launches = append(n.fresh.Launches, l)
	return id
}

// call returns the identifier of a call's name, and remembers whether such a call does not wait for
// what it starts.
func (n *names) call(raw []byte) event.StringID {
	id := n.quoted(raw)
	if _, ok := n.async[id]; !ok && id != 0 {
		n.async[id] = bytes.Contains(raw, []byte("Async")) || bytes.Contains(raw, []byte("GraphLaunch"))
	}
	return id
}
